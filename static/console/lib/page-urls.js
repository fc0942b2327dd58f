/**
 * Addresses below the page.
 *
 * A proxy may serve the console below a prefix (`/hermes/`), which Hermes does not know. So every path is relative to
 * the page: `ws/notifications`.
 */

/** The folder of the page: `/`, or the prefix of a proxy. */
export const folder = () => new URL('.', document.baseURI).pathname;

/** The whole URL of a relative path, for example to copy it. @param {string} path */
export const absoluteUrl = (path) => new URL(path, document.baseURI);

/** The whole URL of a socket. @param {string} path */
export function socketUrl(path) {
  const url = absoluteUrl(path);
  url.protocol = url.protocol.replace('http', 'ws');
  return url.href;
}

/**
 * The path of a device's socket. Proxies decode `%2F` or refuse it, so an id with a slash travels in the query.
 * @param {string} id
 * @param {string} [tenant]  of a superuser's device; otherwise that of the token
 */
export function devicePath(id, tenant = '') {
  const inQuery = [...(id.includes('/') ? [['device_id', id]] : []), ...(tenant ? [['tenant_id', tenant]] : [])];
  const query = inQuery.map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join('&');
  return `ws/device${id.includes('/') ? '' : `/${encodeURIComponent(id)}`}${query && `?${query}`}`;
}
