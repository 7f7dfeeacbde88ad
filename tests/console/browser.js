// Debian's Chromium without a screen, and agents to look at.
'use strict';
const {chromium} = require('playwright-core');
const WebSocket = require('ws');

const EXECUTABLE = process.env.LUADUCT_CHROMIUM || '/usr/bin/chromium';

// The sandbox wants user namespaces, which root in a container has not.
exports.launch = () => chromium.launch({
    executablePath: EXECUTABLE,
    args: ['--no-sandbox', '--disable-dev-shm-usage', '--disable-gpu', '--no-first-run'],
});

// Resolves when it is registered; `envelopes` are those that it got.
exports.connect = (port, register) => new Promise((resolve, reject) => {
    const socket = new WebSocket(`ws://127.0.0.1:${port}`);
    const agent = {socket, envelopes: [], closed: new Promise((close) => socket.on('close', close))};
    agent.send = (envelope) => socket.send(JSON.stringify({type: 'envelope', envelope}));
    socket.on('open', () => socket.send(JSON.stringify({type: 'register', ...register})));
    socket.on('error', reject);
    socket.on('close', (code, reason) => reject(new Error(`closed with ${code}: ${reason}`)));
    socket.on('message', (text) => {
        const message = JSON.parse(text);
        if (message.type === 'registered') resolve(agent);
        else if (message.type === 'envelope') agent.envelopes.push(message.envelope);
        else if (message.type === 'error') agent.error = message;
    });
});
