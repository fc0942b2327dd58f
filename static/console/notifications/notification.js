/**
 * A notification or broadcast in the form that the console shows.
 *
 * @typedef {import('../../hermes-client.js').Severity} Severity
 * @typedef {import('../../hermes-client.js').NotificationFrame} NotificationFrame
 * @typedef {import('../../hermes-client.js').BroadcastFrame} BroadcastFrame
 * @typedef {import('../../hermes-client.js').StoredNotification} StoredNotification
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
 * @param {NotificationFrame | BroadcastFrame | StoredNotification} frame  received, or from the history
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
    acked: 'acked' in frame && frame.acked === true,
  };
}

/** @param {Severity} type */
export function iconUrl(type) { return `static/icons/${type}.svg`; }
