/** Copy text to the clipboard. */

/**
 * Copy the text.
 *
 * Over plain HTTP from another machine, browsers support only the older `execCommand`.
 * @param {string} text
 * @returns {Promise<boolean>}  whether it was copied
 */
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyWithExecCommand(text);
  }
}

/** @param {string} text */
function copyWithExecCommand(text) {
  const focused = document.activeElement;
  const field = document.createElement('textarea');
  field.value = text;
  field.className = 'visually-hidden';
  document.body.append(field);
  field.select();
  const done = document.execCommand('copy');
  field.remove();
  if (focused instanceof HTMLElement) focused.focus();
  return done;
}
