// Scenarios of the JavaScript client of examples/clients. Usage: node client.mjs SCENARIO WS_PORT HTTP_PORT MODULES.
import assert from 'node:assert';
import {createRequire} from 'node:module';
import net from 'node:net';

import {Agent, BridgeError, backoff} from '../../examples/clients/javascript/luaduct.js';

const [, , scenario, wsPort, httpPort, modules] = process.argv;
const require = createRequire(`${modules}/`);
// LUADUCT_BROWSER: the one that Node has from browsers, whose API is narrower than that of `ws`.
const WebSocket = process.env.LUADUCT_BROWSER ? globalThis.WebSocket : require('ws');
const msgpack = require('@msgpack/msgpack');

const open = [];

function agent(clientId, options = {}, port = wsPort) {
    const one = new Agent(`ws://127.0.0.1:${port}`, {
        clientId, WebSocket, minBackoffMs: 5, maxBackoffMs: 50, ...options,
    });
    one.received = [];
    one.lost = 0;
    one.on('envelope', (envelope) => one.received.push(envelope));
    one.on('disconnected', () => { one.lost += 1; });
    one.on('error', (problem) => { throw problem; });
    open.push(one);
    return one;
}

async function connected(...parameters) {
    const one = agent(...parameters);
    await one.connect();
    return one;
}

async function until(condition) {
    const deadline = Date.now() + 20000;
    while (!condition()) {
        if (Date.now() > deadline) throw new Error(`waited in vain for ${condition}`);
        await new Promise((resolve) => setTimeout(resolve, 5));
    }
}

const refused = (code) => (problem) => problem instanceof BridgeError && problem.code === code;
const numbers = (one) => one.received.map((envelope) => envelope.payload.n);
const range = (count) => Array.from({length: count}, (_, index) => index);

// A network between client and bridge: cut() ends all connections; after `budget` bytes to the bridge one ends by
// itself, and the next has half as much again; what comes from the bridge while `deaf` never arrives.
async function network() {
    const one = {budget: Infinity, deaf: false, connections: 0, sockets: new Set()};
    const server = net.createServer((near) => {
        const far = net.connect(wsPort, '127.0.0.1');
        let budget = one.budget;
        one.budget += Math.floor(budget / 2);
        one.connections += 1;
        near.on('data', (data) => {
            far.write(data.subarray(0, Math.max(0, budget)));
            budget -= data.length;
            if (budget < 0) { near.destroy(); far.destroy(); }
        });
        far.on('data', (data) => { if (!one.deaf) near.write(data); });
        for (const [socket, other] of [[near, far], [far, near]]) {
            one.sockets.add(socket);
            socket.on('error', () => {});
            socket.on('close', () => { one.sockets.delete(socket); other.destroy(); });
        }
    });
    one.cut = () => one.sockets.forEach((socket) => socket.destroy());
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    server.unref();
    one.port = server.address().port;
    return one;
}

