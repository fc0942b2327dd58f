/**
 * Types of hermes-client.js, in a separate file that browsers do not load.
 *
 * @typedef {'connecting' | 'open' | 'waiting' | 'refused' | 'closed'} State
 * @typedef {'first' | 'expiring' | 'expired' | 'refused'} TokenReason  why the client needs a token
 * @typedef {'info' | 'warning' | 'error' | 'success'} Severity
 *
 * @typedef {object} NotificationFrame
 * @property {'notifications'} channel
 * @property {undefined} [action]
 * @property {string} id
 * @property {string} title
 * @property {string} message
 * @property {Severity} type
 * @property {number} timestamp  when Hermes received it, Unix ms
 * @property {Record<string, any>} [data]  as passed to `/notify`
 * @property {number} [seq]  its number in the inbox
 * @property {number} [expires]  when it ends, Unix ms
 * @property {number} [priority]  1 to 5; 3 if it is absent
 * @property {string} [replaces]  the id of the notification that it takes the place of
 * @property {true} [replayed]  it was sent while this client was away
 * @property {number} [acked_at]  with `replayed`: when the user acknowledged it, Unix ms
 *
 * @typedef {object} BroadcastFrame  a notification to everyone of a tenant
 * @property {'tenant'} channel
 * @property {undefined} [action]
 * @property {string} tenant_id
 * @property {string} id
 * @property {string} title
 * @property {string} message
 * @property {Severity} type
 * @property {number} timestamp  when Hermes received it, Unix ms
 * @property {Record<string, any>} [data]  as passed to `/notify`
 * @property {number} [seq]  its number in the inbox
 * @property {number} [expires]  when it ends, Unix ms
 * @property {number} [priority]  1 to 5; 3 if it is absent
 * @property {string} [replaces]  the id of the notification that it takes the place of
 * @property {true} [replayed]  it was sent while this client was away
 * @property {number} [acked_at]  with `replayed`: when the user acknowledged it, Unix ms
 *
 * @typedef {object} DeviceFrame  a value that a device published
 * @property {'device'} channel
 * @property {undefined} [action]
 * @property {string} tenant_id
 * @property {string} device_id
 * @property {string} [device_name]
 * @property {string} series  empty if the topic template has none
 * @property {string} topic
 * @property {any} data  the payload, parsed; null with `cleared`
 * @property {number | null} timestamp  when Hermes received it, Unix ms; null: its age is unknown
 * @property {'text' | 'base64'} [encoding]  the payload was not JSON, and `data` is a string
 * @property {true} [retained]  the broker had kept it
 * @property {true} [snapshot]  a last value, sent because the socket opened
 * @property {true} [cleared]  the value was deleted
 * @property {true} [stale]  not confirmed since the link to the broker was interrupted
 * @property {number} [skipped]  values of this series that were left out on this socket since the last one
 *
 * @typedef {object} LinkFrame  the connection of Hermes to the MQTT broker
 * @property {'status'} channel
 * @property {undefined} [action]
 * @property {'up' | 'down'} mqtt
 * @property {number} since  Unix ms
 * @property {undefined} [device_id]
 * @property {undefined} [online]
 *
 * @typedef {object} PresenceFrame  whether a device is online
 * @property {'status'} channel
 * @property {undefined} [action]
 * @property {undefined} [mqtt]
 * @property {string} tenant_id
 * @property {string} device_id
 * @property {boolean | null} online  null: unknown
 * @property {number | null} since  Unix ms; null: unknown
 * @property {true} [stale]  not confirmed since the link to the broker was interrupted
 *
 * @typedef {object} PongFrame  with the other keys of the ping
 * @property {'pong'} action
 * @property {undefined} [channel]
 *
 * @typedef {object} RefreshedFrame  the server accepted a new token
 * @property {'refreshed'} action
 * @property {undefined} [channel]
 * @property {number | null} expires  Unix ms; null: never
 *
 * @typedef {object} SubscribedFrame  the devices to which the feed is limited
 * @property {'subscribed'} action
 * @property {undefined} [channel]
 * @property {string[]} devices
 *
 * @typedef {object} ResumedFrame  the answer to the position of this client in the inbox
 * @property {'resumed'} action
 * @property {undefined} [channel]
 * @property {string} epoch
 * @property {number} from  what has a higher `seq` follows
 * @property {number} to  the highest `seq` of the inbox
 * @property {boolean} gap  true: something between is lost, or is more than the server replays
 * @property {number} unread  of the user, also of notifications that this client does not have
 *
 * @typedef {object} ReplayEndFrame  everything that was missed has been sent
 * @property {'replay_end'} action
 * @property {undefined} [channel]
 * @property {number} seq
 *
 * @typedef {object} AckedFrame  the user acknowledged a notification, on any device
 * @property {'acked'} action
 * @property {undefined} [channel]
 * @property {string} [notification_id]
 * @property {number} [upto]  in place of the id: all up to this `seq`
 * @property {number} seq
 * @property {number} acked_at  Unix ms
 * @property {true} [replayed]  it happened while this client was away
 *
 * @typedef {object} WithdrawnFrame  the sender withdrew or replaced a notification
 * @property {'withdrawn'} action
 * @property {undefined} [channel]
 * @property {string} notification_id
 * @property {undefined} [upto]
 * @property {number} seq
 * @property {true} [replayed]  it happened while this client was away
 *
 * @typedef {object} ErrorFrame  the server did not understand a frame
 * @property {'error'} action
 * @property {undefined} [channel]
 * @property {string} code
 * @property {string} message
 *
 * @typedef {LinkFrame | PresenceFrame} StatusFrame
 * @typedef {AckedFrame | WithdrawnFrame} ChangeFrame  what happened to a notification
 * @typedef {NotificationFrame | BroadcastFrame | DeviceFrame | StatusFrame} ChannelFrame
 * @typedef {PongFrame | RefreshedFrame | SubscribedFrame | ResumedFrame | ReplayEndFrame | ChangeFrame | ErrorFrame} ActionFrame
 * @typedef {ChannelFrame | ActionFrame} Frame  what the server sends, told apart by `channel` and `action`; ignore other kinds
 *
 * @typedef {(NotificationFrame | BroadcastFrame) & {acked?: boolean}} StoredNotification  in a `HermesHistory`
 *
 * @typedef {[epoch: string, seq?: number]} Position  in the inbox; `['0']` is its beginning
 *
 * @typedef {object} HistoryOptions
 * @property {string} [key]  of the entry in the storage: `hermes.history`
 * @property {number} [max]  200: how many notifications it keeps
 * @property {Storage | null} [storage]  the browser's `localStorage`; null: memory only
 *
 * @typedef {object} Missed  what was sent while this client was away
 * @property {number} count  notifications and broadcasts that are new to the history and not acknowledged
 * @property {boolean} gap  true: something is lost, or is more than the server replays
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
 * @property {NotificationFrame} notification
 * @property {DeviceFrame} device  with `snapshot: true` a last value, sent when the socket opened
 * @property {BroadcastFrame} broadcast
 * @property {PresenceFrame} presence  whether a device is online (null: unknown), at each change and when the socket opened
 * @property {Link} link
 * @property {number} rtt  round trip time of a heartbeat in ms
 * @property {ResumedFrame} resumed  the answer to the position of this client; what it missed follows
 * @property {Missed} missed  once, when all of that was received, unless it is nothing
 * @property {AckedFrame} acked
 * @property {WithdrawnFrame} withdrawn
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
 * @property {string | URL} url  ws, wss, http or https; in a page also relative to it: `ws/notifications`
 * @property {(reason: TokenReason, signal: AbortSignal) => string | null | Promise<string | null>} getToken  null if there is
 *     none; the signal aborts when the client no longer waits for it
 * @property {boolean} [snapshot]  `false` omits the last values and the presence at the start
 * @property {'subprotocol' | 'query'} [tokenIn]  `query` puts the token into the URL and so into logs
 * @property {number} [backoffMinMs]  1 000
 * @property {number} [backoffMaxMs]  30 000
 * @property {number} [pingEveryMs]  30 000
 * @property {number} [pongWithinMs]  10 000
 * @property {number} [openWithinMs]  15 000, for token and handshake together
 * @property {number} [refreshBeforeMs]  60 000: how long before `exp` the client requests the next token
 * @property {number} [retryRefusedMs]  300 000, at most an hour: how long `refused` waits, give or take half; 0: for ever
 * @property {import('./hermes-client.js').HermesHistory<any>} [history]  stores notifications and broadcasts; several clients may share one
 * @property {boolean} [resume]  `false`: what was sent while this client was away does not follow
 * @property {string[]} [readerClaims]  `user_id`, `sub`, `tenant_id`: the claims of the token that tell readers of the inbox apart
 * @property {boolean} [numbered]  ids end in consecutive numbers, so that gaps can be counted
 * @property {(line: Line) => void} [log]
 * @property {Partial<World>} [world]
 */

/**
 * @template {keyof Events} K
 * @callback Listener
 * @param {Events[K]} detail
 * @param {string} text  of the frame exactly as it was received, also `event.text`; empty for events without a frame
 * @returns {void}
 */

export {};
