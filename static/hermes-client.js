/**
 * The Hermes client: docs/guide/browser-client.md.
 *
 * @import { ChangeFrame, Close, Counts, Events, Frame, HistoryOptions, Line, Link, Listener, Options, Position, State, Status, StatusFrame, StoredNotification, TokenReason, World } from './hermes-client-types.js'
 */

const SUBPROTOCOL = 'hermes.v1';
const MESSAGE_MAX_BYTES = 65_536; // beyond it the server closes
const HINT_MAX_MS = 3_600_000; // 2^31 ms would be 0
const IDS_MAX = 1_000;
const REVOKED_WAIT_MS = 2_000; // tokens of that second are refused too
const SAVE_AFTER_MS = 100; // one write per burst
const DEFAULTS = {
  backoffMinMs: 1_000, backoffMaxMs: 30_000, pingEveryMs: 30_000, pongWithinMs: 10_000, openWithinMs: 15_000,
  refreshBeforeMs: 60_000, retryRefusedMs: 300_000,
};
const encoder = new TextEncoder();
/** @type {Close} */
const BROKEN = { code: 1006, reason: '' };
/** @type {Link} until the first status frame */
const ASSUMED_UP = { up: true, since: null };
/** @type {HermesHistory | undefined} of clients that have none */
let noHistory;

export class HermesClient extends EventTarget {
  /** @type {Counts} live */
  counts = { received: 0, sent: 0, bytesIn: 0, bytesOut: 0, duplicates: 0, gaps: 0, skipped: 0 };
  /** @type {Set<string>} */
  #ids = new Set();
  /** @type {Map<string, number>} by the id without its number */
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
  #tokenReason = 'first'; // why a token is needed; null: use the current one
  #failures = 0; // until the first frame: a server may close a socket at once
  #tokenRetried = false; // getToken was called after a 1008
  #hinted = false; // the server asked to wait
  #pingSentAt = 0;
  #reader = ''; // empty: does not resume
  /** @type {Position} */
  #position = ['0'];
  #resumed = false; // by this socket
  #gap = false;
  #missed = 0;
  #run = 0; // of the attempt
  #attempt = new AbortController(); // ends the request for a token

  /** @param {Options} options */
  constructor(options) {
    super();
    this.#options = { ...DEFAULTS, ...options };
    this.#world = { ...browserWorld(), ...options.world };
    this.#url = new URL(options.url, globalThis.document?.baseURI ?? globalThis.location?.href);
    this.#url.protocol = this.#url.protocol.replace('http', 'ws');
    if (options.snapshot === false) this.#url.searchParams.set('snapshot', '0');
  }

