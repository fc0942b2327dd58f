/** Which number of a message is charted by default, with messages of real devices and network servers. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { candidatesOf, ChartedNumber, numberAt, pointerOf, unitOf } from '../../static/console/devices/charted-number.js';

const CHIRPSTACK = {
  deduplicationId: '3ac7e3c4', time: '2024-05-03T10:00:00Z',
  deviceInfo: { tenantId: '52f14cd4', applicationName: 'site', deviceName: 'boiler', devEui: '0101010101010101', tags: {} },
  devAddr: '00189440', adr: true, dr: 5, fCnt: 12, fPort: 2, confirmed: false, data: 'qg==',
  object: { BatV: 3.05, Hum_SHT: 48.1, TempC_SHT: 21.5 },
  rxInfo: [{ gatewayId: '0016c0', uplinkId: 4217106255, rssi: -36, snr: 10.5, channel: 2, location: { latitude: 1, longitude: 2, altitude: 3 } }],
  txInfo: { frequency: 867100000, modulation: { lora: { bandwidth: 125000, spreadingFactor: 7, codeRate: 'CR_4_5' } } },
};
const TTN = {
  end_device_ids: { device_id: 'boiler' }, received_at: '2024-05-03T10:00:00Z',
  uplink_message: {
    f_port: 1, f_cnt: 5, frm_payload: 'AQ==', decoded_payload: { humidity: 40, temperature: 20.1 },
    rx_metadata: [{ gateway_ids: { gateway_id: 'g' }, rssi: -50, snr: 8, timestamp: 2463457000 }],
    settings: { data_rate: { lora: { bandwidth: 125000, spreading_factor: 7 } }, frequency: '868300000', timestamp: 2463457000 },
  },
};
const BEST = [
  ['a number', 21.5, ''],
  ['text that is a number', '21.5', ''],
  ['a value beside its bounds', { min: 0, max: 50, value: 21.5 }, '/value'],
  ['zigbee2mqtt', { battery: 100, humidity: 45, linkquality: 120, temperature: 21.5, voltage: 3000 }, '/temperature'],
  ['zigbee2mqtt: a plug', { energy: 3.2, linkquality: 90, power: 5, power_outage_count: 3, update: { installed_version: 12 } }, '/power'],
  ['zigbee2mqtt: a valve', { battery: 80, current_heating_setpoint: 21, local_temperature: 20.5, local_temperature_calibration: 0 }, '/local_temperature'],
  ['zigbee2mqtt: nothing but a battery', { battery: 80, linkquality: 120, last_seen: 1714730400000 }, '/battery'],
  ['ChirpStack', CHIRPSTACK, '/object/TempC_SHT'],
  ['The Things Network', TTN, '/uplink_message/decoded_payload/temperature'],
  ['Shelly Gen2: a switch', { id: 0, output: true, apower: 8.9, voltage: 230, freq: 50, aenergy: { total: 11.6, minute_ts: 1654511972 }, temperature: { tC: 47.5 } }, '/apower'],
  ['Shelly Gen2: an event', { src: 'plug', params: { ts: 1654511972.1, 'switch:0': { id: 0, apower: 8.9 } } }, '/params/switch:0/apower'],
  ['Shelly Gen1', { tmp: { value: 21.5, tC: 21.5 }, hum: { value: 45 }, bat: { value: 100, voltage: 2.9 } }, '/tmp/value'],
  ['Tasmota: a sensor', { Time: '2024-05-03T10:00:00', AM2301: { Temperature: 21.5, Humidity: 45, DewPoint: 9.1 }, TempUnit: 'C' }, '/AM2301/Temperature'],
  ['Tasmota: a meter', { ENERGY: { Total: 12.3, Yesterday: 0.5, Today: 0.1, Power: 45, ApparentPower: 50, Factor: 0.9, Voltage: 230 } }, '/ENERGY/Power'],
  ['Tasmota: the state', { UptimeSec: 3600, Heap: 25, Sleep: 50, LoadAvg: 19, MqttCount: 1, Dimmer: 50, Wifi: { Channel: 6, RSSI: 70, Signal: -65 } }, '/Dimmer'],
  ['a value and its time, in short', { t: 1714730400, v: 21.5 }, '/v'],
  ['temperature and humidity, in short', { h: 40, t: 21.5 }, '/t'],
  ['a data rate in any spelling', { dataRate: 5, data_rate: 5, DataRate: 5, bitrate: 9600, x: 3 }, '/x'],
  ['other languages', { contador: 5, 'presión': 1013, humedad: 40 }, '/humedad'],
  ['a list', [21.5, 45], '/0'],
  ['an unknown name', { unit: 'x', level_of_something: 2, seq: 1 }, '/level_of_something'],
  ['nothing but counters', { fCnt: 7, uptime: 3 }, '/fCnt'],
];

for (const [what, data, pointer] of BEST) {
  test(`by default: ${what}`, () => assert.equal(pointerOf(candidatesOf(data)[0].path), pointer));
}

test('without a number nothing is charted', () => {
  for (const data of ['warm', '', ' ', true, null, {}, [], { on: true, state: 'open' }, { a: '21' }]) assert.deepEqual(candidatesOf(data), []);
});

test('a better number of a later message is charted from then on', () => {
  const charted = new ChartedNumber(undefined);
  assert.equal(charted.read({ battery: 90 }), 90);
  assert.equal(charted.read({ battery: 90, temperature: 21 }), 21);
  assert.equal(charted.read({ battery: 90 }), null);
  assert.equal(charted.read({ battery: 90, temperature: 22 }), 22);
});

test('a number that comes no more is replaced', () => {
  const charted = new ChartedNumber(undefined);
  for (let count = 0; count < 30; count += 1) charted.read({ temperature: 21 });
  const read = Array.from({ length: 30 }, () => charted.read({ battery: 90 }));
  assert.deepEqual([read[0], read[29]], [null, 90]);
});

test('a chosen number is never replaced', () => {
  const charted = new ChartedNumber('/a~1b/m~0n');
  for (let count = 0; count < 30; count += 1) assert.equal(charted.read({ temperature: 21 }), null);
  assert.equal(charted.read({ 'a/b': { 'm~n': 7 }, temperature: 21 }), 7);
});

test('names of prototypes are names', () => {
  const data = JSON.parse('{"__proto__":{"x":1},"constructor":{"length":2}}');
  assert.deepEqual(candidatesOf(data).map(({ path }) => pointerOf(path)).sort(), ['/__proto__/x', '/constructor/length']);
  assert.equal(numberAt({}, ['constructor', 'length']), null);
  assert.equal(numberAt('text', ['length']), null);
});

test('a large message is searched up to a bound', () => {
  const wide = Object.fromEntries(Array.from({ length: 5_000 }, (_, index) => [`k${index}`, { a: index, b: [1, 2, 3] }]));
  assert.ok(candidatesOf(wide).length <= 300);
  const deep = Array.from({ length: 90 }).reduce((inner) => ({ inner }), 1);
  assert.deepEqual(candidatesOf(deep), []);
});

test('the unit is the one beside the number', () => {
  assert.equal(unitOf({ value: 1, unit: '°C' }, ['value']), '°C');
  assert.equal(unitOf({ air: { value: 1, unit: '°C' }, unit: 'x' }, ['air', 'value']), '°C');
  for (const data of [7, null, { unit: 3 }, 'text']) assert.equal(unitOf(data, ['value']), '');
});
