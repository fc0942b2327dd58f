// Made from the JSDoc of hermes-client.js by "npm run declarations" in tests/js.
/**
 * What a token states, unchecked; null where it is no JWT.
 * @param {string} token
 * @returns {Record<string, any> | null}
 */
export function claimsOf(token: string): Record<string, any> | null;
export class HermesClient extends EventTarget {
    /** @param {Options} options */
    constructor(options: Options);
    /** @type {Counts} live */
    counts: Counts;
    /** @returns {Readonly<Status>} */
    get status(): Readonly<Status>;
    get state(): State;
    /** As last told. @returns {Readonly<Link>} */
    get link(): Readonly<Link>;
    /**
     * Hands over the event's detail; answers a function that stops that.
     * @template {keyof Events} K
     * @param {K} type
     * @param {(detail: Events[K]) => void} listener
     */
    on<K extends keyof Events>(type: K, listener: (detail: Events[K]) => void): () => void;
    /** Starts, also again after `refused` or `closed`; while waiting, tries at once. */
    connect(): undefined;
    /** Ends for good; nothing is left behind. */
    close(): void;
    /**
     * Sends JSON; false if the socket is not open, or the message too big.
     * @param {object} message
     */
    send(message: object): boolean;
    /** @param {string} [id]  the notification's */
    ack(id?: string): boolean;
    /** A heartbeat out of turn; false if none can leave. */
    ping(): boolean;
    /**
     * On `/ws`: narrows the device feed; remembered across reconnects.
     * @param {string} device
     */
    subscribe(device: string): boolean;
    /** @param {string} device  the last one gone means all devices again */
    unsubscribe(device: string): boolean;
    #private;
}
/** The last notifications; they survive a reload. Tells `change`, also another tab's. */
export class HermesHistory extends EventTarget {
    /** @param {{key?: string, max?: number, storage?: Storage | null}} [options]  null: only memory */
    constructor({ key, max, storage }?: {
        key?: string;
        max?: number;
        storage?: Storage | null;
    });
    /** @type {Frame[]} newest first */
    items: Frame[];
    /** False if this id is there. @param {Frame} frame */
    add(frame: Frame): boolean;
    /** Adds fields, such as `acked: true`. @param {string} id @param {object} fields */
    mark(id: string, fields: object): void;
    clear(): void;
    #private;
}

/**
 * The types of hermes-client.js. In a file of their own, because browsers never load them.
 */
export type State = "connecting" | "open" | "waiting" | "refused" | "closed";
/**
 * why the application is asked for a token
 */
export type TokenReason = "first" | "expiring" | "expired" | "refused";
/**
 * a parsed frame; its fields are in docs/protocol.md
 */
export type Frame = Record<string, any>;
/**
 * how the last socket ended
 */
export type Close = {
    /**
     * 1006 when it broke without a close frame
     */
    code: number;
    /**
     * a machine word, then hints: `stopping;retry_ms=800`
     */
    reason: string;
};
/**
 * The types of hermes-client.js. In a file of their own, because browsers never load them.
 */
export type Status = {
    state: State;
    /**
     * the number of the try under way or awaited; 0 for the first of all
     */
    attempt: number;
    /**
     * state `waiting`: from its beginning to the next try
     */
    waitMs: number;
    /**
     * state `waiting`: when the next try is due, Unix ms
     */
    nextTryAt: number;
    close: Close | null;
};
/**
 * Hermes' own link to the MQTT broker
 */
export type Link = {
    /**
     * false: no device's data arrives, and what there is grows stale
     */
    up: boolean;
    /**
     * Unix ms; null as long as a fresh socket has been told nothing
     */
    since: number | null;
};
/**
 * The types of hermes-client.js. In a file of their own, because browsers never load them.
 */
export type Fault = {
    /**
     * what happened, in words
     */
    message: string;
    /**
     * the `code` of a server's error frame
     */
    code?: string | undefined;
};
/**
 * since the client was made
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
     * notifications and broadcasts whose id had come before; they are told as `frame` only
     */
    duplicates: number;
    /**
     * with `numbered`: ids that did not come
     */
    gaps: number;
    /**
     * device values that the server left out because this client was slow
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
 * The types of hermes-client.js. In a file of their own, because browsers never load them.
 */
export type Events = {
    state: Status;
    /**
     * every frame from the server, before the narrower events
     */
    frame: Frame;
    notification: Frame;
    /**
     * with `snapshot: true` no news, but a last value, told because the socket opened
     */
    device: Frame;
    broadcast: Frame;
    /**
     * a device came or went, or was so when the socket opened
     */
    presence: Frame;
    link: Link;
    /**
     * a heartbeat's round trip in ms
     */
    rtt: number;
    /**
     * the open socket goes on with a new token; Unix ms
     */
    refreshed: {
        expires: number | null;
    };
    error: Fault;
};
/**
 * the surroundings; tests hand in their own
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
     * ms by a clock that never jumps
     */
    elapsed: () => number;
    /**
     * 0 ≤ random < 1
     */
    random: () => number;
    /**
     * tells `online`
     */
    window: EventTarget | undefined;
    /**
     * tells `visibilitychange`
     */
    document: (EventTarget & {
        hidden: boolean;
    }) | undefined;
};
/**
 * The types of hermes-client.js. In a file of their own, because browsers never load them.
 */
export type Options = {
    /**
     * ws, wss, http or https; in a page also just a path
     */
    url: string | URL;
    /**
     * null: there is none
     */
    getToken: (reason: TokenReason) => string | null | Promise<string | null>;
    /**
     * `false` declines the last values and the presence that a socket is told first
     */
    snapshot?: boolean | undefined;
    /**
     * `query` puts the token into the URL, and so into logs
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
     * 15 000: a token and handshake that take longer have failed
     */
    openWithinMs?: number | undefined;
    /**
     * 60 000 before the token's `exp`, `getToken` is asked for the next
     */
    refreshBeforeMs?: number | undefined;
    /**
     * keeps notifications and broadcasts; several clients may share one
     */
    history?: HermesHistory | undefined;
    /**
     * ids that end in a number are consecutive, so that gaps can be counted
     */
    numbered?: boolean | undefined;
    log?: ((line: Line) => void) | undefined;
    world?: Partial<World> | undefined;
};