  /** @returns {Readonly<Status>} */
  get status() { return this.#status; }

  get state() { return this.#status.state; }

  /** @returns {Readonly<Link>} */
  get link() { return this.#link; }

  /**
   * Returns a function that removes the listener.
   * @template {keyof Events} K
   * @param {K} type
   * @param {Listener<K>} listener
   */
  on(type, listener) {
    /** @param {any} event */
    const unwrap = (event) => listener(event.detail, event.text);
    this.addEventListener(type, unwrap);
    return () => this.removeEventListener(type, unwrap);
  }

  /** Start; while waiting, try at once. */
  connect() {
    if (this.state === 'waiting') return void this.#try();
    if (this.state === 'connecting' || this.state === 'open') return;
    this.#failures = 0;
    this.#tokenRetried = false;
    this.#tokenReason = 'first';
    this.#status = { ...this.#status, close: null };
    this.#world.window?.addEventListener('online', this.#wake);
    this.#world.document?.addEventListener('visibilitychange', this.#wake);
    this.#try();
  }

  /** Close the socket; remove timers and listeners. */
  close() {
    if (this.state === 'closed') return;
    this.#ignoreWaking();
    this.#begin('closed', { close: this.#status.close });
  }

  /**
   * Send JSON; false if that failed.
   * @param {object} message
   */
  send(message) {
    if (this.state !== 'open' || this.#socket?.readyState !== 1) return false;
    const text = JSON.stringify(message);
    const size = encoder.encode(text).length;
    if (size > MESSAGE_MAX_BYTES) {
      this.#reportError(`message not sent: more than ${MESSAGE_MAX_BYTES} bytes`);
      return false;
    }
    this.#socket.send(text);
    this.counts.sent += 1;
    this.counts.bytesOut += size;
    this.#log('out', text);
    return true;
  }

  /** Acknowledge a notification. @param {string} [id] */
  ack(id) {
    const sent = this.send({ action: 'ack', notification_id: id });
    if (sent && id) this.#options.history?.mark(id, { acked: true });
    return sent;
  }

  /** Send a heartbeat now; false if that is not possible. */
  ping() {
    if (this.state !== 'open' || this.#timers.has('pong')) return false;
    this.#heartbeat();
    return true;
  }

  /** On `/ws`: only these devices. @param {string} device */
  subscribe(device) {
    this.#devices.add(device);
    return this.send({ action: 'subscribe', device });
  }

  /** Without any, all devices. @param {string} device */
  unsubscribe(device) {
    this.#devices.delete(device);
    return this.send({ action: 'unsubscribe', device });
  }

  async #try() {
    const run = this.#begin('connecting');
    if (run !== this.#run) return;
    this.#after('open', this.#options.openWithinMs, () => this.#wait('no token or handshake in time', BROKEN));
    const reason = this.#tokenReason ?? (this.#tokenLeftMs <= 0 ? 'expired' : null);
    if (reason) {
      const token = await this.#newToken(reason, (message) => this.#wait(message));
      if (token === undefined) return;
      if (!token) return this.#refuse('getToken returned no token');
      // This clock may be wrong.
      if (this.#tokenRetried && token === this.#token) return this.#refuse('getToken returned the refused token again');
      this.#token = token;
      this.#tokenReason = null;
    }
    if (run === this.#run) this.#open();
  }

  /**
   * @param {TokenReason} reason
   * @param {(message: string) => void} failed
   */
  async #newToken(reason, failed) {
    const run = this.#run;
    try {
      const token = await this.#options.getToken(reason, this.#attempt.signal) ?? null;
      if (run === this.#run) return token;
    } catch (/** @type {any} */ error) {
      if (run === this.#run) failed(`getToken failed: ${error?.message ?? error}`);
    }
  }

  #open() {
    const inQuery = this.#options.tokenIn === 'query';
    const url = new URL(this.#url);
    if (inQuery) url.searchParams.set('token', this.#token);
    this.#choosePosition();
    if (this.#reader) {
      url.searchParams.set('since', this.#position.join(':'));
      url.searchParams.set('replay_end', '1');
    }
    let socket;
    try {
      socket = new this.#world.WebSocket(url.href, inQuery ? [] : [SUBPROTOCOL, this.#token]);
    } catch (/** @type {any} */ error) { // its message contains the token
      return this.#refuse(error?.name === 'SecurityError'
        ? 'the browser blocks this URL: a page loaded over https needs wss://'
        : 'cannot open a socket with this URL and token: check for invalid characters');
    }
    this.#socket = socket;
    socket.onopen = () => this.#opened();
    socket.onmessage = (event) => this.#received(event.data);
    socket.onerror = () => {}; // the package ws throws unhandled errors
    socket.onclose = ({ code, reason }) => this.#closed({ code, reason });
  }

  #opened() {
    this.#cancel('open');
    const devices = [...this.#devices]; // a listener may add one
    const wasUp = this.#link.up;
    this.#link = ASSUMED_UP;
    this.#enter('open');
    if (!wasUp) this.#emit('link', this.#link);
    for (let at = 0; at < devices.length; at += 100) this.send({ action: 'subscribe', devices: devices.slice(at, at + 100) });
    this.#heartbeat();
    this.#planRefresh();
  }

  /** That of this page: another tab may be ahead. */
  #choosePosition() {
    const { resume = true, readerClaims = ['user_id', 'sub', 'tenant_id'] } = this.#options;
    const claims = membersOf(claimsText(this.#token)).filter(([name]) => readerClaims.includes(name));
    const resumes = resume && /\/ws(\/notifications)?$/.test(this.#url.pathname) && claims.some(([name]) => name !== 'tenant_id');
    const reader = resumes ? `${this.#url} ${claims}` : '';
    if (reader === this.#reader) return;
    this.#reader = reader;
    this.#position = this.#history.positions[reader] ?? ['0'];
    this.#missed = 0;
    this.#gap = false;
  }

  get #history() { return this.#options.history ?? (noHistory ??= new HermesHistory({ key: 'hermes' })); }

  #advance(seq = 0) {
    const [epoch, last = 0] = this.#position;
    if (!this.#resumed || seq <= last) return;
    this.#history.setPosition(this.#reader, this.#position = [epoch, seq]);
  }

  get #tokenLeftMs() { return Number(claimsOf(this.#token)?.exp) * 1_000 - this.#world.now(); }

  #planRefresh() {
    const left = this.#tokenLeftMs;
    const due = Math.max(left - this.#options.refreshBeforeMs, left / 2);
    if (due > HINT_MAX_MS) this.#after('refresh', HINT_MAX_MS, () => this.#planRefresh());
    else if (due > 0) this.#after('refresh', due, () => this.#refresh());
  }

  /** If this fails, the 1008 asks again. */
  async #refresh() {
    const token = await this.#newToken('expiring', (message) => this.#reportError(message));
    if (token === undefined) return;
    if (!token || token === this.#token) return this.#reportError('getToken returned no new token');
    this.#token = token;
    this.send({ action: 'refresh', token });
  }

  #heartbeat() {
    if (!this.send({ action: 'ping' })) return;
    this.#pingSentAt = this.#world.elapsed();
    const { pingEveryMs, pongWithinMs } = this.#options;
    this.#after('pong', Math.min(pongWithinMs, pingEveryMs), () => this.#wait('no pong in time', BROKEN));
    this.#after('beat', pingEveryMs, () => this.#heartbeat());
  }

  /** @param {unknown} data */
  #received(data) {
    this.#failures = 0;
    this.#tokenRetried = false;
    this.counts.received += 1;
    const text = String(data);
    this.counts.bytesIn += encoder.encode(text).length;
    this.#log('in', text);
    const frame = /** @type {Frame | null} */ (parse(text));
    if (!frame) return this.#reportError('received a frame that is not a JSON object');
    if (frame.channel === 'device') this.counts.skipped += frame.skipped ?? 0;
    if ('seq' in frame) this.#advance(frame.seq);
    this.#emit('frame', frame, text);
    if (frame.channel === 'device') this.#emit('device', frame, text);
    else if (frame.channel === 'notifications') this.#handleNotification('notification', frame, text);
    else if (frame.channel === 'tenant') this.#handleNotification('broadcast', frame, text);
    else if (frame.channel === 'status') this.#handleStatus(frame, text);
    else if (frame.action === 'resumed') {
      this.#position = [frame.epoch, frame.from];
      this.#resumed = this.#reader !== '';
      this.#gap ||= frame.gap;
      this.#emit('resumed', frame, text);
    } else if (frame.action === 'acked' || frame.action === 'withdrawn') {
      this.#options.history?.apply(frame);
      this.#emit(frame.action, frame, text);
    } else if (frame.action === 'replay_end') {
      const missed = { count: this.#missed, gap: this.#gap };
      this.#missed = 0;
      this.#gap = false;
      if (missed.count || missed.gap) this.#emit('missed', missed);
    } else if (frame.action === 'refreshed') {
      this.#planRefresh();
      this.#emit('refreshed', { expires: frame.expires });
    } else if (frame.action === 'error') this.#reportError(`server error: ${frame.message}`, frame.code);
    else if (frame.action === 'pong' && this.#cancel('pong')) this.#emit('rtt', this.#world.elapsed() - this.#pingSentAt);
  }

  /** @param {'notification' | 'broadcast'} event @param {any} frame @param {string} text */
  #handleNotification(event, frame, text) {
    const id = String(frame.id);
    if (this.#ids.has(id)) return void (this.counts.duplicates += 1);
    this.#ids.add(id);
    evictOldest(this.#ids);
    if (this.#options.numbered) this.#countGap(id);
    const isNew = this.#options.history?.add(frame) ?? true;
    if (frame.replayed && isNew && !frame.acked_at) this.#missed += 1;
    this.#emit(event, frame, text);
  }

  /** @param {string} id */
  #countGap(id) {
    const [kind, digits] = id.split(/(\d+)$/);
    if (!digits) return;
    const number = Number(digits);
    const highest = this.#highest.get(kind) ?? number;
    this.counts.gaps += Math.max(0, number - highest - 1);
    this.#highest.set(kind, Math.max(number, highest));
    evictOldest(this.#highest);
  }

  /** @param {StatusFrame} frame @param {string} text */
  #handleStatus(frame, text) {
    if (frame.mqtt === 'up' || frame.mqtt === 'down') {
      this.#link = { up: frame.mqtt === 'up', since: frame.since };
      this.#emit('link', this.#link);
    } else if (typeof frame.online === 'boolean' || frame.online === null) this.#emit('presence', frame, text);
  }

  /** @param {Close} close */
  #closed(close) {
    const message = closeText(close);
    if (close.code !== 1008) return this.#wait(message, close);
    if (this.#tokenRetried || close.reason.startsWith('too_many_errors')) return this.#refuse(message, close);
    this.#tokenRetried = true;
    this.#tokenReason = close.reason.startsWith('token_expired') ? 'expired' : 'refused';
    if (close.reason.startsWith('revoked')) return this.#wait(message, close, REVOKED_WAIT_MS);
    this.#status = { ...this.#status, close };
    if (retryHintMs(close)) return this.#wait(message, close); // many return at once
    this.#try();
    this.#reportError(message);
  }

  /**
   * Back-off with full jitter.
   * @param {string} message
   * @param {Close | null} [close]
   * @param {number} [leastMs]
   */
  #wait(message, close = this.#status.close, leastMs = 0) {
    const { backoffMinMs, backoffMaxMs } = this.#options;
    const hintMs = leastMs ? leastMs * (1 + this.#world.random()) : retryHintMs(close);
    const bound = Math.min(backoffMaxMs, backoffMinMs * 2 ** this.#failures);
    const waitMs = Math.max(hintMs, hintMs && !this.#failures ? 0 : this.#world.random() * bound);
    this.#hinted = hintMs > 0;
    this.#failures += 1;
    const run = this.#begin('waiting', { waitMs, nextTryAt: this.#world.now() + waitMs, close });
    if (run === this.#run) this.#after('retry', waitMs, () => this.#try());
    this.#reportError(message);
  }

  /**
   * Try again after minutes.
   * @param {string} message
   * @param {Close | null} [close]
   */
  #refuse(message, close = this.#status.close) {
    const waitMs = Math.min(this.#options.retryRefusedMs, HINT_MAX_MS) * (0.5 + this.#world.random());
    if (!waitMs) this.#ignoreWaking();
    const run = this.#begin('refused', { close, waitMs, nextTryAt: waitMs && this.#world.now() + waitMs });
    if (run === this.#run && waitMs) this.#after('retry', waitMs, () => this.#tryRefused());
    this.#reportError(message);
  }

  #tryRefused() {
    this.#tokenRetried = false;
    this.#tokenReason = 'refused';
    this.#try();
  }

  #ignoreWaking() {
    this.#world.window?.removeEventListener('online', this.#wake);
    this.#world.document?.removeEventListener('visibilitychange', this.#wake);
  }

  /** Online or visible again. */
  #wake = () => {
    if (this.#world.document?.hidden) return;
    if (this.state === 'waiting' && !this.#hinted) this.#try();
    if (this.state === 'refused') this.#tryRefused();
    if (this.state === 'open' && !this.#timers.has('pong')) this.#heartbeat();
  };

  /**
   * Returns the number of the new attempt.
   * @param {State} state
   * @param {Partial<Status>} [more]
   */
  #begin(state, more) {
    const run = ++this.#run;
    this.#resumed = false;
    this.#attempt.abort();
    this.#attempt = new AbortController();
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

  /** @template {keyof Events} K @param {K} type @param {Events[K]} detail @param {string} [text] */
  #emit(type, detail, text = '') { this.dispatchEvent(Object.assign(new CustomEvent(type, { detail }), { text })); }

  /** @param {string} message @param {string} [code] */
  #reportError(message, code) {
    this.#log('note', message);
    this.#emit('error', { message, code });
  }

  /** @param {Line['kind']} kind @param {string} text */
  #log(kind, text) {
    // linear time
    this.#options.log?.({ kind, text: text.replaceAll(this.#token || '\0', '…')
      .replace(/[\w.-]+/g, (each) => (each.includes('eyJ') && each.split('.')[2] ? '…' : each)) });
  }

  /** @param {string} name  one timer per name @param {number} ms @param {() => void} run */
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

/** Browsers throw if it is blocked. */
function ownStorage() {
  try {
    return globalThis.localStorage;
  } catch {
    return null;
  }
}

/** @param {Set<string> | Map<string, number>} ids */
function evictOldest(ids) {
  const [oldest] = ids.keys();
  if (ids.size > IDS_MAX) ids.delete(oldest);
}

/** The object in a text, or null. @param {unknown} data @returns {Record<string, any> | null} */
function parse(data) {
  try {
    const value = JSON.parse(/** @type {string} */ (data));
    return value && typeof value === 'object' && !Array.isArray(value) ? value : null;
  } catch {
    return null;
  }
}

/** @param {Close | null} close */
function retryHintMs(close) {
  const hint = [1001, 1008, 1013].includes(close?.code ?? 0) && /(?:^|;)retry_ms=(\d+)/.exec(close?.reason ?? '');
  return hint ? Math.min(Number(hint[1]), HINT_MAX_MS) : 0;
}

/** @param {Close} close */
function closeText({ code, reason }) {
  return code === 1006 ? 'connection failed or lost (1006)' : `closed by the server: ${code} ${reason}`;
}

/**
 * The claims of a token, not verified; null if it is not a JWT.
 * @param {string} token
 * @returns {Record<string, any> | null}
 */
export function claimsOf(token) { return parse(claimsText(token)); }

/** @param {string} token */
function claimsText(token) {
  try {
    const base64 = token.split('.')[1].replace(/-/g, '+').replace(/_/g, '/');
    return new TextDecoder().decode(Uint8Array.from(atob(base64), (each) => each.charCodeAt(0)));
  } catch {
    return '';
  }
}

/**
 * The members of a JSON object, or the elements of an array, as `[name, text]`: numbers keep all digits.
 * @param {string} text  valid JSON
 */
export function membersOf(text) {
  /** @type {[string, string][]} */
  const members = [];
  /** @type {string | undefined} */
  let name;
  let depth = 0;
  let start = 0;
  for (let at = 0; at < text.length; at += 1) {
    const sign = text[at];
    const ends = sign === '}' || sign === ']';
    if (sign === '"') {
      for (at += 1; at < text.length && text[at] !== '"'; at += 1) if (text[at] === '\\') at += 1;
    } else if (sign === '{' || sign === '[') {
      depth += 1;
      if (depth === 1) start = at + 1;
    } else if (depth === 1 && (ends || sign === ',' || sign === ':')) {
      const part = text.slice(start, at).trim();
      if (sign === ':') name = JSON.parse(part);
      else if (part) members.push([name ?? String(members.length), part]);
      start = at + 1;
    }
    if (ends) depth -= 1;
  }
  return members;
}

/**
 * Keeps the latest notifications. Emits `change`.
 * @template {object} [Fields={}]  of your program
 */
export class HermesHistory extends EventTarget {
  /** @type {(StoredNotification & Partial<Fields>)[]} newest first */
  items = [];
  /** @type {Record<string, Position>} of clients in the inbox, by reader */
  positions = {};
  #options;
  #text = ''; // as stored
  /** @type {(() => void)[]} not stored yet */
  #changes = [];
  /** @type {any} */
  #timer;

  /** @param {HistoryOptions} [options] */
  constructor({ key = 'hermes.history', max = 200, storage = ownStorage() } = {}) {
    super();
    this.#options = { key, max, storage };
    this.#load();
    globalThis.window?.addEventListener('storage', (event) => event.key === key && this.#load());
    globalThis.window?.addEventListener('pagehide', () => this.#save());
  }

  /** How many are not acknowledged. */
  get unread() { return this.items.filter(({ acked }) => !acked).length; }

  /** Add a frame; false if its id exists. @param {StoredNotification} frame */
  add(frame) {
    const item = /** @type {this['items'][0]} */ ({ ...frame });
    if (item.acked_at) item.acked = true;
    if (item.expires && !item.replayed) item.expires += Date.now() - item.timestamp; // this clock may be wrong
    let isNew = false;
    this.#change(() => {
      isNew = !this.items.some(({ id }) => id === item.id);
      if (isNew) this.items = [item, ...this.items.filter(({ id }) => id !== item.replaces)];
    });
    return isNew;
  }

  /** Add fields, such as `acked: true`. @param {string} id @param {Partial<Fields> & {acked?: boolean}} fields */
  mark(id, fields) { this.#change(() => { this.items = this.items.map((item) => (item.id === id ? { ...item, ...fields } : item)); }); }

  /** Acknowledge or remove. @param {ChangeFrame} frame */
  apply({ action, notification_id, upto = 0 }) {
    /** @param {this['items'][0]} item */
    const isOther = ({ id, seq = Infinity }) => id !== notification_id && seq > upto;
    this.#change(() => {
      this.items = action === 'withdrawn' ? this.items.filter(isOther)
        : this.items.map((item) => (item.acked || isOther(item) ? item : { ...item, acked: true }));
    });
  }

  clear() { this.#change(() => { this.items = []; }); }

  /** Forward only. @param {string} reader @param {Position} position */
  setPosition(reader, position) {
    this.#change(() => {
      const [epoch, seq = 0] = this.positions[reader] ?? [];
      if (epoch !== position[0] || seq < (position[1] ?? 0)) this.positions[reader] = position;
    });
  }

  /** @param {() => void} change */
  #change(change) {
    if (!this.#changes.length) setTimeout(() => this.#save(), SAVE_AFTER_MS);
    this.#changes.push(change);
    const before = this.items;
    change();
    if (this.items !== before) this.#show();
  }

  #show() {
    const now = Date.now();
    this.items = this.items.filter(({ expires = Infinity }) => expires > now).slice(0, this.#options.max);
    const leftMs = Math.min(...this.items.map(({ expires = Infinity }) => expires)) - now;
    clearTimeout(this.#timer);
    if (leftMs < Infinity) this.#timer = setTimeout(() => this.#show(), Math.min(leftMs, HINT_MAX_MS));
    this.#timer?.unref?.();
    this.dispatchEvent(new Event('change'));
  }

  /** Repeat the changes on what another tab has stored. */
  #load() {
    try {
      const text = this.#options.storage?.getItem(this.#options.key) ?? '';
      if (text === this.#text) return;
      this.#text = text;
      const stored = JSON.parse(text);
      const { items = stored, positions = {} } = stored; // before 0.2.0, items only
      if (!Array.isArray(items)) return;
      this.items = items;
      this.positions = positions;
      for (const change of this.#changes) change();
      this.#show();
    } catch {}
  }

  /** If the storage is full, drop the older half. */
  #save() {
    if (!this.#changes.length) return;
    this.#load();
    this.#changes = [];
    for (const oldest of Object.keys(this.positions).slice(0, -IDS_MAX)) delete this.positions[oldest];
    for (let count = this.items.length; ; count >>= 1) {
      const text = JSON.stringify({ items: this.items.slice(0, count), positions: this.positions });
      try {
        this.#options.storage?.setItem(this.#options.key, text);
        return void (this.#text = text);
      } catch {
        if (!count) return;
      }
    }
  }
}
