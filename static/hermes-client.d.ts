// Made from the JSDoc of hermes-client.js by "npm run declarations" in tests/js.
/**
 * The claims of a token, not verified; null if it is not a JWT.
 * @param {string} token
 * @returns {Record<string, any> | null}
 */
export function claimsOf(token: string): Record<string, any> | null;
/**
 * The members of a JSON object, or the elements of an array, as `[name, text]`: numbers keep all digits.
 * @param {string} text  valid JSON
 */
export function membersOf(text: string): [string, string][];
export class HermesClient extends EventTarget {
    /** @param {Options} options */
    constructor(options: Options);
    /** @type {Counts} live */
    counts: Counts;
    /** @returns {Readonly<Status>} */
    get status(): Readonly<Status>;
    get state(): State;
    /** @returns {Readonly<Link>} */
    get link(): Readonly<Link>;
    /**
     * Returns a function that removes the listener.
     * @template {keyof Events} K
     * @param {K} type
     * @param {Listener<K>} listener
     */
    on<K extends keyof Events>(type: K, listener: Listener<K>): () => void;
    /** Start; while waiting, try at once. */
    connect(): undefined;
    /** Close the socket; remove timers and listeners. */
    close(): void;
    /**
     * Send JSON; false if that failed.
     * @param {object} message
     */
    send(message: object): boolean;
    /** Acknowledge a notification. @param {string} [id] */
    ack(id?: string): boolean;
    /** Send a heartbeat now; false if that is not possible. */
    ping(): boolean;
    /** On `/ws`: only these devices. @param {string} device */
    subscribe(device: string): boolean;
    /** Without any, all devices. @param {string} device */
    unsubscribe(device: string): boolean;
    #private;
}
/**
 * Keeps the latest notifications. Emits `change`.
 * @template {object} [Fields={}]  of your program
 */
export class HermesHistory<Fields extends object = {}> extends EventTarget {
    /** @param {HistoryOptions} [options] */
    constructor({ key, max, storage }?: HistoryOptions);
    /** @type {(StoredNotification & Partial<Fields>)[]} newest first */
    items: (StoredNotification & Partial<Fields>)[];
    /** @type {Record<string, Position>} of clients in the inbox, by reader */
    positions: Record<string, Position>;
    /** How many are not acknowledged. */
    get unread(): number;
    /** Add a frame; false if its id exists. @param {StoredNotification} frame */
    add(frame: StoredNotification): boolean;
    /** Add fields, such as `acked: true`. @param {string} id @param {Partial<Fields> & {acked?: boolean}} fields */
    mark(id: string, fields: Partial<Fields> & {
        acked?: boolean;
    }): void;
    /** Acknowledge or remove. @param {ChangeFrame} frame */
    apply({ action, notification_id, upto }: ChangeFrame): void;
    clear(): void;
    /** Forward only. @param {string} reader @param {Position} position */
    setPosition(reader: string, position: Position): void;
    #private;
}

/**
 * Types of hermes-client.js, in a separate file that browsers do not load.
 */
export type State = "connecting" | "open" | "waiting" | "refused" | "closed";
/**
 * why the client needs a token
 */
export type TokenReason = "first" | "expiring" | "expired" | "refused";
/**
 * Types of hermes-client.js, in a separate file that browsers do not load.
 */
export type Severity = "info" | "warning" | "error" | "success";
/**
 * Types of hermes-client.js, in a separate file that browsers do not load.
 */
export type NotificationFrame = {
    channel: "notifications";
    action?: undefined;
    id: string;
    title: string;
    message: string;
    type: Severity;
    /**
     * when Hermes received it, Unix ms
     */
    timestamp: number;
    /**
     * as passed to `/notify`
     */
    data?: Record<string, any> | undefined;
    /**
     * its number in the inbox
     */
    seq?: number | undefined;
    /**
     * when it ends, Unix ms
     */
    expires?: number | undefined;
    /**
     * 1 to 5; 3 if it is absent
     */
    priority?: number | undefined;
    /**
     * the id of the notification that it takes the place of
     */
    replaces?: string | undefined;
    /**
     * it was sent while this client was away
     */
    replayed?: true | undefined;
    /**
     * with `replayed`: when the user acknowledged it, Unix ms
     */
    acked_at?: number | undefined;
};
/**
 * a notification to everyone of a tenant
 */
