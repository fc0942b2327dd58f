/**
 * The path of a device's socket. Proxies decode `%2F` or refuse it, so an id with a slash travels in the query.
 * @param {string} id
 * @param {string} [tenant]  of a superuser's device; otherwise that of the token
 */
export function devicePath(id, tenant = '') {
  const inQuery = [...(id.includes('/') ? [['device_id', id]] : []), ...(tenant ? [['tenant_id', tenant]] : [])];
  const query = inQuery.map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join('&');
  return `/ws/device${id.includes('/') ? '' : `/${encodeURIComponent(id)}`}${query && `?${query}`}`;
}
