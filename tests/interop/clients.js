// Interop scenarios: clients as people write them with the npm package `ws` and with fetch().
// Usage: node clients.js SCENARIO WS_PORT HTTP_PORT. Exit status 0 when the promise held, else 1 and why.
'use strict';

const assert = require('assert');
const WebSocket = require('ws');
const msgpack = require('@msgpack/msgpack');

const [, , scenario, wsPort, httpPort] = process.argv;
const wsUrl = `ws://localhost:${wsPort}`;
const httpUrl = `http://localhost:${httpPort}`;

// A client in the style of those that exist: register on open, resolve on `registered`, and hand envelopes to whatever
// handler is attached, which an application does only after connect() has resolved. What comes before is lost.
class Client {
    constructor(id, options = {}) {
        this.id = id;
        this.options = options;
        this.onenvelope = null;
        this.lost = 0;
    }

    connect() {
        return new Promise((resolve, reject) => {
            const packed = this.options.msgpack;
            this.socket = new WebSocket(wsUrl, packed ? ['luaduct.msgpack'] : [], this.options.socket || {});
            this.socket.on('open', () => {
                this.write({type: 'register', clientId: this.id, ...this.options.register});
            });
            this.socket.on('error', reject);
            this.socket.on('close', (code) => this.onclose && this.onclose(code));
            this.socket.on('message', (data, binary) => {
                assert.strictEqual(binary, Boolean(packed));
                const message = packed ? msgpack.decode(new Uint8Array(data)) : JSON.parse(data.toString());
                if (message.type === 'registered') {
                    resolve(message);
                } else if (message.type === 'envelope') {
                    if (this.onenvelope) this.onenvelope(message.envelope, data);
                    else this.lost += 1;
                } else if (message.type === 'error') {
                    if (this.onerror) this.onerror(message);
                    else reject(new Error(message.error));
                }
            });
        });
    }

    write(message) {
        this.socket.send(this.options.msgpack ? msgpack.encode(message) : JSON.stringify(message));
    }

    send(envelope) {
        this.write({type: 'envelope', envelope});
    }

    // The next `count` envelopes.
    collect(count) {
        return new Promise((resolve, reject) => {
            if (this.lost) reject(new Error(`${this.lost} envelopes came before a handler was attached`));
            const list = [];
            this.onenvelope = (envelope) => {
                list.push(envelope);
                if (list.length === count) resolve(list);
            };
        });
    }

    close() {
        return new Promise((resolve) => {
            this.onclose = resolve;
            this.socket.close(1000);
        });
    }
}

async function post(path, body) {
    const answer = await fetch(httpUrl + path, {
        method: 'POST', headers: {'Content-Type': 'application/json'}, body: JSON.stringify(body),
    });
    return [answer.status, await answer.json()];
}

const numbers = (list) => list.map((envelope) => envelope.payload.n);
const range = (count) => Array.from({length: count}, (_, index) => index);

// Words that compress, but not to nothing.
const prose = (length) => {
    let text = '';
    for (let index = 0; text.length < length; index++) text += `word${(index * 7919) % 1000} `;
    return text.slice(0, length);
};

