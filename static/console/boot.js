/**
 * What the server wrote into the page.
 *
 * @typedef {object} ReadyToken  minted by `hermes serve --dev`
 * @property {string} label
 * @property {string} token
 * @property {string} user_id
 * @property {string | null} tenant_id
 *
 * @typedef {object} Dev
 * @property {ReadyToken[]} tokens
 * @property {string} api_key
 * @property {string[]} devices
 *
 * @typedef {object} Boot
 * @property {string} version
 * @property {string} language  of the page: `en`, `es`
 * @property {Record<string, string>} strings
 * @property {Dev | null} dev  null in production
 */

import { byId } from './element.js';

/** @type {Boot | undefined} */
let boot;

/** @returns {Boot} */
export function readBoot() { return boot ??= JSON.parse(byId('boot').textContent ?? ''); }
