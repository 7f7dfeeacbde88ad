// Agents over wss, for tests/integration/tls: node tls.js SCENARIO PORT CA [CERT KEY]
"use strict";
const fs = require("fs");
const tls = require("tls");
const WebSocket = require("ws");

const [scenario, port, ca, cert, key] = process.argv.slice(2);
const options = { ca: fs.readFileSync(ca), perMessageDeflate: false };
if (cert) Object.assign(options, { cert: fs.readFileSync(cert), key: fs.readFileSync(key) });
const url = `wss://localhost:${port}/`;

function fail(text) {
    console.error(text);
    process.exit(1);
}

// An agent with what came for it; `envelope` is called for each.
function join(id, envelope) {
    return new Promise((resolve) => {
        const socket = new WebSocket(url, options);
        socket.on("error", (error) => fail(`${id}: ${error.message}`));
        socket.on("open", () => socket.send(JSON.stringify({ type: "register", clientId: id, features: ["none"] })));
        socket.on("message", (text) => {
            const message = JSON.parse(text);
            if (message.type === "registered") resolve(socket);
            else if (message.type === "envelope") envelope(message.envelope, socket);
            else fail(`${id}: ${text}`);
        });
    });
}

function send(socket, to, payload) {
    socket.send(JSON.stringify({ type: "envelope", envelope: { to, payload } }));
}

const scenarios = {
    // All sizes around a record's, there and back, the largest a megabyte.
    async "round trip"() {
        const lengths = [];
        for (let i = 0; i < 300; i++) lengths.push(i);
        lengths.push(16100, 16200, 16300, 16383, 16384, 16385, 32768, 65536, 1000000, 3, 2, 1);
        let there = 0, back = 0;
        await join("echo", (envelope, socket) => {
            if (envelope.payload.text.length !== lengths[there++]) fail("out of order on the way there");
            send(socket, "asker", envelope.payload);
        });
        await new Promise(async (resolve) => {
            const asker = await join("asker", (envelope) => {
                if (envelope.payload.text !== "x".repeat(lengths[back++])) fail("out of order on the way back");
                if (back === lengths.length) resolve();
            });
            for (const length of lengths) send(asker, "echo", { text: "x".repeat(length) });
        });
    },

    // A reader that stops for a while gets all that was sent meanwhile, in order.
    async "slow reader"() {
        const count = 3000;
        let next = 0, done;
        const all = new Promise((resolve) => { done = resolve; });
        const reader = await join("reader", (envelope) => {
            if (envelope.payload.i !== next++) fail(`got ${envelope.payload.i} in place of ${next - 1}`);
            if (next === count) done();
        });
        reader.pause();
        let last;
        const echoed = new Promise((resolve) => { last = resolve; });
        const writer = await join("writer", last);
        for (let i = 0; i < count; i++) send(writer, "reader", { i, text: "y".repeat((i * 37) % 9000) });
        send(writer, "writer", {}); // comes back when the bridge has taken the others
        await echoed;
        reader.resume();
        await all;
    },

    // Says "registered", then repeats each line of standard input by an envelope to itself.
    async stay() {
        const socket = await join("stayer", (envelope) => console.log(envelope.payload.line));
        socket.on("close", (code) => console.log(`closed ${code}`));
        console.log("registered");
        require("readline").createInterface({ input: process.stdin })
            .on("line", (line) => (line === "end" ? process.exit(0) : send(socket, "stayer", { line })));
        await new Promise(() => {});
    },

    // Whether the second and the third connection take up the session of the first.
    async resume() {
        const connect = (session) => new Promise((resolve) => {
            let kept = session, reused;
            const socket = tls.connect({ ...options, host: "localhost", servername: "localhost", port, session });
            socket.on("session", (fresh) => { kept = fresh; });
            socket.on("error", (error) => fail(error.message));
            socket.on("secureConnect", () => {
                reused = socket.isSessionReused();
                socket.write("GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
            });
            let text = "";
            socket.on("data", (bytes) => { text += bytes; });
            socket.on("close", () => {
                if (!text.includes("200 OK")) fail(text);
                resolve({ session: kept, reused });
            });
        });
        const first = await connect();
        const second = await connect(first.session);
        const third = await connect(first.session);
        console.log([first, second, third].map((one) => one.reused).join(" "));
    },
};

scenarios[scenario]().then(() => process.exit(0), (error) => fail(error.stack));
