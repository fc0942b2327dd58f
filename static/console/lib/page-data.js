/** The JSON data that the server embeds in the page. */

import { byId } from './dom.js';

/** @typedef {import('./page-data-types.js').PageData} PageData */

/** @type {PageData | undefined} */
let pageData;

/** Parse the data once. @returns {PageData} */
export function readPageData() { return pageData ??= JSON.parse(byId('page-data').textContent ?? ''); }
