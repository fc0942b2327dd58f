/** A small line of numbers without axes, for table cells; the numbers themselves stand beside it. */

import { makeSvg } from './element.js';

const EDGE = 2; // so that the line's width is not cut off

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

  /** @param {number[]} numbers  oldest first */
  draw(numbers) {
    const low = Math.min(...numbers);
    const span = Math.max(...numbers) - low || 1;
    const step = (this.#width - 2 * EDGE) / Math.max(1, numbers.length - 1);
    const room = this.#height - 2 * EDGE;
    const points = numbers.map((each, place) => (
      `${(EDGE + place * step).toFixed(1)},${(EDGE + room - ((each - low) / span) * room).toFixed(1)}`));
    this.#line.setAttribute('points', numbers.length > 1 ? points.join(' ') : '');
  }
}
