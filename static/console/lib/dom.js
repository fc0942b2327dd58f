/** Find and create elements. Data only becomes text nodes and attributes: the console never sets innerHTML. */

/** The element with this id; throws if there is none. @param {string} id */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no #${id}`);
  return found;
}

/**
 * The first matching descendant; throws if there is none of the expected class.
 * @template {Element} E
 * @param {ParentNode} root
 * @param {string} selector
 * @param {new () => E} type
 */
export function find(root, selector, type) {
  const found = root.querySelector(selector);
  if (!(found instanceof type)) throw new Error(`the page has no ${type.name} at ${selector}`);
  return found;
}

/**
 * Create an HTML element.
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Record<string, string>} attributes
 * @param {(Node | string)[]} children
 */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/**
 * Create an SVG element.
 * @template {keyof SVGElementTagNameMap} T
 * @param {T} tag
 * @param {Record<string, string>} attributes
 * @param {(Node | string)[]} children
 */
export function makeSvg(tag, attributes = {}, ...children) {
  const element = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/**
 * Hide or show an element; if it had the focus, move the focus.
 * @param {HTMLElement} element
 * @param {boolean} hidden
 * @param {HTMLElement} fallback  gets the focus
 */
export function setHidden(element, hidden, fallback) {
  const hadFocus = element === document.activeElement;
  element.hidden = hidden;
  if (hidden && hadFocus) fallback.focus();
}

/**
 * Set the text if it differs: an unchanged text needs no layout.
 * @param {Element} element
 * @param {string} text
 */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * Create a button.
 * @param {string} label
 * @param {() => void} onClick
 */
export function makeButton(label, onClick) {
  const button = make('button', { type: 'button' }, label);
  button.addEventListener('click', onClick);
  return button;
}
