/**
 * Shows device values, and which of them may be stale.
 *
 * @param {import('./hermes-client.js').HermesClient} client
 * @param {object} page  what your page does
 * @param {(key: string, data: unknown, age: {stale: boolean, from: number | null}) => void} page.show
 * @param {(device: string, online: boolean | null, since: number | null) => void} page.showPresence
 * @param {(text: string) => void} page.banner
 */
export function watchValues(client, { show, showPresence, banner }) {
  /** @type {Set<string>} */
  const seen = new Set();
  /** @type {Set<string>} */
  const stale = new Set(); // series that may have changed without a frame
  const markStale = () => seen.forEach((key) => stale.add(key));

  client.on('device', ({ device_id, series, data, snapshot, timestamp }) => {
    const key = `${device_id}/${series}`;
    seen.add(key);
    if (!snapshot) stale.delete(key);
    show(key, data, { stale: stale.has(key), from: snapshot ? timestamp : Date.now() });
  });
  client.on('link', ({ up, since }) => {
    if (up) return;
    markStale();
    banner(`stale since ${new Date(since ?? Date.now()).toLocaleTimeString()}`);
  });
  client.on('state', ({ state }) => state !== 'open' && markStale());
  client.on('presence', ({ device_id, online, since }) => showPresence(device_id, online, since)); // since may be null
}