const scenarios = {
    async 'send'() {
        const [ann, ben] = await Promise.all([connected('ann', {labels: ['x']}), connected('ben')]);
        assert.deepStrictEqual(ann.client.labels, ['x']);
        const sent = await Promise.all(range(200).map((n) => ann.send({to: 'ben', payload: {n}})));
        assert.ok(sent.every((envelope) => envelope.id));
        await until(() => ben.received.length === 200);
        assert.deepStrictEqual(numbers(ben), range(200));
        await assert.rejects(ann.send({to: 5}), refused('bad_field'));
        await assert.rejects(ann.send({intent: 'nobody'}), refused('no_recipient'));
        const two = [ann.send({to: 'ben'}), ann.send({to: []}), ann.send({to: 'ben'})];
        assert.deepStrictEqual((await Promise.allSettled(two)).map((one) => one.status),
            ['fulfilled', 'rejected', 'fulfilled']);
    },

    async 'request'() {
        const [ann, ben] = await Promise.all([connected('ann'), connected('ben')]);
        ben.on('envelope', (envelope) => {
            if (envelope.intent === 'double') ben.reply(envelope, {n: 2 * envelope.payload.n});
        });
        const answers = await Promise.all(range(50).map((n) => ann.request({to: 'ben', intent: 'double', payload: {n}})));
        assert.deepStrictEqual(answers.map((answer) => answer.payload.n), range(50).map((n) => 2 * n));
        assert.ok(answers.every((answer) => answer.intent === 'double' && answer.from === 'ben'));
        assert.deepStrictEqual(ann.received, []);
        await assert.rejects(ann.request({to: 'ben', intent: 'silence'}, {timeoutMs: 20}), refused('timeout'));
        await assert.rejects(ann.request({to: 'ben', intent: 'nobody'}), refused('no_recipient'));
    },

    async 'history'() {
        const ann = await connected('ann');
        for (const n of range(3)) await ann.send({to: 'ben', intent: 'note', payload: {n}});
        const history = await ann.history({limit: 2, agentId: 'ben'});
        assert.deepStrictEqual(history.map((envelope) => envelope.payload.n), [1, 2]);
        assert.deepStrictEqual((await ann.agents()).map((client) => client.id), ['ann']);
        await assert.rejects(ann.history({limit: 'x'}), refused('bad_request'));
    },

    async 'reconnect'() {
        const wire = await network();
        const ben = await connected('ben');
        const ann = await connected('ann', {}, wire.port);
        wire.budget = 2000;
        wire.cut();
        const sent = [];
        for (const n of range(300)) {
            sent.push(ann.send({to: 'ben', payload: {n}}));
            if (n % 10 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
        }
        await Promise.all(sent);
        await until(() => ben.received.length >= 300);
        assert.deepStrictEqual(numbers(ben), range(300));
        assert.ok(ann.lost >= 5, `${ann.lost} cuts`);
    },

    async 'acknowledged'() {
        const wire = await network();
        const ben = await connected('ben');
        const ann = await connected('ann', {}, wire.port);
        for (let round = 0; round < 5; round++) {
            await Promise.all(range(10).map((n) => ann.send({to: 'ben', payload: {n: 10 * round + n}})));
            wire.cut();
            await until(() => ann.lost === round + 1);
        }
        await ann.send({to: 'ben', payload: {n: 50}}); // over a sixth connection
        await until(() => ben.received.length === 51);
        assert.deepStrictEqual(numbers(ben), range(51));

        // What nobody acknowledged is sent again, with the same id; or not, where that is not wanted.
        const careful = await connected('careful', {resend: false}, wire.port);
        await until(() => ann.state === 'open');
        wire.deaf = true;
        const again = ann.send({to: 'ben', payload: {n: 51}});
        const once = careful.send({to: 'ben', payload: {n: 52}});
        await until(() => ben.received.length === 53);
        wire.deaf = false;
        wire.cut();
        await assert.rejects(once, refused('disconnected'));
        await again;
        await until(() => ben.received.length === 54);
        assert.strictEqual(ben.received[53].payload.n, 51);
        assert.strictEqual(ben.received[53].id, ben.received.find((envelope) => envelope.payload.n === 51).id);
    },

    async 'silence'() {
        const wire = await network();
        const ann = await connected('ann', {heartbeatMs: 100}, wire.port);
        wire.deaf = true;
        await until(() => ann.lost > 0);
        wire.deaf = false;
        wire.cut();
        await until(() => ann.state === 'open');
        await ann.send({to: 'ann', payload: {n: 1}});
        await until(() => ann.received.length === 1);
    },

    async 'absent bridge'() {
        const wire = await network();
        const {port} = wire;
        const ann = agent('ann', {reconnect: false}, 1);
        await assert.rejects(ann.connect(), refused('closed'));
        await assert.rejects(ann.send({to: 'ben'}), refused('closed'));
        const ben = agent('ben', {maxQueue: 2}, port);
        const waiting = [ben.send({to: 'ben', payload: {n: 1}}), ben.send({to: 'ben', payload: {n: 2}})];
        await assert.rejects(ben.send({to: 'ben'}), refused('queue_full'));
        await ben.connect();
        await Promise.all(waiting);
        await until(() => ben.received.length === 2);
    },

    async 'replaced'() {
        const older = await connected('twin');
        const closed = new Promise((resolve) => older.on('closed', resolve));
        const newer = await connected('twin');
        assert.strictEqual((await closed).status, 4001);
        assert.strictEqual(older.state, 'closed');
        await newer.send({to: 'twin', payload: {n: 1}});
        await until(() => newer.received.length === 1);
    },

    async 'token'() {
        await assert.rejects(connected('ann', {authToken: 'wrong'}), refused('unauthorized'));
        await assert.rejects(connected('ann'), refused('unauthorized'));
        const ann = await connected('ann', {authToken: 'secret'});
        await ann.send({to: 'ben', payload: {n: 1}});
        assert.strictEqual((await ann.history()).length, 1);
    },

    async 'too large'() {
        const ann = await connected('ann');
        const small = ann.send({to: 'ann', payload: {n: 1}});
        await assert.rejects(ann.send({to: 'ann', payload: 'x'.repeat(20000)}), refused('too_large'));
        await small;
        await ann.send({to: 'ann', payload: {n: 2}});
        await until(() => ann.received.some((envelope) => envelope.payload.n === 2));
        await assert.rejects(ann.request({to: 'ann', payload: 'x'.repeat(20000)}), refused('too_large'));
    },

    async 'rate'() {
        const ann = await connected('ann');
        const results = await Promise.allSettled(range(30).map((n) => ann.send({to: 'ben', payload: {n}})));
        const codes = new Set(results.map((one) => one.reason?.code));
        assert.deepStrictEqual(codes, new Set([undefined, 'rate_limited']));
    },

    async 'binary'() {
        const [ann, ben] = await Promise.all([connected('ann', {msgpack}), connected('ben', {msgpack})]);
        const cleo = await connected('cleo');
        const bytes = Uint8Array.from(range(256));
        await ann.send({payload: {bytes, text: 'grüße'}});
        await until(() => ben.received.length === 1 && cleo.received.length === 1);
        assert.deepStrictEqual(Uint8Array.from(ben.received[0].payload.bytes), bytes);
        assert.strictEqual(ben.received[0].payload.text, 'grüße');
        assert.strictEqual(cleo.received[0].payload.bytes, Buffer.from(bytes).toString('base64'));
        ben.on('envelope', (envelope) => ben.reply(envelope, envelope.payload));
        const answer = await ann.request({to: 'ben', payload: bytes});
        assert.deepStrictEqual(Uint8Array.from(answer.payload), bytes);
        await assert.rejects(ann.send({to: 5}), refused('bad_field'));
    },

    async 'mailbox'() {
        const ann = await connected('ann');
        await Promise.all(range(100).map((n) => ann.send({to: 'ben', payload: {n}})));
        const ben = await connected('ben');
        await until(() => ben.received.length === 100);
        assert.deepStrictEqual(numbers(ben), range(100));
        await ben.close();
        assert.strictEqual(ben.state, 'closed');
    },

    // A bridge that goes away says when to come back.
    async 'retry hint'() {
        const times = [];
        const going = new (require('ws').WebSocketServer)({port: 0, host: '127.0.0.1'});
        going.on('connection', (socket) => {
            times.push(performance.now());
            socket.on('message', () => {
                socket.send(JSON.stringify({type: 'registered', client: {id: 'ann', messageCount: 0}, history: []}));
                socket.close(1001, 'the bridge is going away; retry in 300 ms');
            });
        });
        await new Promise((resolve) => going.on('listening', resolve));
        const ann = await connected('ann', {maxBackoffMs: 1000}, going.address().port);
        await until(() => times.length === 2);
        assert.ok(times[1] - times[0] > 290, `${times[1] - times[0]} ms`);
        await ann.close();
        going.close();
    },

    async 'backoff'() {
        const limits = {minMs: 100, maxMs: 1000};
        assert.deepStrictEqual(range(5).map((n) => backoff(n, limits, () => 1)), [100, 200, 400, 800, 1000]);
        assert.deepStrictEqual(range(5).map((n) => backoff(n, limits, () => 0)), [50, 100, 200, 400, 500]);
        assert.ok(backoff(1e6, limits) <= 1000);
        if (!globalThis.WebSocket) assert.throws(() => new Agent('ws://localhost'), TypeError);
    },
};

const guard = setTimeout(() => {
    console.error(`${scenario}: still not done`);
    process.exit(1);
}, 40000);
try {
    await scenarios[scenario]();
    await Promise.all(open.map((one) => one.close()));
    clearTimeout(guard);
} catch (problem) {
    console.error(problem);
    process.exit(1);
}
