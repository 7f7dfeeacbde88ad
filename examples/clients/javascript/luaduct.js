// A client of Luaduct: an agent on a bridge, in Node and in browsers, without dependencies. README.md shows its use,
// luaduct.d.ts has the types, docs/protocol.md says what goes over the wire.
//
// What has to be known to change it:
// - The bridge answers an envelope only where it refuses it. What is accepted is known by a heartbeat behind it: one
//   connection's messages are handled in their order, so `heartbeat_ack` acknowledges all that was sent before the
//   heartbeat and not refused. One heartbeat is on its way at a time, whatever number of envelopes it stands for.
//   A bridge in original mode has no such answer: there, what was written counts as acknowledged.
// - What was not acknowledged when a connection ended is sent again on the next one, with the same id, in order; what
//   was, never. A bridge with agents.dedupWindowMs takes the same id once, and says `duplicate` to the second.

const SUBPROTOCOL = 'luaduct.msgpack';
const RETRY_HEARTBEAT_MS = 1000; // after one that a rate limit refused

/** Why something failed: `code` is the bridge's (docs/protocol.md), or `timeout`, `closed`, `disconnected`,
 * `queue_full`, `bad_answer` of this client. */
export class BridgeError extends Error {
    constructor(code, text, details = {}) {
        super(`${text} (${code})`);
        this.name = 'BridgeError';
        this.code = code;
        Object.assign(this, details);
    }
}

function newId() {
    if (globalThis.crypto?.randomUUID) return globalThis.crypto.randomUUID(); // web pages: only with https or localhost
    return 'xxxxxxxx-xxxx-4xxx-8xxx-xxxxxxxxxxxx'.replace(/x/g, () => Math.floor(Math.random() * 16).toString(16));
}

/** How long to wait before the attempt: doubling up to maxMs, and between half and all of that, so that agents that
 * lost their bridge together do not come back together. */
export function backoff(attempt, {minMs = 250, maxMs = 30000} = {}, random = Math.random) {
    const whole = Math.min(maxMs, minMs * 2 ** Math.min(attempt, 30));
    return whole / 2 + (whole / 2) * random();
}

const DEFAULTS = {
    reconnect: true,
    minBackoffMs: 250,
    maxBackoffMs: 30000,
    connectTimeoutMs: 15000, // from the attempt to `registered`
    // Silence after which the bridge is asked for a sign of life; as long again, and it is gone. A script that waits
    // holds up the answer, so longer than that: twice script.suspendMs.
    heartbeatMs: 60000,
    requestTimeoutMs: 30000,
    resend: true,
    maxQueue: 10000, // envelopes without an acknowledgement
};

// What of the options goes into the register message.
const PROFILE = ['clientId', 'role', 'labels', 'tools', 'intents', 'maxConcurrentTasks', 'authToken'];

export class Agent {
    #url;
    #options;
    #profile = {};
    #handlers = new Map();
    #socket = null;
    #state = 'new'; // then connecting, open, waiting (for the next attempt), closed
    #meta = null;
    #attempt = 0;
    #retry = null; // the timer of the next attempt, or of giving this one up
    #watch = null; // the timer that looks whether the bridge lives
    #opening = null; // {promise, resolve, reject} of connect()
    #unacknowledged = new Map(); // id to {envelope, socket, again, done, …}, in the order of sending
    #requests = new Map(); // id to {resolve, reject, timer}
    #barrier = null; // {ids, since}: those that the heartbeat on its way stands for
    #packed = false;
    #failure = null; // why it is closed for good
    #refusal = null; // the error that came before the connection was closed

    constructor(url, options = {}) {
        this.#url = url;
        this.#options = {...DEFAULTS, ...options};
        this.#options.WebSocket ??= globalThis.WebSocket;
        if (!this.#options.WebSocket) {
            throw new TypeError('there is no WebSocket here: give one, e.g. {WebSocket: (await import("ws")).default}');
        }
        for (const key of PROFILE) if (options[key] !== undefined) this.#profile[key] = options[key];
        this.#profile.clientId ??= newId(); // one that stays the same over reconnects
    }

