/**
 * The Hermes client: one WebSocket that stays open, as far as that is possible and polite.
 * No dependencies; for browsers and Node. See docs/client.md.
 *
 * @import { Close, Counts, Events, Frame, Line, Link, Options, State, Status, TokenReason, World } from './hermes-client-types.js'
 */

const SUBPROTOCOL = 'hermes.v1';
const MESSAGE_MAX_BYTES = 65_536; // the server closes with 1009 beyond this
const HINT_MAX_MS = 3_600_000; // setTimeout takes a wait beyond 2^31 ms for none
const IDS_REMEMBERED = 1_000;
const SAVE_AFTER_MS = 100; // one write for a burst
const DEFAULTS = {
  backoffMinMs: 1_000, backoffMaxMs: 30_000, pingEveryMs: 30_000, pongWithinMs: 10_000, openWithinMs: 15_000,
  refreshBeforeMs: 60_000,
};
const encoder = new TextEncoder();
/** @type {Close} of a broken connection */
const BROKEN = { code: 1006, reason: '' };
/** @type {Link} until a fresh socket is told otherwise */
const ASSUMED_UP = { up: true, since: null };
/** @type {Map<unknown, 'notification' | 'device' | 'broadcast'>} */
const EVENT_OF_CHANNEL = new Map([['notifications', 'notification'], ['device', 'device'], ['tenant', 'broadcast']]);

export class HermesClient extends EventTarget {
  /** @type {Counts} live */
  counts = { received: 0, sent: 0, bytesIn: 0, bytesOut: 0, duplicates: 0, gaps: 0, skipped: 0 };
  /** @type {Set<string>} */
  #ids = new Set();
  /** @type {Map<string, number>} by what stands before an id's number */
  #highest = new Map();
  #options;
  #world;
  /** @type {Status} */
  #status = { state: 'closed', attempt: 0, waitMs: 0, nextTryAt: 0, close: null };
  /** @type {Link} */
  #link = ASSUMED_UP;
  /** @type {WebSocket | null} */
  #socket = null;
  #url;
  /** @type {Map<string, any>} */
  #timers = new Map();
  /** @type {Set<string>} */
  #devices = new Set();
  #token = '';
  /** @type {TokenReason | null} */
  #ask = 'first'; // why the next try must ask for a token; null: the present one is good
  // Only a socket's first frame resets these: a server that accepts and closes must not be hammered.
  #failures = 0;
  #asked = false; // getToken was asked after a 1008
  #hinted = false; // the server asked for this wait
  #pingSentAt = 0;
  #run = 0; // numbers each try, so that late answers are known

  /** @param {Options} options */
  constructor(options) {
    super();
    this.#options = { ...DEFAULTS, ...options };
    this.#world = { ...browserWorld(), ...options.world };
    this.#url = new URL(options.url, globalThis.location?.href);
    this.#url.protocol = this.#url.protocol.replace('http', 'ws');
    if (options.snapshot === false) this.#url.searchParams.set('snapshot', '0');
  }

