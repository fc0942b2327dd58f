/** The names of sockets in the language of the page. */

import { tOptional } from './i18n.js';

/** @param {string[]} sockets */
export function socketNames(sockets) { return sockets.map((socket) => tOptional(`socket.${socket}`) ?? socket).join(', '); }
