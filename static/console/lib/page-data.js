/**
 * The JSON data that the server embeds in the page.
 *
 * @typedef {object} DevToken  signed by `hermes serve --dev`
 * @property {string} label
 * @property {string} token
 * @property {string} user_id
 * @property {string | null} tenant_id
 *
 * @typedef {object} DevData
 * @property {DevToken[]} tokens
 * @property {string} api_key
 * @property {string[]} devices
 *
 * @typedef {object} TokenRules  settings of the server that its tokens must match
 * @property {string} claim_tenant  name of the claim with the tenant id
 * @property {boolean} checks_issuer  whether `iss` must have a certain value
 * @property {boolean} checks_audience  the same for `aud`
 *
 * @typedef {object} PageData
 * @property {string} version
 * @property {string} language  of the page: `en`, `es`
 * @property {Record<string, string>} strings
 * @property {TokenRules} token_rules
 * @property {DevData | null} dev  null in production
 */

import { byId } from './dom.js';

/** @type {PageData | undefined} */
let pageData;

/** Parse the data once. @returns {PageData} */
export function readPageData() { return pageData ??= JSON.parse(byId('page-data').textContent ?? ''); }
