/**
 * The Hermes client: one WebSocket that stays open, as far as that is possible and polite.
 * No dependencies; for browsers and Node. See docs/client.md.
 *
 * @typedef {'connecting' | 'open' | 'waiting' | 'refused' | 'closed'} State
 * @typedef {'first' | 'expired' | 'refused'} TokenReason  why the application is asked for a token
 * @typedef {Record<string, any>} Frame  a parsed frame; its fields are in docs/protocol.md
 *
 * @typedef {object} Close  how the last socket ended
 * @property {number} code  1006 when it broke without a close frame
 * @property {string} reason  a machine word, then hints: `stopping;retry_ms=800`
 *
 * @typedef {object} Status
 * @property {State} state
 * @property {number} attempt  the number of the try under way or awaited; 0 for the first of all
 * @property {number} waitMs  state `waiting`: from its beginning to the next try
 * @property {number} nextTryAt  state `waiting`: when the next try is due, Unix ms
 * @property {Close | null} close
 *
 * @typedef {object} Link  Hermes' own link to the MQTT broker
 * @property {boolean} up  false: no device's data arrives, and what there is grows stale
 * @property {number | null} since  Unix ms; null as long as a fresh socket has been told nothing
 *
 * @typedef {object} Fault
 * @property {string} message  what happened, in words
 * @property {string} [code]  the `code` of a server's error frame
 *
 * @typedef {object} Events
 * @property {Status} state
 * @property {Frame} frame  every frame from the server, before the narrower events
 * @property {Frame} notification
 * @property {Frame} device  with `snapshot: true` no news, but a last value, told because the socket opened
 * @property {Frame} broadcast
 * @property {Frame} presence  a device came or went, or was so when the socket opened
 * @property {Link} link
 * @property {number} rtt  a heartbeat's round trip in ms
 * @property {Fault} error
 *
 * @typedef {object} World  the surroundings; tests hand in their own
 * @property {new (url: string, protocols?: string[]) => WebSocket} WebSocket
 * @property {(run: () => void, ms: number) => any} setTimeout
 * @property {(timer: any) => void} clearTimeout
 * @property {() => number} now  Unix ms
 * @property {() => number} elapsed  ms by a clock that never jumps
 * @property {() => number} random  0 ≤ random < 1
 * @property {EventTarget | undefined} window  tells `online`
 * @property {(EventTarget & {hidden: boolean}) | undefined} document  tells `visibilitychange`
 *
 * @typedef {object} Options
 * @property {string | URL} url  ws, wss, http or https; in a page also just a path
 * @property {(reason: TokenReason) => string | null | Promise<string | null>} getToken  null: there is none
 * @property {boolean} [snapshot]  `false` declines the last values and the presence that a socket is told first
 * @property {'subprotocol' | 'query'} [tokenIn]  `query` puts the token into the URL, and so into logs
 * @property {number} [backoffMinMs]  1 000
 * @property {number} [backoffMaxMs]  30 000
 * @property {number} [pingEveryMs]  30 000
 * @property {number} [pongWithinMs]  10 000
 * @property {number} [openWithinMs]  15 000: a handshake that takes longer has failed
 * @property {Partial<World>} [world]
 */

const SUBPROTOCOL = 'hermes.v1';
const MESSAGE_MAX_BYTES = 65_536; // the server closes with 1009 beyond this
const HINT_MAX_MS = 3_600_000; // setTimeout takes a wait beyond 2^31 ms for none at all
const DEFAULTS = {
  backoffMinMs: 1_000, backoffMaxMs: 30_000, pingEveryMs: 30_000, pongWithinMs: 10_000, openWithinMs: 15_000,
};
/** @type {Close} what a browser reports of a connection that broke */
const BROKEN = { code: 1006, reason: '' };
/** @type {Link} what a fresh socket may take for granted unless it is told otherwise */
const ASSUMED_UP = { up: true, since: null };
/** @type {Map<unknown, 'notification' | 'device' | 'broadcast'>} */
const EVENT_OF_CHANNEL = new Map([['notifications', 'notification'], ['device', 'device'], ['tenant', 'broadcast']]);

