/**
 * A notification or broadcast in the form that the console shows.
 *
 * @typedef {'info' | 'warning' | 'error' | 'success'} Severity
 *
 * @typedef {object} ConsoleNotification
 * @property {string} id
 * @property {string} title
 * @property {string} message
 * @property {Severity} type
 * @property {number} timestamp  Unix ms
 * @property {string} tenant  of a broadcast; empty for a notification of the user
 * @property {boolean} acked
 */

export const SEVERITIES = ['info', 'warning', 'error', 'success'];

/**
 * Convert a frame.
 * @param {import('../../hermes-client.js').Frame} frame  received, or from the history
 * @returns {ConsoleNotification}
 */
export function notificationFrom(frame) {
  return {
    id: String(frame.id ?? ''),
    title: String(frame.title ?? ''),
    message: String(frame.message ?? ''),
    type: SEVERITIES.includes(frame.type) ? frame.type : 'info',
    timestamp: typeof frame.timestamp === 'number' ? frame.timestamp : Date.now(),
    tenant: frame.channel === 'tenant' ? String(frame.tenant_id ?? '') : '',
    acked: frame.acked === true,
  };
}

/** @param {Severity} type */
export function iconUrl(type) { return `/static/icons/${type}.svg`; }
