/** The row of panel names: on a narrow screen it scrolls, and an arrow at its edge shows that there are more. */

import { byId } from './dom.js';

const TOLERANCE_PX = 2; // positions are fractions of a pixel on some screens
const ARROW_PX = 48;
const PART = 0.7; // of the row that one press scrolls

/** Show the arrows while there is something to scroll to. They are for pointers only: the keyboard reaches every link. */
export function showMoreTabs() {
  const row = byId('panels');
  const [before, after] = [byId('panels-before'), byId('panels-after')];
  const update = () => {
    before.hidden = row.scrollLeft < TOLERANCE_PX;
    after.hidden = row.scrollLeft + row.clientWidth > row.scrollWidth - TOLERANCE_PX;
  };
  before.addEventListener('click', () => { row.scrollLeft -= PART * row.clientWidth; });
  after.addEventListener('click', () => { row.scrollLeft += PART * row.clientWidth; });
  row.addEventListener('scroll', update);
  new ResizeObserver(() => {
    showCurrent(row);
    update();
  }).observe(row);
}

/** Scroll the row, not the page, until the current link is not behind an arrow. @param {HTMLElement} row */
function showCurrent(row) {
  const link = row.querySelector('[aria-current]')?.getBoundingClientRect();
  const { left, right } = row.getBoundingClientRect();
  if (link && link.left < left + ARROW_PX) row.scrollLeft -= left + ARROW_PX - link.left;
  else if (link && link.right > right - ARROW_PX) row.scrollLeft += link.right - right + ARROW_PX;
}
