import { membersOf } from './hermes-client.js';

/**
 * Shows numbers with all digits that the device wrote.
 *
 * @param {import('./hermes-client.js').HermesClient} client
 * @param {(device: string, series: string, text: string | undefined) => void} show
 */
export function showDigits(client, show) {
  client.on('device', ({ device_id, series }, text) => {
    const frame = new Map(membersOf(text)); // name → text of the value
    show(device_id, series, frame.get('data')); // {"eui":9007199254740993,"t":1.10}
    const data = new Map(membersOf(frame.get('data') ?? ''));
    console.log(data.get('t')); // 1.10
  });
}
