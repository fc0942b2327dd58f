/**
 * Listen to changes of a form field without losing the click that ends the input.
 *
 * A press on a button takes the focus from the field, so the browser emits `change` between mousedown and mouseup. If the
 * listener moves the button, mouseup hits another element and the browser emits no click. So a change during a press is
 * reported at the click, before the button handles it, or when the pointer is released elsewhere.
 */

const CLICKABLE = 'a, button, label, summary';
let pressed = false;

window.addEventListener('pointerdown', ({ target }) => { pressed = target instanceof Element && Boolean(target.closest(CLICKABLE)); }, true);
for (const type of ['pointerup', 'pointercancel']) window.addEventListener(type, () => { pressed = false; }, true);

/**
 * Call a function when the user has changed the field.
 * @param {HTMLInputElement} field
 * @param {() => void} onChange
 */
export function onFieldChange(field, onChange) {
  field.addEventListener('change', () => (pressed ? afterPress(onChange) : onChange()));
}

/** @param {() => void} run */
function afterPress(run) {
  const done = new AbortController();
  const finish = () => {
    if (done.signal.aborted) return;
    done.abort();
    run();
  };
  const options = { capture: true, signal: done.signal };
  window.addEventListener('click', finish, options);
  for (const type of ['pointerup', 'pointercancel']) window.addEventListener(type, () => setTimeout(finish), options); // a click comes first
}
