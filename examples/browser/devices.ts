import { HermesClient, type DeviceFrame, type Frame } from './hermes-client.js';

interface Reading {
  celsius: number;
}

const client = new HermesClient({
  url: '/ws/tenant/acme',
  getToken: async (reason, signal) => {
    const response = await fetch('/my-token', { signal });
    if (!response.ok) throw new Error(`/my-token: ${response.status}`); // the client tries again
    return response.text();
  },
});

function isReading(data: unknown): data is Reading {
  return typeof data === 'object' && data !== null && typeof (data as Reading).celsius === 'number';
}

client.on('device', ({ device_id, series, data, snapshot }: DeviceFrame) => {
  if (series === 'temperature' && isReading(data)) console.log(device_id, data.celsius.toFixed(1), snapshot ? 'last' : 'live');
});

// Every frame: `channel` and `action` tell the kinds apart.
client.on('frame', (frame: Frame) => {
  if (frame.channel === 'notifications' || frame.channel === 'tenant') console.log(frame.title);
  else if (frame.channel === 'device') console.log(frame.topic);
  else if (frame.channel === 'status') console.log(frame.mqtt ?? `${frame.device_id}: ${frame.online}`);
  else if (frame.action === 'error') console.log(frame.code, frame.message);
});
client.connect();
