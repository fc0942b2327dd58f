/** The number and the unit in the data of a device, for charts. */

/**
 * The number in the data: the data itself, its member `value`, else its first number; null if there is none.
 * @param {unknown} data
 * @returns {number | null}
 */
export function numericValue(data) {
  if (typeof data === 'string') return data.trim() && Number.isFinite(Number(data)) ? Number(data) : null;
  if (typeof data === 'number') return data;
  if (!data || typeof data !== 'object') return null;
  const { value } = /** @type {{value?: unknown}} */ (data);
  return typeof value === 'number' ? value : Object.values(data).find((each) => typeof each === 'number') ?? null;
}

/** The member `unit` of the data, empty if there is none. @param {unknown} data */
export function unitOf(data) {
  const { unit } = /** @type {{unit?: unknown}} */ (Object(data));
  return typeof unit === 'string' ? unit : '';
}
