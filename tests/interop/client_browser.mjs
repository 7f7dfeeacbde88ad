// The JavaScript client in a browser: a page loads it as it is, and talks to another agent.
// Usage: node client_browser.mjs WS_PORT MODULES
import assert from 'node:assert';
import fs from 'node:fs';
import http from 'node:http';
import {createRequire} from 'node:module';

const [, , wsPort, modules] = process.argv;
process.env.NODE_PATH = modules;
const require = createRequire(import.meta.url);
require('node:module').Module._initPaths(); // NODE_PATH, for what the other file requires
const {launch} = require('../console/browser.js');

const FILES = {
    '/': ['text/html', '<!doctype html><title>agent</title>'],
    '/luaduct.js': ['text/javascript', fs.readFileSync('examples/clients/javascript/luaduct.js')],
};
const server = http.createServer((request, answer) => {
    const [type, body] = FILES[request.url] ?? ['text/plain', ''];
    answer.writeHead(FILES[request.url] ? 200 : 404, {'Content-Type': type});
    answer.end(body);
});
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));

const browser = await launch();
try {
    const page = await browser.newPage();
    await page.goto(`http://127.0.0.1:${server.address().port}/`);
    const result = await page.evaluate(async (port) => {
        const {Agent} = await import('/luaduct.js');
        const url = `ws://127.0.0.1:${port}`;
        const [ann, ben] = [new Agent(url, {clientId: 'ann'}), new Agent(url, {clientId: 'ben'})];
        ben.on('envelope', (envelope) => ben.reply(envelope, {heard: envelope.payload}));
        await Promise.all([ann.connect(), ben.connect()]);
        const answer = await ann.request({to: 'ben', payload: 'grüße'}, {timeoutMs: 10000});
        const refused = await ann.send({to: 5}).catch((problem) => problem.code);
        const history = await ann.history({limit: 1});
        await Promise.all([ann.close(), ben.close()]);
        return {payload: answer.payload, refused, history: history.length, state: ann.state};
    }, wsPort);
    assert.deepStrictEqual(result, {payload: {heard: 'grüße'}, refused: 'bad_field', history: 1, state: 'closed'});
} finally {
    await browser.close();
    server.close();
}
