/** Types of luaduct.js. */

export type Json = unknown;

/** What an agent sends: whatever is left out takes the bridge's default. */
export interface Outgoing {
    id?: string;
    timestamp?: string | number;
    intent?: string;
    taskId?: string | null;
    channel?: string;
    priority?: 'high' | 'normal' | 'low' | (string & {});
    from?: string;
    role?: string;
    to?: string | null;
    replyTo?: string | null;
    context?: Json;
    payload?: Json;
    tools?: Json[];
    attachments?: Json[];
    trace?: Json;
}

/** What arrives: all fifteen fields. */
export type Envelope = Required<Outgoing>;

/** What the bridge knows of an agent. */
export interface Client {
    id: string;
    role: string;
    labels: string[];
    tools: Json[];
    intents: string[];
    maxConcurrentTasks: number;
    lastSeen: string;
    connectedAt: string;
    /** These three in enhanced mode. */
    messageCount?: number;
    errorCount?: number;
    uptime?: number;
}

export interface Registered {
    type: 'registered';
    client: Client;
    /** Up to ten of the newest envelopes. */
    history: Envelope[];
}

/** What `ws` and browsers both have of a WebSocket. */
export interface WebSocketLike {
    binaryType: string;
    readonly protocol: string;
    send(data: string | Uint8Array): void;
    close(code?: number, reason?: string): void;
    addEventListener(type: string, listener: (event: any) => void): void;
}

export interface Options {
    /** The same over reconnects; a UUID where it is left out. */
    clientId?: string;
    role?: string;
    labels?: string[];
    tools?: Json[];
    intents?: string[];
    maxConcurrentTasks?: number;
    authToken?: string;
    /** Where there is no global one (Node before 22): that of the package `ws`. */
    WebSocket?: new (url: string, protocols?: string[]) => WebSocketLike;
    /** Given, the connection speaks MessagePack: the package `@msgpack/msgpack` fits. */
    msgpack?: { encode(value: unknown): Uint8Array; decode(bytes: Uint8Array): unknown };
    /** false: the first end of a connection is the end of the agent. */
    reconnect?: boolean;
    minBackoffMs?: number;
    maxBackoffMs?: number;
    connectTimeoutMs?: number;
    heartbeatMs?: number;
    requestTimeoutMs?: number;
    /** false: what was written and not acknowledged is refused with `disconnected` instead of being sent again. */
    resend?: boolean;
    /** How many envelopes may be without an acknowledgement. */
    maxQueue?: number;
    /** Where HTTP is, when not on the same port. */
    httpUrl?: string;
}

export interface HistoryQuery {
    limit?: number;
    agentId?: string;
    taskId?: string;
    intent?: string;
}

export class BridgeError extends Error {
    constructor(code: string, text: string, details?: { id?: string; status?: number });
    /** Of the bridge's list, or `timeout`, `closed`, `disconnected`, `queue_full`, `bad_answer`. */
    readonly code: string;
    /** Of the envelope. */
    readonly id?: string;
    /** The HTTP status or the close code. */
    readonly status?: number;
}

export interface Events {
    envelope: Envelope;
    registered: Registered;
    disconnected: { code: number; reason: string };
    error: Error;
    closed: BridgeError;
}

export class Agent {
    constructor(url: string, options?: Options);
    readonly id: string;
    readonly state: 'new' | 'connecting' | 'open' | 'waiting' | 'closed';
    readonly client: Client | null;
    on<Name extends keyof Events>(event: Name, handler: (value: Events[Name]) => void): () => boolean;
    connect(): Promise<Client>;
    send(envelope: Outgoing): Promise<Outgoing & { id: string }>;
    request(envelope: Outgoing, options?: { timeoutMs?: number }): Promise<Envelope>;
    reply(envelope: Envelope, payload: Json, fields?: Outgoing): Promise<Outgoing & { id: string }>;
    history(query?: HistoryQuery): Promise<Envelope[]>;
    agents(): Promise<Client[]>;
    close(): Promise<void>;
}

export function backoff(attempt: number, limits?: { minMs?: number; maxMs?: number }, random?: () => number): number;
