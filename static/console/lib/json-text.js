/** The text of a value within JSON, exactly as it was sent. */

import { membersOf } from '../../hermes-client.js';

/**
 * The text of the value at this path; undefined if there is none.
 *
 * Of a repeated name it is the last value, as for every JSON parser.
 * @param {string} text  valid JSON
 * @param {string[]} path  names of members and indices of elements
 */
export function textAt(text, path) {
  /** @type {string | undefined} */
  let found = text;
  for (const name of path) found = found && new Map(membersOf(found)).get(name);
  return found;
}
