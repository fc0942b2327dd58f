/**
 * Types of hermes-client.js, in a separate file that browsers do not load.
 *
 * @typedef {'connecting' | 'open' | 'waiting' | 'refused' | 'closed'} State
 * @typedef {'first' | 'expiring' | 'expired' | 'refused'} TokenReason  why the client needs a token
 * @typedef {Record<string, any>} Frame  a parsed frame; its fields are in docs/reference/protocol.md
 *
 * @typedef {object} Close  how the last socket ended
 * @property {number} code  1006 if it ended without a close frame
 * @property {string} reason  a code, then hints: `stopping;retry_ms=800`
 *
 * @typedef {object} Status
 * @property {State} state
 * @property {number} attempt  the number of the current or next attempt; 0 is the first
 * @property {number} waitMs  state `waiting`: from its start to the next attempt
 * @property {number} nextTryAt  state `waiting`: time of the next attempt, Unix ms
 * @property {Close | null} close
 *
 * @typedef {object} Link  the connection of Hermes to the MQTT broker
 * @property {boolean} up  false: no device data arrives; the last values are stale
 * @property {number | null} since  Unix ms; null until the first status frame
 *
 * @typedef {object} Fault
 * @property {string} message  what happened
 * @property {string} [code]  the `code` of an error frame from the server
 *
 * @typedef {object} Counts  since the client was created
 * @property {number} received  frames
 * @property {number} sent  frames
 * @property {number} bytesIn
 * @property {number} bytesOut
 * @property {number} duplicates  notifications and broadcasts with a repeated id; only `frame` is emitted for them
 * @property {number} gaps  with `numbered`: missing ids
 * @property {number} skipped  device values that the server skipped because this client was slow
 *
 * @typedef {object} Line  of the debug log; tokens are masked
 * @property {'in' | 'out' | 'note'} kind
 * @property {string} text
 *
 * @typedef {object} Events
 * @property {Status} state
 * @property {Frame} frame  each frame from the server, before the specific events
 * @property {Frame} notification
 * @property {Frame} device  with `snapshot: true` a last value, sent when the socket opened
 * @property {Frame} broadcast
 * @property {Frame} presence  whether a device is online (null: unknown), at each change and when the socket opened
 * @property {Link} link
 * @property {number} rtt  round trip time of a heartbeat in ms
 * @property {{expires: number | null}} refreshed  the server accepted a new token on the open socket; Unix ms
 * @property {Fault} error
 *
 * @typedef {object} World  the environment; tests supply their own
 * @property {new (url: string, protocols?: string[]) => WebSocket} WebSocket
 * @property {(run: () => void, ms: number) => any} setTimeout
 * @property {(timer: any) => void} clearTimeout
 * @property {() => number} now  Unix ms
 * @property {() => number} elapsed  ms of a monotonic clock
 * @property {() => number} random  0 ≤ random < 1
 * @property {EventTarget | undefined} window  emits `online`
 * @property {(EventTarget & {hidden: boolean}) | undefined} document  emits `visibilitychange`
 *
 * @typedef {object} Options
 * @property {string | URL} url  ws, wss, http or https; in a page also a path
 * @property {(reason: TokenReason) => string | null | Promise<string | null>} getToken  null if there is none
 * @property {boolean} [snapshot]  `false` omits the last values and the presence at the start
 * @property {'subprotocol' | 'query'} [tokenIn]  `query` puts the token into the URL and so into logs
 * @property {number} [backoffMinMs]  1 000
 * @property {number} [backoffMaxMs]  30 000
 * @property {number} [pingEveryMs]  30 000
 * @property {number} [pongWithinMs]  10 000
 * @property {number} [openWithinMs]  15 000, for token and handshake together
 * @property {number} [refreshBeforeMs]  60 000: how long before `exp` the client requests the next token
 * @property {number} [retryRefusedMs]  300 000, at most an hour: how long `refused` waits, give or take half; 0: for ever
 * @property {import('./hermes-client.js').HermesHistory} [history]  stores notifications and broadcasts; several clients may share one
 * @property {boolean} [numbered]  ids end in consecutive numbers, so that gaps can be counted
 * @property {(line: Line) => void} [log]
 * @property {Partial<World>} [world]
 */

export {};
