/** A small line chart without axes, for table cells. */

import { makeSvg } from './dom.js';

const PADDING_PX = 2; // half the line width must not be cut off

export class Sparkline {
  element;
  #line = makeSvg('polyline');
  #width;
  #height;

  /**
   * @param {number} width
   * @param {number} height
   */
  constructor(width, height) {
    this.#width = width;
    this.#height = height;
    this.element = makeSvg('svg', {
      class: 'sparkline', 'aria-hidden': 'true', width: String(width), height: String(height),
      viewBox: `0 0 ${width} ${height}`,
    }, this.#line);
  }

  /** @param {number[]} values  oldest first */
  draw(values) {
    const low = Math.min(...values);
    const span = Math.max(...values) - low || 1;
    const step = (this.#width - 2 * PADDING_PX) / Math.max(1, values.length - 1);
    const space = this.#height - 2 * PADDING_PX;
    const points = values.map((each, index) => (
      `${(PADDING_PX + index * step).toFixed(1)},${(PADDING_PX + space - ((each - low) / span) * space).toFixed(1)}`));
    this.#line.setAttribute('points', values.length > 1 ? points.join(' ') : '');
  }
}