export type BroadcastFrame = {
    channel: "tenant";
    action?: undefined;
    tenant_id: string;
    id: string;
    title: string;
    message: string;
    type: Severity;
    /**
     * when Hermes received it, Unix ms
     */
    timestamp: number;
    /**
     * as passed to `/notify`
     */
    data?: Record<string, any> | undefined;
    /**
     * its number in the inbox
     */
    seq?: number | undefined;
    /**
     * when it ends, Unix ms
     */
    expires?: number | undefined;
    /**
     * 1 to 5; 3 if it is absent
     */
    priority?: number | undefined;
    /**
     * the id of the notification that it takes the place of
     */
    replaces?: string | undefined;
    /**
     * it was sent while this client was away
     */
    replayed?: true | undefined;
    /**
     * with `replayed`: when the user acknowledged it, Unix ms
     */
    acked_at?: number | undefined;
};
/**
 * a value that a device published
 */
export type DeviceFrame = {
    channel: "device";
    action?: undefined;
    tenant_id: string;
    device_id: string;
    device_name?: string | undefined;
    /**
     * empty if the topic template has none
     */
    series: string;
    topic: string;
    /**
     * the payload, parsed; null with `cleared`
     */
    data: any;
    /**
     * when Hermes received it, Unix ms; null: its age is unknown
     */
    timestamp: number | null;
    /**
     * the payload was not JSON, and `data` is a string
     */
    encoding?: "text" | "base64" | undefined;
    /**
     * the broker had kept it
     */
    retained?: true | undefined;
    /**
     * a last value, sent because the socket opened
     */
    snapshot?: true | undefined;
    /**
     * the value was deleted
     */
    cleared?: true | undefined;
    /**
     * not confirmed since the link to the broker was interrupted
     */
    stale?: true | undefined;
    /**
     * values of this series that were left out on this socket since the last one
     */
    skipped?: number | undefined;
};
/**
 * the connection of Hermes to the MQTT broker
 */
export type LinkFrame = {
    channel: "status";
    action?: undefined;
    mqtt: "up" | "down";
    /**
     * Unix ms
     */
    since: number;
    device_id?: undefined;
    online?: undefined;
};
/**
 * whether a device is online
 */
export type PresenceFrame = {
    channel: "status";
    action?: undefined;
    mqtt?: undefined;
    tenant_id: string;
    device_id: string;
    /**
     * null: unknown
     */
    online: boolean | null;
    /**
     * Unix ms; null: unknown
     */
    since: number | null;
    /**
     * not confirmed since the link to the broker was interrupted
     */
    stale?: true | undefined;
};
/**
 * with the other keys of the ping
 */
export type PongFrame = {
    action: "pong";
    channel?: undefined;
};
/**
 * the server accepted a new token
 */
export type RefreshedFrame = {
    action: "refreshed";
    channel?: undefined;
    /**
     * Unix ms; null: never
     */
    expires: number | null;
};
/**
 * the devices to which the feed is limited
 */
export type SubscribedFrame = {
    action: "subscribed";
    channel?: undefined;
    devices: string[];
};
/**
 * the answer to the position of this client in the inbox
 */
export type ResumedFrame = {
    action: "resumed";
    channel?: undefined;
    epoch: string;
    /**
     * what has a higher `seq` follows
     */
    from: number;
    /**
     * the highest `seq` of the inbox
     */
    to: number;
    /**
     * true: something between is lost, or is more than the server replays
     */
    gap: boolean;
    /**
     * of the user, also of notifications that this client does not have
     */
    unread: number;
};
/**
 * everything that was missed has been sent
 */
export type ReplayEndFrame = {
    action: "replay_end";
    channel?: undefined;
    seq: number;
};
/**
 * the user acknowledged a notification, on any device
 */
