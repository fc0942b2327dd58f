/**
 * The path of a device's socket. Proxies decode `%2F` or refuse it, so an id with a slash travels in the query.
 * @param {string} id
 */
export const devicePath = (id) =>
  id.includes('/') ? `/ws/device?device_id=${encodeURIComponent(id)}` : `/ws/device/${encodeURIComponent(id)}`;
