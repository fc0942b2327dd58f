/** The log's panel. */

/** @typedef {{at: number, socket: string, kind: string, text: string}} Line */

export class LogPanel {
  /** @param {HTMLElement} _root */
  constructor(_root) {}

  /** @param {Line} _line */
  write(_line) {}

  show() {}

  hide() {}
}