const scenarios = {
    async 'queued envelopes'() {
        for (const n of range(50)) assert.strictEqual((await post('/send', {to: 'late', payload: {n}}))[0], 202);
        for (let round = 0; round < 2; round++) {
            const client = new Client(round === 0 ? 'late' : `late-${round}`);
            if (round > 0) for (const n of range(50)) await post('/send', {to: client.id, payload: {n}});
            await client.connect();
            await new Promise((resolve) => setImmediate(resolve));
            assert.deepStrictEqual(numbers(await client.collect(50)), range(50));
            assert.strictEqual(client.lost, 0);
            await client.close();
        }
    },

    async 'request and answer'() {
        const asker = new Client('asker');
        const answerer = new Client('answerer', {register: {role: 'worker', tools: ['add']}});
        const registered = await asker.connect();
        assert.strictEqual(registered.client.id, 'asker');
        assert.ok(Array.isArray(registered.history));
        await answerer.connect();
        answerer.onenvelope = (envelope) => answerer.send({
            to: envelope.from, replyTo: envelope.id, intent: 'answer', payload: {sum: envelope.payload.a + envelope.payload.b},
        });
        const answers = asker.collect(1);
        asker.send({id: 'q1', to: 'answerer', intent: 'add', payload: {a: 2, b: 3}});
        const [answer] = await answers;
        assert.strictEqual(answer.replyTo, 'q1');
        assert.strictEqual(answer.payload.sum, 5);
        await Promise.all([asker.close(), answerer.close()]);
    },

    async 'broadcast'() {
        const clients = range(10).map((n) => new Client(`agent-${n}`));
        await Promise.all(clients.map((client) => client.connect()));
        const waiting = clients.slice(1).map((client) => client.collect(1));
        clients[0].send({payload: {n: 7}});
        for (const list of await Promise.all(waiting)) assert.deepStrictEqual(numbers(list), [7]);
        await Promise.all(clients.map((client) => client.close()));
    },

    async 'reconnect'() {
        const sender = new Client('sender');
        await sender.connect();
        let next = 0;
        for (let round = 0; round < 4; round++) {
            const client = new Client('flaky');
            await client.connect();
            const list = client.collect(round === 0 ? 10 : 20);
            for (let index = 0; index < 10; index++) sender.send({to: 'flaky', payload: {n: next + index + (round ? 10 : 0)}});
            const got = numbers(await list);
            assert.deepStrictEqual(got, range(got.length).map((index) => next + index));
            next += got.length;
            await client.close();
            for (let index = 0; index < 10; index++) await post('/send', {to: 'flaky', payload: {n: next + index}});
        }
        await sender.close();
    },

    async 'newest connection wins'() {
        const older = new Client('twin');
        await older.connect();
        const closed = new Promise((resolve) => { older.onclose = resolve; });
        const newer = new Client('twin');
        await newer.connect();
        assert.strictEqual(await closed, 4001);
        const list = newer.collect(1);
        await post('/send', {to: 'twin', payload: {n: 1}});
        assert.deepStrictEqual(numbers(await list), [1]);
        await newer.close();
    },

    async 'permessage-deflate'() {
        const socket = {perMessageDeflate: {threshold: 0}};
        const alice = new Client('alice', {socket});
        const bob = new Client('bob', {socket});
        const plain = new Client('plain', {socket: {perMessageDeflate: false}});
        await Promise.all([alice.connect(), bob.connect(), plain.connect()]);
        assert.ok(alice.socket.extensions.includes('permessage-deflate'), alice.socket.extensions);
        assert.strictEqual(plain.socket.extensions, '');
        const sizes = [0, 1, 10, 100, 1000, 5000, 32768, 40000, 100000, 700000];
        const texts = sizes.map((size) => prose(size) + '😀');
        const received = [bob.collect(sizes.length), plain.collect(sizes.length)];
        for (const text of texts) alice.send({payload: text});
        for (const list of await Promise.all(received)) {
            assert.deepStrictEqual(list.map((envelope) => envelope.payload), texts);
        }
        await Promise.all([alice.close(), bob.close(), plain.close()]);
    },

    async 'permessage-deflate options'() {
        const offers = [
            {serverNoContextTakeover: true}, {clientNoContextTakeover: true}, {serverMaxWindowBits: 10},
            {clientMaxWindowBits: 10}, {clientMaxWindowBits: true}, {serverNoContextTakeover: true,
                clientNoContextTakeover: true, serverMaxWindowBits: 9, clientMaxWindowBits: 9},
        ];
        for (const offer of offers) {
            const client = new Client('echo', {socket: {perMessageDeflate: {threshold: 0, ...offer}}});
            await client.connect();
            assert.ok(client.socket.extensions.includes('permessage-deflate'), JSON.stringify(offer));
            const texts = range(20).map((n) => prose(3000 + n * 500));
            const list = client.collect(texts.length);
            for (const text of texts) client.send({to: 'echo', payload: text});
            assert.deepStrictEqual((await list).map((envelope) => envelope.payload), texts);
            await client.close();
        }
    },

    async 'compressed frames are small'() {
        const client = new Client('echo', {socket: {perMessageDeflate: {threshold: 0}}});
        await client.connect();
        const tcp = client.socket._socket;
        const [readBefore, writtenBefore] = [tcp.bytesRead, tcp.bytesWritten];
        const list = client.collect(1);
        client.send({to: 'echo', payload: 'a'.repeat(500000)});
        assert.strictEqual((await list)[0].payload.length, 500000);
        assert.ok(tcp.bytesWritten - writtenBefore < 20000);
        assert.ok(tcp.bytesRead - readBefore < 20000, `${tcp.bytesRead - readBefore} bytes came`);
        await client.close();
    },

    async 'MessagePack'() {
        const alice = new Client('alice', {msgpack: true, register: {labels: ['x']}});
        const bob = new Client('bob', {msgpack: true, socket: {perMessageDeflate: {threshold: 0}}});
        const carol = new Client('carol');
        const registered = await alice.connect();
        assert.strictEqual(alice.socket.protocol, 'luaduct.msgpack');
        assert.deepStrictEqual(registered.client.labels, ['x']);
        await Promise.all([bob.connect(), carol.connect()]);
        const bytes = Uint8Array.from(range(256));
        const payload = {bytes, text: prose(3000) + '😀', list: range(100), half: 0.5, none: null, yes: true, far: -(2 ** 40)};
        const received = [bob.collect(1), carol.collect(1)];
        alice.send({payload, attachments: [bytes]});
        const [[packed], [plain]] = await Promise.all(received);
        assert.deepStrictEqual(packed.payload, payload);
        assert.deepStrictEqual(packed.attachments, [bytes]);
        assert.deepStrictEqual(plain.payload, {...payload, bytes: Buffer.from(bytes).toString('base64')});
        const answer = alice.collect(1);
        carol.send({to: 'alice', payload: {n: [1, 1.5, 'ä', null]}});
        assert.deepStrictEqual((await answer)[0].payload, {n: [1, 1.5, 'ä', null]});
        const refusal = new Promise((resolve) => { alice.onerror = resolve; });
        alice.send({id: 'wrong', to: 7});
        const {code, id} = await refusal;
        assert.deepStrictEqual([code, id], ['bad_field', 'wrong']);
        const {history} = await (await fetch(httpUrl + '/history')).json();
        assert.strictEqual(history[0].payload.bytes, plain.payload.bytes);
        await Promise.all([alice.close(), bob.close(), carol.close()]);
    },

    async 'deflate bomb'() {
        const client = new Client('bomber', {socket: {perMessageDeflate: {threshold: 0}}});
        await client.connect();
        const refusal = new Promise((resolve) => { client.onerror = resolve; });
        const closed = new Promise((resolve) => { client.onclose = resolve; });
        client.send({to: 'bomber', payload: ' '.repeat(64 * 1024 * 1024)});
        assert.strictEqual((await refusal).code, 'too_large');
        assert.strictEqual(await closed, 1009);
    },

    async 'fetch'() {
        const health = await (await fetch(httpUrl + '/health')).json();
        assert.strictEqual(health.status, 'ok');
        const bob = new Client('bob', {register: {labels: ['x']}});
        await bob.connect();
        const {agents} = await (await fetch(httpUrl + '/agents')).json();
        assert.deepStrictEqual(agents.map((agent) => [agent.id, agent.labels]), [['bob', ['x']]]);
        const list = bob.collect(2);
        const [status, answer] = await post('/send', {to: 'bob', payload: {n: 1}});
        assert.strictEqual(status, 202);
        assert.strictEqual(answer.status, 'queued');
        assert.strictEqual((await post('/broadcast', {payload: {n: 2}}))[0], 202);
        assert.deepStrictEqual(numbers(await list), [1, 2]);
        const {history} = await (await fetch(httpUrl + '/history?agentId=bob')).json();
        assert.ok(history.length >= 1);
        const missing = await fetch(httpUrl + '/nothing');
        assert.strictEqual(missing.status, 404);
        assert.strictEqual((await missing.json()).code, 'not_found');
        assert.strictEqual((await post('/send', {}))[1].error, 'Recipient `to` is required');
        const streamed = await fetch(httpUrl + '/send', {
            method: 'POST', duplex: 'half', headers: {'Content-Type': 'application/json'},
            body: new Blob(['{"to":', '"nobody"}']).stream(),
        });
        assert.strictEqual(streamed.status, 202);
        await bob.close();
    },

    async 'many at once'() {
        const clients = range(100).map((n) => new Client(`agent-${n}`));
        await Promise.all(clients.map((client) => client.connect()));
        const waiting = clients.map((client) => client.collect(20));
        for (const n of range(20)) {
            clients.forEach((client, index) => client.send({to: `agent-${(index + 1) % 100}`, payload: {n}}));
        }
        for (const list of await Promise.all(waiting)) assert.deepStrictEqual(numbers(list), range(20));
        await Promise.all(clients.map((client) => client.close()));
    },

    async 'built-in WebSocket'() {
        if (typeof globalThis.WebSocket !== 'function') {
            process.exitCode = 77;
            return;
        }
        const socket = new globalThis.WebSocket(wsUrl);
        await new Promise((resolve, reject) => {
            socket.onopen = () => socket.send('{"type":"register","clientId":"built-in"}');
            socket.onmessage = (event) => resolve(assert.strictEqual(JSON.parse(event.data).type, 'registered'));
            socket.onerror = reject;
        });
        socket.close();
    },
};

setTimeout(() => {
    console.error('the scenario did not end in time');
    process.exit(1);
}, 60000).unref();

const run = scenarios[scenario];
if (!run) {
    console.error(`no scenario "${scenario}"`);
    process.exit(2);
}
let ended = false;
process.on('exit', (code) => {
    if (code === 0 && !ended) {
        console.error('the scenario waits for something that cannot come any more');
        process.exitCode = 1;
    }
});
run().then(() => {
    ended = true;
    process.exit();
}, (error) => {
    console.error(error.stack);
    process.exit(1);
});
