/**
 * Service worker of the console: shows notifications where a page itself may not, as on Android.
 *
 * It handles no requests, so the page never comes from a cache.
 */

const worker = /** @type {ServiceWorkerGlobalScope} */ (/** @type {unknown} */ (self));

worker.addEventListener('install', (event) => event.waitUntil(worker.skipWaiting())); // of an upgraded Hermes: at once

worker.addEventListener('notificationclick', (event) => {
  event.notification.close();
  event.waitUntil(showConsole());
});

/** Show the tab of the console, or open one. Other pages of this host are not the console. */
async function showConsole() {
  const { scope } = worker.registration;
  const pages = await worker.clients.matchAll({ type: 'window', includeUncontrolled: true });
  const page = pages.find(({ url }) => url.split(/[?#]/, 1)[0] === scope);
  return page ? page.focus() : worker.clients.openWindow(`${scope}#notifications`);
}
