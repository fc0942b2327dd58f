/** A small line chart without axes, for table cells. */

import { makeSvg } from './dom.js';

const PADDING_PX = 2; // half the line width must not be cut off

export class Sparkline {
  element;
  /** One for each part of the line without a break. */
  #lines = [makeSvg('polyline')];
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
    }, ...this.#lines);
  }

  /** @param {number[]} values  oldest first; NaN breaks the line */
  draw(values) {
    const parts = this.#parts(values);
    while (this.#lines.length < parts.length) this.#addLine();
    this.#lines.forEach((line, index) => line.setAttribute('points', parts[index] ?? ''));
  }

  #addLine() {
    const line = makeSvg('polyline');
    this.#lines.push(line);
    this.element.append(line);
  }

  /** The points of each part. @param {number[]} values */
  #parts(values) {
    const numbers = values.filter((value) => !Number.isNaN(value));
    if (numbers.length < 2) return [];
    const low = Math.min(...numbers);
    const span = Math.max(...numbers) - low || 1;
    const step = (this.#width - 2 * PADDING_PX) / Math.max(1, values.length - 1);
    const space = this.#height - 2 * PADDING_PX;
    /** @type {string[][]} */
    const parts = [[]];
    values.forEach((value, index) => {
      if (Number.isNaN(value)) parts.push([]);
      else parts[parts.length - 1].push(`${(PADDING_PX + index * step).toFixed(1)},${(PADDING_PX + space - ((value - low) / span) * space).toFixed(1)}`);
    });
    // a single point is a line of no length, which the round ends of the stroke make a dot
    return parts.filter((part) => part.length).map((part) => (part.length > 1 ? part : [...part, ...part]).join(' '));
  }
}