export class HermesClient extends EventTarget {
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
  // A socket proves itself by its first frame (its first ping leaves at once, so within a round trip). Only that
  // resets these two: a server that accepts and then closes with 1008 or 1013 must not be hammered.
  #failures = 0;
  #asked = false; // getToken was asked because of a 1008
  #hinted = false; // the server itself asked for this wait
  #pingSentAt = 0;
  #run = 0; // each try, wait and stop has its number, so that a late answer of getToken is known as late

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

  /** As last told; while no socket is open, nobody knows. @returns {Readonly<Link>} */
  get link() { return this.#link; }

  /**
   * Listens with the event's detail itself; answers a function that stops listening.
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

  /** Ends for good: no timer and no listener is left behind. */
  close() {
    if (this.state !== 'closed') this.#stop('closed');
  }

  /**
   * Sends an object as JSON; false if the socket is not open, or if the message is too big for the server.
   * @param {object} message
   */
  send(message) {
    if (this.state !== 'open' || !this.#socket) return false;
    const text = JSON.stringify(message);
    if (new TextEncoder().encode(text).length > MESSAGE_MAX_BYTES) {
      this.#fault(`a message of more than ${MESSAGE_MAX_BYTES} bytes was not sent`);
      return false;
    }
    this.#socket.send(text);
    return true;
  }

  /** @param {string} [id]  the notification's; false if it could not be sent */
  ack(id) { return this.send({ action: 'ack', notification_id: id }); }

  /**
   * On `/ws`: narrows the device feed to the subscribed devices; remembered across reconnects.
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
    try {
      if (this.#ask && !(await this.#askForToken(this.#ask, run))) return;
    } catch (error) {
      if (run === this.#run) this.#wait(`getToken failed: ${error instanceof Error ? error.message : error}`);
      return;
    }
    if (run === this.#run) this.#open();
  }

  /**
   * Whether the try may go on.
   * @param {TokenReason} reason
   * @param {number} run
   */
  async #askForToken(reason, run) {
    const token = await this.#options.getToken(reason);
    if (run !== this.#run) return false;
    if (!token || (reason !== 'first' && token === this.#token)) {
      this.#stop('refused', token ? 'the refused token was offered again' : 'there is no token');
      return false;
    }
    this.#token = token;
    this.#ask = null;
    return true;
  }

  #open() {
    const inQuery = this.#options.tokenIn === 'query';
    const url = new URL(this.#url);
    if (inQuery) url.searchParams.set('token', this.#token);
    let socket;
    try {
      socket = new this.#world.WebSocket(url.href, inQuery ? [] : [SUBPROTOCOL, this.#token]);
    } catch { // a token with spaces, for example; the browser's own words would repeat it
      return this.#stop('refused', 'no socket can be made of this URL and token: look for stray characters');
    }
    this.#socket = socket;
    socket.onopen = () => this.#opened();
    socket.onmessage = (event) => this.#received(event.data);
    socket.onclose = ({ code, reason }) => this.#closed({ code, reason });
    this.#after('open', this.#options.openWithinMs, () => this.#wait('no answer to the handshake', BROKEN));
  }

  #opened() {
    this.#cancel('open');
    const devices = [...this.#devices]; // a listener of `open` may subscribe to more, and sends that itself
    const wasUp = this.#link.up;
    this.#link = ASSUMED_UP;
    this.#enter('open');
    if (!wasUp) this.#emit('link', this.#link); // the socket before may have missed that it is up again
    for (const device of devices) this.send({ action: 'subscribe', device });
    this.#beat();
  }

  #beat() {
    if (!this.send({ action: 'ping' })) return;
    this.#pingSentAt = this.#world.elapsed();
    this.#after('pong', this.#options.pongWithinMs, () => this.#wait('the heartbeat had no answer', BROKEN));
    this.#after('beat', this.#options.pingEveryMs, () => this.#beat());
  }

  /** @param {unknown} data */
  #received(data) {
    this.#failures = 0;
    this.#asked = false;
    const frame = parse(data);
    if (!frame) return this.#fault('a frame from the server is not a JSON object');
    this.#emit('frame', frame);
    const event = EVENT_OF_CHANNEL.get(frame.channel);
    if (event) this.#emit(event, frame);
    else if (frame.channel === 'status') this.#showStatus(frame);
    else if (frame.action === 'error') this.#fault(`the server says: ${frame.message}`, frame.code);
    else if (frame.action === 'pong' && this.#cancel('pong')) this.#emit('rtt', this.#world.elapsed() - this.#pingSentAt);
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
    // A fresh token cures neither a client that errs nor one whose fresh token was just refused.
    if (this.#asked || close.reason.startsWith('too_many_errors')) return this.#stop('refused', message, close);
    this.#asked = true;
    this.#ask = close.reason.startsWith('token_expired') ? 'expired' : 'refused';
    this.#status = { ...this.#status, close };
    this.#try();
    this.#fault(message);
  }

  /**
   * Full jitter: anything from nothing to the bound, so that the clients of a restarted server do not return as one.
   * @param {string} message
   * @param {Close | null} [close]
   */
  #wait(message, close = this.#status.close) {
    const { backoffMinMs, backoffMaxMs } = this.#options;
    const hintMs = retryHintMs(close);
    const bound = Math.min(backoffMaxMs, backoffMinMs * 2 ** this.#failures);
    // The server's hint already spreads its clients; back-off comes on top only while tries keep failing.
    const waitMs = Math.max(hintMs, hintMs && !this.#failures ? 0 : this.#world.random() * bound);
    this.#hinted = hintMs > 0;
    this.#failures += 1;
    const run = this.#begin('waiting', { waitMs, nextTryAt: this.#world.now() + waitMs, close });
    if (run === this.#run) this.#after('retry', waitMs, () => this.#try());
    this.#fault(message);
  }

  /**
   * @param {'refused' | 'closed'} state
   * @param {string} [message]
   * @param {Close | null} [close]
   */
  #stop(state, message, close = this.#status.close) {
    this.#world.window?.removeEventListener('online', this.#wake);
    this.#world.document?.removeEventListener('visibilitychange', this.#wake);
    this.#begin(state, { close });
    if (message) this.#fault(message);
  }

  /** The network is back, or someone looks at the page: no sense in waiting, unless the server asked for it. */
  #wake = () => {
    if (this.#world.document?.hidden) return;
    if (this.state === 'waiting' && !this.#hinted) this.#try();
    if (this.state === 'open' && !this.#timers.has('pong')) this.#beat();
  };

  /**
   * Leaves everything of the last state behind; answers the new run's number.
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

  /**
   * @param {State} state
   * @param {Partial<Status>} [more]
   */
  #enter(state, more) {
    const { close } = this.#status;
    this.#status = { close, waitMs: 0, nextTryAt: 0, ...more, state, attempt: this.#failures };
    this.#emit('state', this.#status);
  }

  /**
   * @template {keyof Events} K
   * @param {K} type
   * @param {Events[K]} detail
   */
  #emit(type, detail) { this.dispatchEvent(new CustomEvent(type, { detail })); }

  /**
   * @param {string} message
   * @param {string} [code]
   */
  #fault(message, code) { this.#emit('error', { message, code }); }

  /**
   * @param {string} name  one timer of each name at a time
   * @param {number} ms
   * @param {() => void} run
   */
  #after(name, ms, run) {
    this.#cancel(name);
    const fire = () => {
      this.#timers.delete(name);
      run();
    };
    this.#timers.set(name, this.#world.setTimeout(fire, ms));
  }

  /** Whether there was such a timer. @param {string} name */
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

/**
 * The JSON object in a text frame, or null.
 * @param {unknown} data
 * @returns {Frame | null}
 */
function parse(data) {
  try {
    const value = JSON.parse(/** @type {string} */ (data));
    return value && typeof value === 'object' && !Array.isArray(value) ? value : null;
  } catch {
    return null;
  }
}

/** The wait that the server asks for, 0 if none. @param {Close | null} close */
function retryHintMs(close) {
  if (close?.code !== 1001 && close?.code !== 1013) return 0;
  const hint = /(?:^|;)retry_ms=(\d+)/.exec(close.reason);
  return hint ? Math.min(Number(hint[1]), HINT_MAX_MS) : 0;
}

/** @param {Close} close */
function closeText({ code, reason }) {
  return code === 1006 ? 'the connection broke or could not be made (1006)' : `the server closed: ${code} ${reason}`;
}
