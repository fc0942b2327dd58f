/** A plain WebSocket that resumes at a position of the inbox, and records what it receives. */

import { socketUrl } from '../lib/page-urls.js';

/** @typedef {{epoch: string, to: number, gap: boolean}} Resumed */
/** @typedef {{id: string, seq: number, replayed: boolean}} Received */

export class ResumingSocket {
  /** @type {Resumed | null} the answer to the position */
  resumed = null;
  /** @type {Received[]} notifications, in the order of their arrival */
  received = [];
  /** Why it was closed; empty while it is not. */
  end = '';
  #socket;
  #closed;

  /** @param {string} position @param {string} token */
  constructor(position, token) {
    this.#socket = new WebSocket(socketUrl(`ws/notifications?since=${encodeURIComponent(position)}`), ['hermes.v1', token]);
    this.#closed = new Promise((resolve) => this.#socket.addEventListener('close', ({ code, reason }) => resolve(this.end = `${code} ${reason}`)));
    this.#socket.addEventListener('message', ({ data }) => this.#read(JSON.parse(data)));
  }

  /** Close it; the promise is fulfilled when the browser has done so. */
  close() {
    this.#socket.close();
    return this.#closed;
  }

  /** @param {Record<string, any>} frame */
  #read(frame) {
    if (frame.action === 'resumed') this.resumed = /** @type {Resumed} */ (frame);
    else if (frame.channel === 'notifications') this.received.push({ id: frame.id, seq: frame.seq, replayed: frame.replayed === true });
  }
}