    get id() { return this.#profile.clientId; }
    get state() { return this.#state; }
    /** What the bridge said of this agent when it registered last. */
    get client() { return this.#meta; }

    /** Calls the function for each `envelope`, `registered` (with the message), `disconnected` (with {code, reason}),
     * `error` (a BridgeError that belongs to nothing that waits) or `closed`. Gives a function that ends that. */
    on(event, handler) {
        if (!this.#handlers.has(event)) this.#handlers.set(event, new Set());
        this.#handlers.get(event).add(handler);
        return () => this.#handlers.get(event).delete(handler);
    }

    #emit(event, value) {
        const handlers = this.#handlers.get(event) ?? [];
        if (event === 'error' && !handlers.size) console.error(value); // never silent
        for (const handler of handlers) {
            // A handler that throws, now or later, is its own affair, but not a silent one.
            Promise.resolve().then(() => handler(value)).catch((problem) => {
                if (event === 'error') console.error(problem);
                else this.#emit('error', problem);
            });
        }
    }

    /** Connects and registers. Resolves with what the bridge says of the agent; rejects when it is refused, or with
     * `reconnect: false` when the bridge cannot be reached. */
    connect() {
        if (this.#state === 'closed') return Promise.reject(this.#failure);
        if (this.#state === 'open') return Promise.resolve(this.#meta);
        if (!this.#opening) {
            const opening = {};
            opening.promise = new Promise((resolve, reject) => Object.assign(opening, {resolve, reject}));
            this.#opening = opening;
        }
        if (this.#state === 'new') this.#open();
        return this.#opening.promise;
    }

    #open() {
        const {WebSocket, msgpack} = this.#options;
        this.#state = 'connecting';
        this.#refusal = null;
        let socket;
        try {
            socket = new WebSocket(this.#url, msgpack ? [SUBPROTOCOL] : []);
        } catch (problem) {
            this.#end(new BridgeError('bad_request', problem.message));
            return;
        }
        socket.binaryType = 'arraybuffer';
        this.#socket = socket;
        clearTimeout(this.#retry);
        this.#retry = setTimeout(() => this.#drop('no answer'), this.#options.connectTimeoutMs);
        socket.addEventListener('open', () => {
            this.#packed = Boolean(msgpack) && socket.protocol === SUBPROTOCOL;
            this.#write({type: 'register', ...this.#profile, features: ['batch']});
        });
        socket.addEventListener('message', (event) => {
            if (this.#socket === socket) this.#receive(event.data);
        });
        socket.addEventListener('error', () => {}); // `close` follows, and has all that browsers tell
        socket.addEventListener('close', (event) => {
            if (this.#socket === socket) this.#disconnected(event.code, event.reason);
        });
    }

    #write(message) {
        this.#socket.send(this.#packed ? this.#options.msgpack.encode(message) : JSON.stringify(message));
    }

    #receive(data) {
        let message;
        try {
            message = typeof data === 'string' ? JSON.parse(data) : this.#options.msgpack.decode(new Uint8Array(data));
        } catch (problem) {
            this.#emit('error', new BridgeError('bad_answer', problem.message));
            return;
        }
        if (message.type === 'envelope') this.#deliver(message.envelope);
        else if (message.type === 'batch') message.envelopes.forEach((envelope) => this.#deliver(envelope));
        else if (message.type === 'registered') this.#registered(message);
        else if (message.type === 'heartbeat_ack') this.#acknowledged();
        else if (message.type === 'error') this.#refused(message);
    }

    #deliver(envelope) {
        const request = envelope.replyTo !== null && this.#requests.get(envelope.replyTo);
        if (!request) {
            this.#emit('envelope', envelope);
            return;
        }
        this.#endRequest(envelope.replyTo);
        request.resolve(envelope);
    }

    #registered(message) {
        this.#meta = message.client;
        this.#state = 'open';
        this.#attempt = 0;
        this.#barrier = null;
        clearTimeout(this.#retry);
        clearInterval(this.#watch);
        this.#watch = setInterval(() => this.#lookForLife(), this.#options.heartbeatMs);
        this.#watch.unref?.(); // in Node: the socket keeps the process, the timer need not
        // The first heartbeat goes behind the first envelope: so even a connection that never lasts gets one through.
        for (const sent of this.#unacknowledged.values()) {
            this.#writeEnvelope(sent);
            this.#heartbeat();
        }
        this.#opening?.resolve(message.client);
        this.#opening = null;
        this.#emit('registered', message);
    }

    // ---- acknowledgements ----

    #writeEnvelope(sent) {
        this.#write({type: 'envelope', envelope: sent.envelope});
        sent.socket = this.#socket;
        // Original mode: its `registered` has no count, and it answers no heartbeat.
        if (this.#meta.messageCount === undefined) this.#settle(sent.envelope.id, sent);
    }

    #settle(id, sent) {
        this.#unacknowledged.delete(id);
        sent.resolve(sent.envelope);
    }

    // A heartbeat behind all that was written so far, if none is on its way.
    #heartbeat() {
        if (!this.#barrier && this.#unacknowledged.size > 0) this.#ask();
    }

    #ask() {
        const ids = [];
        for (const [id, sent] of this.#unacknowledged) if (sent.socket === this.#socket) ids.push(id);
        this.#barrier = {ids, since: Date.now()};
        this.#write({type: 'heartbeat'});
    }

    #acknowledged() {
        const barrier = this.#barrier;
        this.#barrier = null;
        for (const id of barrier?.ids ?? []) {
            const sent = this.#unacknowledged.get(id);
            if (sent) this.#settle(id, sent);
        }
        this.#heartbeat();
    }

    #lookForLife() {
        if (this.#meta.messageCount === undefined) this.#write({type: 'heartbeat'}); // a sign of life from here
        else if (!this.#barrier) this.#ask();
        else if (Date.now() - this.#barrier.since >= this.#options.heartbeatMs) this.#drop('the bridge is silent');
    }

    // A connection that may be dead: its own close may take minutes.
    #drop(reason) {
        const socket = this.#socket;
        this.#disconnected(1006, reason);
        if (socket.terminate) socket.terminate();
        else socket.close();
    }

    #refused(message) {
        const problem = new BridgeError(message.code, message.error, {id: message.id});
        if (this.#state === 'connecting') {
            this.#refusal = problem;
            return;
        }
        const sent = this.#unacknowledged.get(message.id);
        const request = this.#requests.get(message.id);
        if (sent && message.code === 'duplicate' && sent.again) {
            this.#settle(message.id, sent); // it was accepted before the connection broke
        } else if (sent || request) {
            this.#unacknowledged.delete(message.id);
            this.#endRequest(message.id);
            sent?.reject(problem);
            request?.reject(problem);
        } else if (message.code === 'rate_limited' && message.id === undefined && this.#barrier) {
            const barrier = this.#barrier; // the heartbeat itself: nothing of this client's has no id
            setTimeout(() => {
                if (this.#barrier === barrier && this.#state === 'open') this.#write({type: 'heartbeat'});
            }, RETRY_HEARTBEAT_MS);
        } else {
            this.#refusal = problem;
            this.#emit('error', problem);
        }
    }

    // ---- ends ----

    #disconnected(code, reason) {
        const refusal = this.#refusal;
        this.#socket = null;
        this.#barrier = null;
        clearTimeout(this.#retry);
        clearInterval(this.#watch);
        if (this.#state === 'closed') return;
        if (code === 1009) this.#refuseLargest();
        for (const [id, sent] of this.#unacknowledged) {
            sent.again = Boolean(sent.socket);
            if (sent.again && !this.#options.resend) {
                this.#unacknowledged.delete(id);
                sent.reject(new BridgeError('disconnected', 'the connection ended before it was acknowledged', {id}));
            }
        }
        this.#emit('disconnected', {code, reason});
        if (code === 4001) {
            this.#end(new BridgeError('closed', `a newer connection registered as ${this.id}`, {status: code}));
        } else if (code === 1008 || !this.#options.reconnect) {
            this.#end(refusal ?? new BridgeError('closed', reason || 'the connection ended', {status: code}));
        } else {
            this.#state = 'waiting';
            const {minBackoffMs, maxBackoffMs: maxMs} = this.#options;
            // A bridge that goes away may say when to come back.
            const asked = code === 1001 ? Number(/retry in (\d+) ms/.exec(reason)?.[1] ?? 0) : 0;
            const minMs = Math.max(minBackoffMs, Math.min(2 * asked, maxMs)); // half of which is the least
            this.#retry = setTimeout(() => this.#open(), backoff(this.#attempt++, {minMs, maxMs}));
        }
    }

    // The bridge does not say which message was too large. If one was, then the largest.
    #refuseLargest() {
        let largest;
        for (const sent of this.#unacknowledged.values()) {
            sent.bytes ??= JSON.stringify(sent.envelope).length;
            if (sent.socket && sent.bytes > (largest?.bytes ?? 0)) largest = sent;
        }
        if (!largest) return;
        const {id} = largest.envelope;
        const problem = new BridgeError('too_large', 'the bridge takes no message of this size', {id});
        const request = this.#requests.get(id);
        this.#unacknowledged.delete(id);
        this.#endRequest(id);
        largest.reject(problem);
        request?.reject(problem);
    }

    #end(problem) {
        this.#state = 'closed';
        this.#failure = problem;
        clearTimeout(this.#retry);
        clearInterval(this.#watch);
        const sent = [...this.#unacknowledged.values()];
        const requests = [...this.#requests.keys()].map((id) => [id, this.#requests.get(id)]);
        this.#unacknowledged.clear();
        for (const one of sent) one.reject(problem);
        for (const [id, request] of requests) {
            this.#endRequest(id);
            request.reject(problem);
        }
        this.#opening?.reject(problem);
        this.#opening = null;
        this.#emit('closed', problem);
    }

    /** Waits until what was sent is acknowledged, and leaves. */
    async close() {
        if (this.#state === 'open') await Promise.allSettled([...this.#unacknowledged.values()].map((one) => one.done));
        const socket = this.#socket;
        if (this.#state !== 'closed') this.#end(new BridgeError('closed', 'the agent was closed'));
        if (!socket) return;
        const gone = new Promise((resolve) => socket.addEventListener('close', resolve));
        socket.close(1000);
        await gone;
    }

    // ---- what an agent does ----

    /** Sends an envelope; absent fields take the bridge's defaults. Resolves with it, `id` filled in, once the bridge
     * has taken it; rejects with the code when it was refused. Without a connection it waits for one. */
    send(envelope) {
        if (this.#state === 'closed') return Promise.reject(this.#failure);
        if (this.#unacknowledged.size >= this.#options.maxQueue) {
            return Promise.reject(new BridgeError('queue_full', `${this.#options.maxQueue} envelopes wait already`));
        }
        const sent = {envelope: {...envelope, id: envelope.id ?? newId()}, socket: null};
        if (this.#unacknowledged.has(sent.envelope.id)) {
            return Promise.reject(new BridgeError('duplicate', 'an envelope with this id waits already',
                {id: sent.envelope.id}));
        }
        sent.done = new Promise((resolve, reject) => Object.assign(sent, {resolve, reject}));
        this.#unacknowledged.set(sent.envelope.id, sent);
        if (this.#state === 'open') {
            this.#writeEnvelope(sent);
            this.#heartbeat();
        }
        return sent.done;
    }

    /** Sends an envelope and resolves with the one that answers it (`replyTo` is its id). Rejects with the code when it
     * is refused, with `timeout` when nobody answers in time. */
    request(envelope, {timeoutMs = this.#options.requestTimeoutMs} = {}) {
        const id = envelope.id ?? newId();
        const answered = new Promise((resolve, reject) => {
            const timer = setTimeout(() => {
                const sent = this.#unacknowledged.get(id);
                if (sent && !sent.socket) this.#unacknowledged.delete(id); // nobody would wait for the answer
                this.#requests.delete(id);
                reject(new BridgeError('timeout', `no answer within ${timeoutMs} ms`, {id}));
            }, timeoutMs);
            this.#requests.set(id, {resolve, reject, timer});
        });
        this.send({...envelope, id}).catch((problem) => {
            const request = this.#requests.get(id);
            this.#endRequest(id);
            request?.reject(problem);
        });
        return answered;
    }

    #endRequest(id) {
        clearTimeout(this.#requests.get(id)?.timer);
        this.#requests.delete(id);
    }

    /** Answers an envelope: to its sender, with its intent, task and channel unless `fields` say otherwise. */
    reply(envelope, payload, fields = {}) {
        const {intent, taskId, channel} = envelope;
        return this.send({intent, taskId, channel, ...fields, to: envelope.from, replyTo: envelope.id, payload});
    }

    /** The newest envelopes that the bridge keeps, oldest first: {limit, agentId, taskId, intent} select. By HTTP, from
     * the same port; a web page of another origin needs http.corsOrigins. */
    history(query = {}) {
        return this.#get('/history', query).then((answer) => answer.history);
    }

    /** Who is connected. */
    agents() {
        return this.#get('/agents', {}).then((answer) => answer.agents);
    }

    async #get(path, query) {
        const url = new URL(path, this.#options.httpUrl ?? this.#url.replace(/^ws/, 'http'));
        for (const [key, value] of Object.entries(query)) url.searchParams.set(key, value);
        const {authToken} = this.#profile;
        const answer = await fetch(url, {headers: authToken ? {Authorization: `Bearer ${authToken}`} : {}});
        const body = await answer.json();
        if (!answer.ok) throw new BridgeError(body.code, body.error, {status: answer.status});
        return body;
    }
}