  /** @returns {Readonly<Status>} */
  get status() { return this.#status; }

  get state() { return this.#status.state; }

  /** As last told. @returns {Readonly<Link>} */
  get link() { return this.#link; }

  /**
   * Hands over the event's detail; answers a function that stops that.
   * @template {keyof Events} K
   * @param {K} type
   * @param {(detail: Events[K]) => void} listener
   */
  on(type, listener) {
    /** @param {Event} event */
    const unwrap = (event) => listener(/** @type {CustomEvent} */ (event).detail);
    this.addEventListener(type, unwrap);
    return () => this.removeEventListener(type, unwrap);
  }

  /** Starts, also again after `refused` or `closed`; while waiting, tries at once. */
  connect() {
    if (this.state === 'waiting') return void this.#try();
    if (this.state === 'connecting' || this.state === 'open') return;
    this.#failures = 0;
    this.#asked = false;
    this.#ask = 'first';
    this.#status = { ...this.#status, close: null };
    this.#world.window?.addEventListener('online', this.#wake);
    this.#world.document?.addEventListener('visibilitychange', this.#wake);
    this.#try();
  }

  /** Ends for good; nothing is left behind. */
  close() {
    if (this.state !== 'closed') this.#stop('closed');
  }

  /**
   * Sends JSON; false if the socket is not open, or the message too big.
   * @param {object} message
   */
  send(message) {
    if (this.state !== 'open' || this.#socket?.readyState !== 1) return false;
    const text = JSON.stringify(message);
    const size = encoder.encode(text).length;
    if (size > MESSAGE_MAX_BYTES) {
      this.#fault(`a message of more than ${MESSAGE_MAX_BYTES} bytes was not sent`);
      return false;
    }
    this.#socket.send(text);
    this.counts.sent += 1;
    this.counts.bytesOut += size;
    this.#log('out', text);
    return true;
  }

  /** @param {string} [id]  the notification's */
  ack(id) {
    const sent = this.send({ action: 'ack', notification_id: id });
    if (sent && id) this.#options.history?.mark(id, { acked: true });
    return sent;
  }

  /** A heartbeat out of turn; false if none can leave. */
  ping() {
    if (this.state !== 'open' || this.#timers.has('pong')) return false;
    this.#beat();
    return true;
  }

  /**
   * On `/ws`: narrows the device feed; remembered across reconnects.
   * @param {string} device
   */
  subscribe(device) {
    this.#devices.add(device);
    return this.send({ action: 'subscribe', device });
  }

  /** @param {string} device  the last one gone means all devices again */
  unsubscribe(device) {
    this.#devices.delete(device);
    return this.send({ action: 'unsubscribe', device });
  }

  async #try() {
    const run = this.#begin('connecting');
    if (run !== this.#run) return;
    this.#after('open', this.#options.openWithinMs, () => this.#wait('no answer in time', BROKEN));
    const reason = this.#ask ?? (this.#tokenLeftMs <= 0 ? 'expired' : null);
    if (reason) {
      const token = await this.#newToken(reason, (message) => this.#wait(message));
      if (token === undefined) return;
      if (!token || (reason !== 'first' && token === this.#token)) {
        return this.#stop('refused', token ? 'the refused token was offered again' : 'there is no token');
      }
      this.#token = token;
      this.#ask = null;
    }
    if (run === this.#run) this.#open();
  }

  /**
   * Undefined where that failed, or is too late.
   * @param {TokenReason} reason
   * @param {(message: string) => void} failed
   */
  async #newToken(reason, failed) {
    const run = this.#run;
    try {
      const token = await this.#options.getToken(reason) ?? null;
      if (run === this.#run) return token;
    } catch (error) {
      if (run === this.#run) failed(`getToken failed: ${error instanceof Error ? error.message : error}`);
    }
  }

  #open() {
    const inQuery = this.#options.tokenIn === 'query';
    const url = new URL(this.#url);
    if (inQuery) url.searchParams.set('token', this.#token);
    let socket;
    try {
      socket = new this.#world.WebSocket(url.href, inQuery ? [] : [SUBPROTOCOL, this.#token]);
    } catch { // whose words would repeat the token
      return this.#stop('refused', 'no socket can be made of this URL and token: look for stray characters');
    }
    this.#socket = socket;
    socket.onopen = () => this.#opened();
    socket.onmessage = (event) => this.#received(event.data);
    socket.onerror = () => {}; // for ws, which throws what nobody hears
    socket.onclose = ({ code, reason }) => this.#closed({ code, reason });
  }

  #opened() {
    this.#cancel('open');
    const devices = [...this.#devices]; // a listener may add more
    const wasUp = this.#link.up;
    this.#link = ASSUMED_UP;
    this.#enter('open');
    if (!wasUp) this.#emit('link', this.#link); // the socket before may have missed it
    for (const device of devices) this.send({ action: 'subscribe', device });
    this.#beat();
    this.#planRefresh();
  }

  get #tokenLeftMs() { return Number(claimsOf(this.#token)?.exp) * 1_000 - this.#world.now(); }

  #planRefresh() {
    const left = this.#tokenLeftMs;
    const due = Math.max(left - this.#options.refreshBeforeMs, left / 2);
    if (due > HINT_MAX_MS) this.#after('refresh', HINT_MAX_MS, () => this.#planRefresh());
    else if (due > 0) this.#after('refresh', due, () => this.#refresh());
  }

  /** Where this fails, 1008 asks again. */
  async #refresh() {
    const token = await this.#newToken('expiring', (message) => this.#fault(message));
    if (token === undefined) return;
    if (!token || token === this.#token) return this.#fault('there is no new token yet');
    this.#token = token;
    this.send({ action: 'refresh', token });
  }

  #beat() {
    if (!this.send({ action: 'ping' })) return;
    this.#pingSentAt = this.#world.elapsed();
    const { pingEveryMs, pongWithinMs } = this.#options;
    this.#after('pong', Math.min(pongWithinMs, pingEveryMs), () => this.#wait('the heartbeat had no answer', BROKEN));
    this.#after('beat', pingEveryMs, () => this.#beat());
  }

  /** @param {unknown} data */
  #received(data) {
    this.#failures = 0;
    this.#asked = false;
    this.counts.received += 1;
    this.counts.bytesIn += encoder.encode(String(data)).length;
    this.#log('in', String(data));
    const frame = parse(data);
    if (!frame) return this.#fault('a frame from the server is not a JSON object');
    this.counts.skipped += frame.skipped ?? 0;
    this.#emit('frame', frame);
    const event = EVENT_OF_CHANNEL.get(frame.channel);
    if (event && event !== 'device') this.#take(event, frame);
    else if (event) this.#emit(event, frame);
    else if (frame.channel === 'status') this.#showStatus(frame);
    else if (frame.action === 'refreshed') {
      this.#planRefresh();
      this.#emit('refreshed', { expires: frame.expires });
    } else if (frame.action === 'error') this.#fault(`the server says: ${frame.message}`, frame.code);
    else if (frame.action === 'pong' && this.#cancel('pong')) this.#emit('rtt', this.#world.elapsed() - this.#pingSentAt);
  }

  /** @param {'notification' | 'broadcast'} event @param {Frame} frame */
  #take(event, frame) {
    const id = String(frame.id);
    if (this.#ids.has(id)) return void (this.counts.duplicates += 1);
    this.#ids.add(id);
    forgetOldest(this.#ids);
    if (this.#options.numbered) this.#countGap(id);
    this.#options.history?.add(frame);
    this.#emit(event, frame);
  }

  /** @param {string} id */
  #countGap(id) {
    const [kind, digits] = id.split(/(\d+)$/);
    if (!digits) return;
    const number = Number(digits);
    const highest = this.#highest.get(kind) ?? number;
    this.counts.gaps += Math.max(0, number - highest - 1);
    this.#highest.set(kind, Math.max(number, highest));
    forgetOldest(this.#highest);
  }

  /** @param {Frame} frame */
  #showStatus(frame) {
    if (frame.mqtt === 'up' || frame.mqtt === 'down') {
      this.#link = { up: frame.mqtt === 'up', since: frame.since };
      this.#emit('link', this.#link);
    } else if (typeof frame.online === 'boolean') this.#emit('presence', frame);
  }

  /** @param {Close} close */
  #closed(close) {
    const message = closeText(close);
    if (close.code !== 1008) return this.#wait(message, close);
    // A fresh token cures neither a client that errs nor one whose fresh token was refused.
    if (this.#asked || close.reason.startsWith('too_many_errors')) return this.#stop('refused', message, close);
    this.#asked = true;
    this.#ask = close.reason.startsWith('token_expired') ? 'expired' : 'refused';
    this.#status = { ...this.#status, close };
    this.#try();
    this.#fault(message);
  }

  /**
   * Full jitter: from nothing to the bound, so that clients do not return as one.
   * @param {string} message
   * @param {Close | null} [close]
   */
  #wait(message, close = this.#status.close) {
    const { backoffMinMs, backoffMaxMs } = this.#options;
    const hintMs = retryHintMs(close);
    const bound = Math.min(backoffMaxMs, backoffMinMs * 2 ** this.#failures);
    // The hint spreads the clients; back-off comes on top while tries keep failing.
    const waitMs = Math.max(hintMs, hintMs && !this.#failures ? 0 : this.#world.random() * bound);
    this.#hinted = hintMs > 0;
    this.#failures += 1;
    const run = this.#begin('waiting', { waitMs, nextTryAt: this.#world.now() + waitMs, close });
    if (run === this.#run) this.#after('retry', waitMs, () => this.#try());
    this.#fault(message);
  }

  /** @param {'refused' | 'closed'} state @param {string} [message] @param {Close | null} [close] */
  #stop(state, message, close = this.#status.close) {
    this.#world.window?.removeEventListener('online', this.#wake);
    this.#world.document?.removeEventListener('visibilitychange', this.#wake);
    this.#begin(state, { close });
    if (message) this.#fault(message);
  }

  /** The network is back, or someone looks at the page; a wait that the server asked for stays. */
  #wake = () => {
    if (this.#world.document?.hidden) return;
    if (this.state === 'waiting' && !this.#hinted) this.#try();
    if (this.state === 'open' && !this.#timers.has('pong')) this.#beat();
  };

  /**
   * Leaves the last state behind; answers the new run's number.
   * @param {State} state
   * @param {Partial<Status>} [more]
   */
  #begin(state, more) {
    const run = ++this.#run;
    for (const name of [...this.#timers.keys()]) this.#cancel(name);
    const socket = this.#socket;
    this.#socket = null;
    if (socket) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close(1000);
    }
    this.#enter(state, more);
    return run;
  }

  /** @param {State} state @param {Partial<Status>} [more] */
  #enter(state, more) {
    const { close } = this.#status;
    this.#status = { close, waitMs: 0, nextTryAt: 0, ...more, state, attempt: this.#failures };
    this.#log('note', `${state} ${JSON.stringify(more ?? {})}`);
    this.#emit('state', this.#status);
  }

  /** @template {keyof Events} K @param {K} type @param {Events[K]} detail */
  #emit(type, detail) { this.dispatchEvent(new CustomEvent(type, { detail })); }

  /** @param {string} message @param {string} [code] */
  #fault(message, code) {
    this.#log('note', message);
    this.#emit('error', { message, code });
  }

  /** @param {Line['kind']} kind @param {string} text */
  #log(kind, text) {
    // in linear time, whatever a device sends
    this.#options.log?.({ kind, text: text.replaceAll(this.#token || '\0', '…')
      .replace(/[\w.-]+/g, (each) => (each.includes('eyJ') && each.split('.')[2] ? '…' : each)) });
  }

  /** @param {string} name  one timer of each name at a time @param {number} ms @param {() => void} run */
  #after(name, ms, run) {
    this.#cancel(name);
    const fire = () => {
      this.#timers.delete(name);
      run();
    };
    this.#timers.set(name, this.#world.setTimeout(fire, ms));
  }

  /** @param {string} name */
  #cancel(name) {
    this.#world.clearTimeout(this.#timers.get(name));
    return this.#timers.delete(name);
  }
}

/** @returns {World} */
function browserWorld() {
  const { WebSocket, window, document } = globalThis;
  return {
    WebSocket, window, document, random: Math.random, now: Date.now, elapsed: () => performance.now(),
    setTimeout: (run, ms) => setTimeout(run, ms),
    clearTimeout: (timer) => clearTimeout(timer),
  };
}

/** Blocked, it throws. */
function ownStorage() {
  try {
    return globalThis.localStorage;
  } catch {
    return null;
  }
}

/** @param {Set<string> | Map<string, number>} ids */
function forgetOldest(ids) {
  const [oldest] = ids.keys();
  if (ids.size > IDS_REMEMBERED) ids.delete(oldest);
}

/** The JSON object in a text frame, or null. @param {unknown} data @returns {Frame | null} */
function parse(data) {
  try {
    const value = JSON.parse(/** @type {string} */ (data));
    return value && typeof value === 'object' && !Array.isArray(value) ? value : null;
  } catch {
    return null;
  }
}

/** What the server asks for. @param {Close | null} close */
function retryHintMs(close) {
  if (close?.code !== 1001 && close?.code !== 1013) return 0;
  const hint = /(?:^|;)retry_ms=(\d+)/.exec(close.reason);
  return hint ? Math.min(Number(hint[1]), HINT_MAX_MS) : 0;
}

/** @param {Close} close */
function closeText({ code, reason }) {
  return code === 1006 ? 'the connection broke or could not be made (1006)' : `the server closed: ${code} ${reason}`;
}

/**
 * What a token states, unchecked; null where it is no JWT.
 * @param {string} token
 * @returns {Record<string, any> | null}
 */
export function claimsOf(token) {
  try {
    const base64 = token.split('.')[1].replace(/-/g, '+').replace(/_/g, '/');
    return parse(new TextDecoder().decode(Uint8Array.from(atob(base64), (each) => each.charCodeAt(0))));
  } catch {
    return null;
  }
}

/** The last notifications; they survive a reload. Tells `change`, also another tab's. */
export class HermesHistory extends EventTarget {
  /** @type {Frame[]} newest first */
  items = [];
  #options;
  #saving = false;

  /** @param {{key?: string, max?: number, storage?: Storage | null}} [options]  null: only memory */
  constructor({ key = 'hermes.history', max = 200, storage = ownStorage() } = {}) {
    super();
    this.#options = { key, max, storage };
    this.#load();
    globalThis.window?.addEventListener('storage', (event) => event.key === key && this.#load());
    globalThis.window?.addEventListener('pagehide', () => this.#save());
  }

  /** False if this id is there. @param {Frame} frame */
  add(frame) {
    if (this.items.some(({ id }) => id === frame.id)) return false;
    this.#set([frame, ...this.items]);
    return true;
  }

  /** Adds fields, such as `acked: true`. @param {string} id @param {object} fields */
  mark(id, fields) { this.#set(this.items.map((item) => (item.id === id ? { ...item, ...fields } : item))); }

  clear() { this.#set([]); }

  /** @param {Frame[]} items */
  #set(items) {
    this.items = items.slice(0, this.#options.max);
    if (!this.#saving) setTimeout(() => this.#save(), SAVE_AFTER_MS);
    this.#saving = true;
    this.dispatchEvent(new Event('change'));
  }

  #load() {
    const { key, max, storage } = this.#options;
    try {
      const kept = JSON.parse(storage?.getItem(key) ?? '');
      this.items = Array.isArray(kept) ? kept.slice(0, max) : [];
    } catch {
      this.items = [];
    }
    this.dispatchEvent(new Event('change'));
  }

  /** Where the storage is full, the older half gives way. */
  #save() {
    const { key, storage } = this.#options;
    if (!this.#saving) return;
    this.#saving = false;
    for (let count = this.items.length; ; count >>= 1) {
      try {
        return storage?.setItem(key, JSON.stringify(this.items.slice(0, count)));
      } catch {
        if (!count) return;
      }
    }
  }
}
