/** What of a device's data can be drawn. */

/**
 * The number in it: itself, its `value`, or else its first number; null where there is none.
 * @param {unknown} data
 * @returns {number | null}
 */
export function numberIn(data) {
  if (typeof data === 'string') return data.trim() && Number.isFinite(Number(data)) ? Number(data) : null;
  if (typeof data === 'number') return data;
  if (!data || typeof data !== 'object') return null;
  const { value } = /** @type {{value?: unknown}} */ (data);
  return typeof value === 'number' ? value : Object.values(data).find((each) => typeof each === 'number') ?? null;
}

/** The unit that it names, empty if none. @param {unknown} data */
export function unitOf(data) {
  const { unit } = /** @type {{unit?: unknown}} */ (Object(data));
  return typeof unit === 'string' ? unit : '';
}