export type AckedFrame = {
    action: "acked";
    channel?: undefined;
    notification_id?: string | undefined;
    /**
     * in place of the id: all up to this `seq`
     */
    upto?: number | undefined;
    seq: number;
    /**
     * Unix ms
     */
    acked_at: number;
    /**
     * it happened while this client was away
     */
    replayed?: true | undefined;
};
/**
 * the sender withdrew or replaced a notification
 */
export type WithdrawnFrame = {
    action: "withdrawn";
    channel?: undefined;
    notification_id: string;
    upto?: undefined;
    seq: number;
    /**
     * it happened while this client was away
     */
    replayed?: true | undefined;
};
/**
 * the server did not understand a frame
 */
export type ErrorFrame = {
    action: "error";
    channel?: undefined;
    code: string;
    message: string;
};
/**
 * Types of hermes-client.js, in a separate file that browsers do not load.
 */
export type StatusFrame = LinkFrame | PresenceFrame;
/**
 * what happened to a notification
 */
export type ChangeFrame = AckedFrame | WithdrawnFrame;
/**
 * Types of hermes-client.js, in a separate file that browsers do not load.
 */
export type ChannelFrame = NotificationFrame | BroadcastFrame | DeviceFrame | StatusFrame;
/**
 * Types of hermes-client.js, in a separate file that browsers do not load.
 */
export type ActionFrame = PongFrame | RefreshedFrame | SubscribedFrame | ResumedFrame | ReplayEndFrame | ChangeFrame | ErrorFrame;
/**
 * what the server sends, told apart by `channel` and `action`; ignore other kinds
 */
export type Frame = ChannelFrame | ActionFrame;
/**
 * in a `HermesHistory`
 */
export type StoredNotification = (NotificationFrame | BroadcastFrame) & {
    acked?: boolean;
};
/**
 * in the inbox; `['0']` is its beginning
 */
export type Position = [epoch: string, seq?: number];
/**
 * Types of hermes-client.js, in a separate file that browsers do not load.
 */
export type HistoryOptions = {
    /**
     * of the entry in the storage: `hermes.history`
     */
    key?: string | undefined;
    /**
     * 200: how many notifications it keeps
     */
    max?: number | undefined;
    /**
     * the browser's `localStorage`; null: memory only
     */
    storage?: Storage | null | undefined;
};
/**
 * what was sent while this client was away
 */
export type Missed = {
    /**
     * notifications and broadcasts that are new to the history and not acknowledged
     */
    count: number;
    /**
     * true: something is lost, or is more than the server replays
     */
    gap: boolean;
};
/**
 * how the last socket ended
 */
export type Close = {
    /**
     * 1006 if it ended without a close frame
     */
    code: number;
    /**
     * a code, then hints: `stopping;retry_ms=800`
     */
    reason: string;
};
/**
 * Types of hermes-client.js, in a separate file that browsers do not load.
 */
export type Status = {
    state: State;
    /**
     * the number of the current or next attempt; 0 is the first
     */
    attempt: number;
    /**
     * state `waiting`: from its start to the next attempt
     */
    waitMs: number;
    /**
     * state `waiting`: time of the next attempt, Unix ms
     */
    nextTryAt: number;
    close: Close | null;
};
/**
 * the connection of Hermes to the MQTT broker
 */
export type Link = {
    /**
     * false: no device data arrives; the last values are stale
     */
    up: boolean;
    /**
     * Unix ms; null until the first status frame
     */
    since: number | null;
};
/**
 * Types of hermes-client.js, in a separate file that browsers do not load.
 */
export type Fault = {
    /**
     * what happened
     */
    message: string;
    /**
     * the `code` of an error frame from the server
     */
    code?: string | undefined;
};
/**
 * since the client was created
 */
