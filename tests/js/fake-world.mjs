/** A fake of the client's `world` option: the test controls the clock, the random numbers and the network. */

class FakeSocket {
  onopen = null;
  onmessage = null;
  onclose = null;
  sent = [];
  closedWith = undefined;
  readyState = 0;

  constructor(url, protocols) {
    this.url = url;
    this.protocols = protocols;
  }

  send(text) { this.sent.push(JSON.parse(text)); }

  close(code) { this.closedWith = code; }

  // Actions of the server:
  accept() {
    this.readyState = 1;
    this.onopen?.({});
  }

  frame(value) { this.onmessage?.({ data: typeof value === 'string' ? value : JSON.stringify(value) }); }

  pong() { this.frame({ action: 'pong' }); }

  end(code, reason = '') { this.onclose?.({ code, reason }); }
}

/** An EventTarget that counts its listeners. */
class CountedTarget extends EventTarget {
  listeners = new Set();

  addEventListener(type, listener) {
    this.listeners.add(listener);
    super.addEventListener(type, listener);
  }

  removeEventListener(type, listener) {
    this.listeners.delete(listener);
    super.removeEventListener(type, listener);
  }
}

export class FakeWorld {
  time = 1_000_000;
  chance = 0.5;
  sockets = [];
  timers = new Map();
  window = new CountedTarget();
  document = Object.assign(new CountedTarget(), { hidden: false });
  #lastTimer = 0;

  constructor() {
    const world = this;
    this.WebSocket = class extends FakeSocket {
      constructor(url, protocols) {
        super(url, protocols);
        world.sockets.push(this);
      }
    };
    this.now = () => this.time;
    this.elapsed = () => this.time;
    this.random = () => this.chance;
    this.setTimeout = (run, ms) => {
      this.timers.set(++this.#lastTimer, { run, at: this.time + ms });
      return this.#lastTimer;
    };
    this.clearTimeout = (timer) => void this.timers.delete(timer);
  }

  get socket() { return this.sockets.at(-1); }

  get listenerCount() { return this.window.listeners.size + this.document.listeners.size; }

  /** Advance the time: each timer runs when it is due, and all promises settle. */
  async pass(ms) {
    const end = this.time + ms;
    for (;;) {
      await settled();
      const due = [...this.timers].filter(([, { at }]) => at <= end).sort(([, a], [, b]) => a.at - b.at)[0];
      if (!due) break;
      this.timers.delete(due[0]);
      this.time = due[1].at;
      due[1].run();
    }
    this.time = end;
  }
}

export function settled() { return new Promise((resolve) => setImmediate(resolve)); }

/** A JWT without a valid signature. @param {object | string} claims  or their JSON */
export function jwt(claims) {
  const part = (value) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');
  return `${part({ alg: 'HS256' })}.${part(claims)}.c2lnbmF0dXJl`;
}
