"""What a page's layout may not do: scroll sideways, lay something over the window's edge, cut words off."""

from playwright.sync_api import Page

# A box is judged by what is left of it once the scrolling boxes around it have clipped it: a wide table in a box that
# scrolls is at home there. What is hidden on purpose (the skip link, words for screen readers) has no place to be.
OVERHANGING = """
() => {
  const width = document.documentElement.clientWidth;
  const found = [];
  const { scrollWidth } = document.scrollingElement;
  if (scrollWidth > width) found.push(`scrolls sideways: ${scrollWidth} px`);
  const name = (element) => element.tagName.toLowerCase() + (element.id ? `#${element.id}` : '')
    + [...element.classList].map((each) => `.${each}`).join('');
  const clipped = (element) => {
    let { left, right } = element.getBoundingClientRect();
    for (let up = element.parentElement; up && up !== document.body; up = up.parentElement) {
      if (getComputedStyle(up).overflowX === 'visible') continue;
      const box = up.getBoundingClientRect();
      left = Math.max(left, box.left);
      right = Math.min(right, box.right);
    }
    return { left, right };
  };
  for (const element of document.body.querySelectorAll('*')) {
    if (element.closest('.skip, .visually-hidden') || !element.checkVisibility({ visibilityProperty: true })) continue;
    const { left, right } = clipped(element);
    const beyond = right > left && (left < -0.5 || right > width + 0.5);
    if (beyond) found.push(`${name(element)} from ${left} to ${right} px`);
  }
  for (const element of document.querySelectorAll('nav [aria-current]')) {
    const { left, right } = clipped(element);
    const { width } = element.getBoundingClientRect();
    if (right - left < width - 1) found.push(`out of sight: ${name(element)}, the current one`);
  }
  return found;
}
"""
# Words cut off by a box of their own that does not scroll and shows no ellipsis.
CUT = """
() => [...document.body.querySelectorAll('main *, header *')].filter((element) => {
  if (element.closest('.skip, .visually-hidden, input, textarea, svg')) return false;
  if (!element.checkVisibility({ visibilityProperty: true })) return false;
  const { overflowX, textOverflow, display, clipPath } = getComputedStyle(element);
  if (clipPath !== 'none') return false; // for screen readers alone
  return ['hidden', 'clip'].includes(overflowX) && textOverflow !== 'ellipsis' && display !== 'inline'
    && element.scrollWidth > element.clientWidth + 1;
}).map(({ tagName, id, className, textContent }) => `${tagName}#${id}.${className}: ${textContent.trim().slice(0, 40)}`)
"""


def overhanging(page: Page) -> list[str]:
    """What reaches beyond the window's left or right edge, or is cut off within it; the current link out of sight."""
    found: list[str] = page.evaluate(OVERHANGING)
    cut: list[str] = page.evaluate(CUT)
    return found + [f"cut: {words}" for words in cut]