export type Counts = {
    /**
     * frames
     */
    received: number;
    /**
     * frames
     */
    sent: number;
    bytesIn: number;
    bytesOut: number;
    /**
     * notifications and broadcasts with a repeated id; only `frame` is emitted for them
     */
    duplicates: number;
    /**
     * with `numbered`: missing ids
     */
    gaps: number;
    /**
     * device values that the server skipped because this client was slow
     */
    skipped: number;
};
/**
 * of the debug log; tokens are masked
 */
export type Line = {
    kind: "in" | "out" | "note";
    text: string;
};
/**
 * Types of hermes-client.js, in a separate file that browsers do not load.
 */
export type Events = {
    state: Status;
    /**
     * each frame from the server, before the specific events
     */
    frame: Frame;
    notification: NotificationFrame;
    /**
     * with `snapshot: true` a last value, sent when the socket opened
     */
    device: DeviceFrame;
    broadcast: BroadcastFrame;
    /**
     * whether a device is online (null: unknown), at each change and when the socket opened
     */
    presence: PresenceFrame;
    link: Link;
    /**
     * round trip time of a heartbeat in ms
     */
    rtt: number;
    /**
     * the answer to the position of this client; what it missed follows
     */
    resumed: ResumedFrame;
    /**
     * once, when all of that was received, unless it is nothing
     */
    missed: Missed;
    acked: AckedFrame;
    withdrawn: WithdrawnFrame;
    /**
     * the server accepted a new token on the open socket; Unix ms
     */
    refreshed: {
        expires: number | null;
    };
    error: Fault;
};
/**
 * the environment; tests supply their own
 */
export type World = {
    WebSocket: new (url: string, protocols?: string[]) => WebSocket;
    setTimeout: (run: () => void, ms: number) => any;
    clearTimeout: (timer: any) => void;
    /**
     * Unix ms
     */
    now: () => number;
    /**
     * ms of a monotonic clock
     */
    elapsed: () => number;
    /**
     * 0 ≤ random < 1
     */
    random: () => number;
    /**
     * emits `online`
     */
    window: EventTarget | undefined;
    /**
     * emits `visibilitychange`
     */
    document: (EventTarget & {
        hidden: boolean;
    }) | undefined;
};
/**
 * Types of hermes-client.js, in a separate file that browsers do not load.
 */
export type Options = {
    /**
     * ws, wss, http or https; in a page also relative to it: `ws/notifications`
     */
    url: string | URL;
    /**
     * null if there is
     * none; the signal aborts when the client no longer waits for it
     */
    getToken: (reason: TokenReason, signal: AbortSignal) => string | null | Promise<string | null>;
    /**
     * `false` omits the last values and the presence at the start
     */
    snapshot?: boolean | undefined;
    /**
     * `query` puts the token into the URL and so into logs
     */
    tokenIn?: "subprotocol" | "query" | undefined;
    /**
     * 1 000
     */
    backoffMinMs?: number | undefined;
    /**
     * 30 000
     */
    backoffMaxMs?: number | undefined;
    /**
     * 30 000
     */
    pingEveryMs?: number | undefined;
    /**
     * 10 000
     */
    pongWithinMs?: number | undefined;
    /**
     * 15 000, for token and handshake together
     */
    openWithinMs?: number | undefined;
    /**
     * 60 000: how long before `exp` the client requests the next token
     */
    refreshBeforeMs?: number | undefined;
    /**
     * 300 000, at most an hour: how long `refused` waits, give or take half; 0: for ever
     */
    retryRefusedMs?: number | undefined;
    /**
     * stores notifications and broadcasts; several clients may share one
     */
    history?: HermesHistory<any> | undefined;
    /**
     * `false`: what was sent while this client was away does not follow
     */
    resume?: boolean | undefined;
    /**
     * `user_id`, `sub`, `tenant_id`: the claims of the token that tell readers of the inbox apart
     */
    readerClaims?: string[] | undefined;
    /**
     * ids end in consecutive numbers, so that gaps can be counted
     */
    numbered?: boolean | undefined;
    log?: ((line: Line) => void) | undefined;
    world?: Partial<World> | undefined;
};
export type Listener<K extends keyof Events> = (detail: Events[K], text: string) => void;
