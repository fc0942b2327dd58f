/**
 * The types of hermes-client.js. In a file of their own, because browsers never load them.
 *
 * @typedef {'connecting' | 'open' | 'waiting' | 'refused' | 'closed'} State
 * @typedef {'first' | 'expiring' | 'expired' | 'refused'} TokenReason  why the application is asked for a token
 * @typedef {Record<string, any>} Frame  a parsed frame; its fields are in docs/protocol.md
 *
 * @typedef {object} Close  how the last socket ended
 * @property {number} code  1006 when it broke without a close frame
 * @property {string} reason  a machine word, then hints: `stopping;retry_ms=800`
 *
 * @typedef {object} Status
 * @property {State} state
 * @property {number} attempt  the number of the try under way or awaited; 0 for the first of all
 * @property {number} waitMs  state `waiting`: from its beginning to the next try
 * @property {number} nextTryAt  state `waiting`: when the next try is due, Unix ms
 * @property {Close | null} close
 *
 * @typedef {object} Link  Hermes' own link to the MQTT broker
 * @property {boolean} up  false: no device's data arrives, and what there is grows stale
 * @property {number | null} since  Unix ms; null as long as a fresh socket has been told nothing
 *
 * @typedef {object} Fault
 * @property {string} message  what happened, in words
 * @property {string} [code]  the `code` of a server's error frame
 *
 * @typedef {object} Counts  since the client was made
 * @property {number} received  frames
 * @property {number} sent  frames
 * @property {number} bytesIn
 * @property {number} bytesOut
 * @property {number} duplicates  notifications and broadcasts whose id had come before; they are told as `frame` only
 * @property {number} gaps  with `numbered`: ids that did not come
 * @property {number} skipped  device values that the server left out because this client was slow
 *
 * @typedef {object} Line  of the debug log; tokens are masked
 * @property {'in' | 'out' | 'note'} kind
 * @property {string} text
 *
 * @typedef {object} Events
 * @property {Status} state
 * @property {Frame} frame  every frame from the server, before the narrower events
 * @property {Frame} notification
 * @property {Frame} device  with `snapshot: true` no news, but a last value, told because the socket opened
 * @property {Frame} broadcast
 * @property {Frame} presence  a device came or went, or was so when the socket opened
 * @property {Link} link
 * @property {number} rtt  a heartbeat's round trip in ms
 * @property {{expires: number | null}} refreshed  the open socket goes on with a new token; Unix ms
 * @property {Fault} error
 *
 * @typedef {object} World  the surroundings; tests hand in their own
 * @property {new (url: string, protocols?: string[]) => WebSocket} WebSocket
 * @property {(run: () => void, ms: number) => any} setTimeout
 * @property {(timer: any) => void} clearTimeout
 * @property {() => number} now  Unix ms
 * @property {() => number} elapsed  ms by a clock that never jumps
 * @property {() => number} random  0 ≤ random < 1
 * @property {EventTarget | undefined} window  tells `online`
 * @property {(EventTarget & {hidden: boolean}) | undefined} document  tells `visibilitychange`
 *
 * @typedef {object} Options
 * @property {string | URL} url  ws, wss, http or https; in a page also just a path
 * @property {(reason: TokenReason) => string | null | Promise<string | null>} getToken  null: there is none
 * @property {boolean} [snapshot]  `false` declines the last values and the presence that a socket is told first
 * @property {'subprotocol' | 'query'} [tokenIn]  `query` puts the token into the URL, and so into logs
 * @property {number} [backoffMinMs]  1 000
 * @property {number} [backoffMaxMs]  30 000
 * @property {number} [pingEveryMs]  30 000
 * @property {number} [pongWithinMs]  10 000
 * @property {number} [openWithinMs]  15 000: a token and handshake that take longer have failed
 * @property {number} [refreshBeforeMs]  60 000 before the token's `exp`, `getToken` is asked for the next
 * @property {import('./hermes-client.js').HermesHistory} [history]  keeps notifications and broadcasts; several clients may share one
 * @property {boolean} [numbered]  ids that end in a number are consecutive, so that gaps can be counted
 * @property {(line: Line) => void} [log]
 * @property {Partial<World>} [world]
 */

export {};
