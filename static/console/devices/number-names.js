/**
 * Rank the numbers in the data of a device by their names: which one would an operator want to see in a chart?
 *
 * A temperature rather than a counter, a data rate or a time stamp. The names are those of common devices and network
 * servers, in English, and the common ones of Spanish and German.
 */

/** Names of measurements; the first line is preferred. */
const MEASUREMENTS = [
  'temperature temperatura temperatur temp tmp t',
  'humidity humedad feuchte feuchtigkeit luftfeuchtigkeit humid hum rh h',
  'co2',
  'pressure presion druck hpa',
  'power potencia leistung watt watts w',
  'voltage voltaje tension spannung volt volts',
  'current corriente amp amps ampere',
  'energy energia energie kwh wh consumption consumo',
  'illuminance illumination illuminanz luminosity lux light brightness',
  'moisture soil',
  'level nivel distance depth height fill',
  'flow caudal volume water gas',
  'weight mass',
  'speed wind rain',
  'pm tvoc voc iaq aqi no2 o3 co ch4 nh3 hcho formaldehyde concentration',
  'ph conductivity ec orp tds salinity turbidity',
  'noise sound',
  'acceleration vibration angle tilt rotation position dimmer',
  'uv radiation dose',
];
const PREFERENCE = new Map(MEASUREMENTS.flatMap((names, index) => names.split(' ').map((name) => [name, index])));
const ENDINGS = ['temperature', 'humidity', 'pressure', 'power', 'voltage', 'current', 'energy', 'moisture']; // apower, airtemperature
const VALUES = setOf('value val v reading measurement wert valor');
const BATTERY = setOf('battery batteries batt bat vbat vbatt vdd vcc bateria batterie akku');
/** Counters, properties of the radio link, times, places, settings and other facts about the device itself. */
const FACTS = setOf(`count counts counter cnt fcnt seq sequence number num nr idx index id ids uid port fport channel chan
  dr sf bw bandwidth spreading coderate frequency freq rssi snr lsnr lqi linkquality rsrp rsrq sinr signal margin airtime
  time timestamp ts date epoch unixtime utc millis uptime downtime age year month day hour minute second seconds
  version ver firmware fw rev build calibration precision resolution offset threshold limit min minimum max maximum
  interval timeout duration delay period setpoint target heap ram fs memory mem sleep load loadavg retries retry errors error
  code status total totals yesterday today lifetime factor lat latitude lon lng longitude alt altitude accuracy
  crc length len size mtu gateway tz timezone contador frecuencia hora fecha canal`);
const RATES = /(data|bit|baud|cod(e|ing)|sampl(e|ing)|link)[^a-z]?(rate|quality)/;
/** Objects of which no member is a measurement. */
const ENVELOPES = setOf(`rxinfo txinfo rxmetadata txmetadata settings lora wifi wifista sys cloud mqtt eth ble update deviceinfo
  location gps gateway gateways metadata meta config configuration options`);
const NAME_MAX_CHARS = 64;
const KNOWN_MAX = 2_000;

const RANK = { value: 0, measurement: 1, namedValue: 2, other: 3, battery: 4, fact: 5 };
const DEPTHS = 16;
const PREFERENCES = 64;

/** @type {Map<string, {words: string[], plain: string}>} what was computed before, by name */
const known = new Map();

/**
 * The rank of a number: the lowest is charted by default.
 * @param {string[]} names  of the members that lead to it; none if the data is the number itself
 * @param {number} value
 */
export function rankOf(names, value) {
  const { kind, preference } = classify(names.map(analyse), value);
  return (kind * DEPTHS + Math.min(names.length, DEPTHS - 1)) * PREFERENCES + preference;
}

/**
 * @param {{words: string[], plain: string}[]} names
 * @param {number} value
 */
function classify(names, value) {
  const last = names.length - 1;
  if (last < 0 || (last === 0 && names[0].plain === 'value')) return { kind: RANK.value, preference: 0 };
  const { words, plain } = names[last];
  if (words.some((word) => FACTS.has(word)) || RATES.test(plain)) return { kind: RANK.fact, preference: 0 };
  if (names.slice(0, last).some((each) => ENVELOPES.has(each.plain))) return { kind: RANK.fact, preference: 0 };
  if (names.some((each) => each.words.some((word) => BATTERY.has(word)))) return { kind: RANK.battery, preference: 0 };
  const preference = preferenceOf(words) ?? preferenceOf(names[last - 1]?.words ?? []);
  if (preference !== undefined && !(words.includes('t') && isTime(value))) return { kind: RANK.measurement, preference };
  if (words.some((word) => VALUES.has(word))) return { kind: RANK.namedValue, preference: 0 };
  return { kind: isTime(value) ? RANK.fact : RANK.other, preference: 0 };
}

/** The place of the best word; a name that is just this word comes before one with more. @param {string[]} words */
function preferenceOf(words) {
  const places = words.map(placeOf).filter((place) => place !== undefined);
  return places.length ? Math.min(...places) * 2 + Number(words.length > 1) : undefined;
}

/** @param {string} word */
function placeOf(word) {
  const stem = word.replace(/\d+$/, '');
  const ending = ENDINGS.find((each) => word.endsWith(each)) ?? '';
  return PREFERENCE.get(word) ?? PREFERENCE.get(stem) ?? PREFERENCE.get(ending);
}

/** Whether a number looks like a Unix time in seconds or milliseconds of 2001 to 2096. @param {number} value */
function isTime(value) { return Number.isInteger(value) && ((value > 1e9 && value < 4e9) || (value > 1e12 && value < 4e12)); }

/** Split a name into words in lower case: `batteryLevel_1` is battery, level and 1. @param {string} name */
function analyse(name) {
  const before = known.get(name);
  if (before) return before;
  const ascii = name.slice(0, NAME_MAX_CHARS).normalize('NFD').replace(/[\u0300-\u036f]/g, '');
  const words = ascii.replace(/([a-z\d])([A-Z])/g, '$1 $2').toLowerCase().split(/[^a-z\d]+/).filter(Boolean);
  const analysed = { words, plain: ascii.toLowerCase().replace(/[^a-z]/g, '') };
  if (known.size >= KNOWN_MAX) known.clear();
  if (name.length <= NAME_MAX_CHARS) known.set(name, analysed);
  return analysed;
}

/** @param {string} words */
function setOf(words) { return new Set(words.split(/\s+/)); }
