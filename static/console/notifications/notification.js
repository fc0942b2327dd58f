/**
 * A notification or broadcast, as the console shows it.
 *
 * @typedef {'info' | 'warning' | 'error' | 'success'} Type
 *
 * @typedef {object} Notice
 * @property {string} id
 * @property {string} title
 * @property {string} message
 * @property {Type} type
 * @property {number} timestamp  Unix ms
 * @property {string} tenant  whose broadcast it is; empty for a personal notification
 * @property {boolean} acked
 */

export const TYPES = ['info', 'warning', 'error', 'success'];

/**
 * @param {import('../../hermes-client.js').Frame} frame  as it came, or as the history kept it
 * @returns {Notice}
 */
export function noticeOf(frame) {
  return {
    id: String(frame.id ?? ''),
    title: String(frame.title ?? ''),
    message: String(frame.message ?? ''),
    type: TYPES.includes(frame.type) ? frame.type : 'info',
    timestamp: typeof frame.timestamp === 'number' ? frame.timestamp : Date.now(),
    tenant: frame.channel === 'tenant' ? String(frame.tenant_id ?? '') : '',
    acked: frame.acked === true,
  };
}

/** @param {Type} type */
export function iconUrl(type) { return `/static/icons/${type}.svg`; }
