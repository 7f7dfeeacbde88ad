// docs/openapi.yaml against a running bridge: it is valid, names each path and method that the bridge has and no other,
// and what the bridge answers is what it describes, member by member.
// Usage: node openapi.mjs HTTP_PORT MODULES SCRIPT
import assert from 'node:assert';
import fs from 'node:fs';
import {createRequire} from 'node:module';
import http from 'node:http';
import {pathToFileURL} from 'node:url';

const [, , port, modules, script] = process.argv;
const require = createRequire(`${modules}/`);
const Ajv = require('ajv/dist/2020').default;
const addFormats = require('ajv-formats').default;
const YAML = require('yaml');
const {Validator} = await import(pathToFileURL(require.resolve('@seriousme/openapi-schema-validator')));

const text = fs.readFileSync('docs/openapi.yaml', 'utf8');
const document = YAML.parse(text, {maxAliasCount: -1});

const validity = await new Validator().validate(structuredClone(document));
assert.ok(validity.valid, JSON.stringify(validity.errors, null, 1));

// Readers must take members that later versions add; here each has to be described.
function close(schema) {
    if (Array.isArray(schema)) schema.forEach(close);
    if (typeof schema !== 'object' || schema === null || Array.isArray(schema)) return;
    if (schema.properties && schema.additionalProperties === undefined) schema.additionalProperties = false;
    Object.values(schema).forEach(close);
}
const closed = JSON.parse(JSON.stringify(document));
close(closed.components.schemas);
close(closed.components.responses);
close(closed.paths);
closed.$id = 'http://luaduct/';

const ajv = new Ajv({strict: false, allErrors: true});
addFormats(ajv);
ajv.addSchema(closed);
const pointer = (...names) => 'http://luaduct/#/' + names.map((name) => encodeURIComponent(
    String(name).replaceAll('~', '~0').replaceAll('/', '~1'))).join('/');

const METHODS = ['get', 'post', 'put', 'delete', 'patch'];
const source = fs.readFileSync('lua/luaduct/http/init.lua', 'utf8');
const operations = Object.entries(document.paths).flatMap(([path, item]) => Object.keys(item).map((method) => [method, path]));

// ---- the same paths and methods as the bridge ----

const routes = {};
for (const [, path, methods] of source.matchAll(/\n {4}\["(\/[^"]*)"\] = \{(.*)\},/g)) {
    routes[path] = [...methods.matchAll(/\b([A-Z]{3,}) = /g)].map((match) => match[1].toLowerCase()).sort();
}
// What only browsers ask for: the page of operators.
for (const path of Object.keys(routes)) if (path.startsWith('/console')) delete routes[path];
const described = {};
for (const [method, path] of operations) described[path] = [...(described[path] ?? []), method].sort();
assert.deepStrictEqual(described, routes, 'docs/openapi.yaml and lua/luaduct/http/init.lua have different paths or methods');

const codes = fs.readFileSync('docs/protocol.md', 'utf8').match(/\n## Codes\n[^]*?\n## /)[0]
    .split('\n').filter((line) => line.startsWith('| `')).flatMap((line) => [...line.split('|')[1].matchAll(/`(\w+)`/g)].map((match) => match[1]));
assert.deepStrictEqual([...document.components.schemas.Code.enum].sort(), codes.sort());

// ---- what it answers ----

const agent = new http.Agent({keepAlive: true});

function request(method, path, body, headers = {}) {
    return new Promise((resolve, reject) => {
        const sent = http.request({agent, port, path, method: method.toUpperCase(), headers: {Accept: 'application/json', ...headers}},
            (answer) => {
                if (answer.headers['content-type']?.startsWith('text/event-stream')) { // it would never end
                    resolve({status: answer.statusCode, headers: answer.headers, body: ''});
                    answer.destroy();
                    return;
                }
                const parts = [];
                answer.on('data', (part) => parts.push(part));
                answer.on('end', () => resolve({
                    status: answer.statusCode, headers: answer.headers, body: Buffer.concat(parts).toString(),
                }));
            });
        sent.on('error', reject);
        sent.end(body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body));
    });
}

const seen = new Set();

function resolved(value) {
    const path = value.$ref?.split('/').slice(1);
    return path ? [path.reduce((node, name) => node[name], document), path] : [value, null];
}

async function call(status, method, path, body, headers) {
    const [bare] = path.split('?');
    const answer = await request(method, path, body, headers);
    const where = `${method} ${path}: ${answer.status} ${answer.body.slice(0, 300)}`;
    assert.strictEqual(answer.status, status, where);
    const operation = document.paths[bare][method];
    const which = operation.responses[status] ? status : 'default';
    const [response, path_] = resolved(operation.responses[which]);
    const type = answer.headers['content-type'].split(';')[0];
    assert.ok(response.content[type], `${where}: ${type} is not described`);
    if (type === 'application/json') {
        const inside = ['content', type, 'schema'];
        const validate = ajv.getSchema(path_ ? pointer(...path_, ...inside)
            : pointer('paths', bare, method, 'responses', which, ...inside));
        const value = JSON.parse(answer.body);
        assert.ok(validate(value), `${where}\n${JSON.stringify(validate.errors, null, 1)}`);
        seen.add(`${method} ${bare} ${which}`);
        return value;
    }
    seen.add(`${method} ${bare} ${which}`);
    return answer.body;
}

// What a body may be is described too: examples have to be good.
for (const [method, path] of operations) {
    const media = document.paths[path][method].requestBody?.content['application/json'];
    if (media?.example) {
        const validate = ajv.getSchema(pointer('paths', path, method, 'requestBody', 'content', 'application/json', 'schema'));
        assert.ok(validate(media.example), JSON.stringify(validate.errors));
    }
}

for (const path of ['/send', '/broadcast']) {
    const to = path === '/send' ? {to: 'alice'} : {};
    await call(202, 'post', path, {...to, taskId: 't1', payload: {n: 1}});
    await call(200, 'post', path, {...to, intent: 'drop'});
    await call(400, 'post', path, '{');
    await call(400, 'post', path, {...to, intent: 5});
    await call(403, 'post', path, {...to}, {Origin: 'http://elsewhere.example'});
    await call(404, 'post', path, {...to, intent: 'nobody'});
    await call(202, 'post', path, {...to, id: `twice-${path}`});
    await call(409, 'post', path, {...to, id: `twice-${path}`});
    await call(410, 'post', path, {...to, context: {expiresAt: '2001-01-01T00:00:00Z'}});
    await call(413, 'post', path, {...to, payload: 'x'.repeat(40000)});
    await call(503, 'post', path, {...to, intent: 'fail'});
    await call(507, 'post', path, {...to, intent: 'full'});
}
await call(400, 'post', '/send', {});

assert.strictEqual((await call(200, 'get', '/agents')).agents.length, 1);
assert.ok((await call(200, 'get', '/history?limit=3&agentId=alice')).history.length > 0);
await call(400, 'get', '/history?limit=x');
assert.strictEqual((await call(200, 'get', '/tasks')).tasks[0].taskId, 't1');
await call(200, 'get', '/health');
await call(200, 'get', '/ready');
await call(200, 'get', '/api/status');
await call(200, 'get', '/optimization');
await call(200, 'get', '/metrics');
assert.ok((await call(200, 'get', '/metrics', undefined, {Accept: 'text/plain'})).startsWith('# HELP luaduct_'));
await call(200, 'get', '/metrics/history');
while ((await call(200, 'get', '/metrics/history?seconds=5')).samples.length === 0) await new Promise((resolve) => setTimeout(resolve, 20));
await call(400, 'get', '/metrics/history?seconds=601');
while ((await call(200, 'get', '/alerts')).alerts.length === 0) await new Promise((resolve) => setTimeout(resolve, 20));

await call(200, 'get', '/events?kinds=agent');
await call(400, 'get', '/events?kinds=nothing');
await call(403, 'get', '/events', undefined, {Origin: 'http://elsewhere.example'});
await call(200, 'get', '/admin/trace?agent=alice');

await call(200, 'post', '/workers/execute', {operation: 'hash', data: {text: 'x'}});
await call(400, 'post', '/workers/execute', {operation: 'no such'});
await call(403, 'post', '/workers/execute', {operation: 'hash'}, {Origin: 'http://elsewhere.example'});
await call(413, 'post', '/workers/execute', {operation: 'hash', data: {text: 'x'.repeat(70000)}});
await call(422, 'post', '/workers/execute', {operation: 'hash', data: 5});
await call(504, 'post', '/workers/execute', {operation: 'endless', timeoutMs: 20});

const state = async () => (await call(200, 'get', '/admin/engines')).engines.workerPool.state;
await call(400, 'post', '/admin/engines', {workerPool: 'perhaps'});
await call(202, 'post', '/admin/engines', {workerPool: false});
while (await state() !== 'off') await new Promise((resolve) => setTimeout(resolve, 10));
await call(503, 'post', '/workers/execute', {operation: 'hash', data: {text: 'x'}});
await call(202, 'post', '/admin/engines', {workerPool: true});
await call(202, 'post', '/admin/gc');
await call(403, 'post', '/admin/gc', undefined, {Origin: 'http://elsewhere.example'});

assert.strictEqual((await call(200, 'get', '/admin/canary')).state, 'none');
const first = await call(200, 'post', '/admin/reload');
await call(404, 'post', '/admin/reload', {to: 999});
const good = fs.readFileSync(script);
fs.writeFileSync(script, 'return {');
await call(422, 'post', '/admin/reload');
fs.writeFileSync(script, good);
for (const verb of ['promote', 'abort']) {
    const {version} = await call(200, 'post', '/admin/reload', {shadow: true});
    assert.ok(version > first.version);
    await call(409, 'post', '/admin/reload');
    assert.strictEqual((await call(200, 'get', '/admin/canary')).state, 'running');
    while ((await call(200, 'get', '/admin/canary/diff')).differences.length === 0) {
        await call(202, 'post', '/send', {to: 'alice', intent: 'version'}); // decided by when a version was loaded
    }
    await call(200, 'post', `/admin/canary/${verb}`);
    assert.notStrictEqual((await call(200, 'get', '/admin/canary')).state, 'running');
    await call(404, 'post', `/admin/canary/${verb}`);
}
assert.ok((await call(200, 'get', '/admin/scripts')).versions.length >= 4);

assert.ok((await call(200, 'get', '/admin/scripts/sources?version=1')).files.length > 0);
await call(404, 'get', '/admin/scripts/sources?version=999');
await call(400, 'get', '/admin/scripts/sources?version=x');
await call(200, 'get', '/admin/log');
await call(200, 'post', '/admin/log', {rooms: {tls: 'debug', agent: null}});
await call(400, 'post', '/admin/log', {level: 'loud'});

await call(200, 'post', '/admin/repl', {line: '#agents()'});
await call(200, 'post', '/admin/repl', {line: 'error("x")'});
await call(400, 'post', '/admin/repl', {line: 5});

const lines = await call(200, 'get', '/admin/export');
await call(200, 'post', '/admin/import?line=1', lines);
await call(400, 'post', '/admin/import?line=x', lines);
await call(202, 'post', '/admin/disconnect', {agent: 'alice'});
await call(404, 'post', '/admin/disconnect', {agent: 'nobody'});
await call(400, 'post', '/admin/disconnect', {});

// ---- what it may be asked: names, and the ends of numbers ----

// What a refusal says that it expected, where it names that: "expected agent, intent, id or pace as a parameter".
const named = (answer, what) => {
    const names = answer.status === 400 && JSON.parse(answer.body).error.match(`expected ([\\w, ]+?) as a ${what}`)?.[1];
    return names ? names.split(/, | or /).sort() : null;
};
let compared = 0;
for (const [method, path] of operations) {
    const operation = document.paths[path][method];
    const parameters = (operation.parameters ?? []).map((each) => resolved(each)[0]);
    if (method !== 'get' && parameters.length === 0 && !operation.requestBody) continue; // it would be done
    const needed = parameters.filter((each) => each.required).map((each) => `&${each.name}=1`).join('');
    const known = named(await request(method, `${path}?nonsense=1${needed}`), 'parameter');
    if (known) assert.deepStrictEqual(parameters.map((each) => each.name).sort(), known, `${method} ${path}`);
    compared += known ? 1 : 0;
    for (const {name, schema} of parameters.filter((each) => method === 'get' && each.schema.type === 'integer')) {
        const status = async (value) => (await request(method, `${path}?${name}=${value}`)).status;
        for (const wrong of [schema.minimum - 1, schema.maximum + 1].filter(Number.isFinite)) {
            assert.strictEqual(await status(wrong), 400, `${method} ${path}?${name}=${wrong}`);
        }
        for (const right of [schema.minimum, schema.maximum].filter(Number.isFinite)) {
            assert.notStrictEqual(await status(right), 400, `${method} ${path}?${name}=${right}`);
        }
        compared++;
    }
    const body = operation.requestBody?.content['application/json']?.schema;
    if (!body) continue;
    const [schema] = resolved(body);
    const keys = named(await request(method, path, {nonsense: 1}), 'key');
    if (keys) assert.deepStrictEqual(Object.keys(schema.properties).sort(), keys, `${method} ${path}`);
    compared += keys ? 1 : 0;
}
assert.ok(compared >= 5, `${compared}`);
const percent = document.paths['/admin/reload'].post.requestBody.content['application/json'].schema.properties.canary.properties.percent;
for (const wrong of [0, percent.minimum / 2, percent.maximum + 1]) {
    await call(400, 'post', '/admin/reload', {canary: {percent: wrong}});
}
await call(200, 'post', '/admin/reload', {canary: {percent: percent.minimum}});
await call(200, 'post', '/admin/canary/abort');
await call(202, 'post', '/admin/engines', {});

// ---- and to whom it says no ----

for (const path of Object.keys(document.paths)) {
    const answer = await request('put', path);
    assert.strictEqual(answer.status, 405, path);
    const allowed = answer.headers.allow.split(', ').map((name) => name.toLowerCase());
    assert.deepStrictEqual(allowed.filter((name) => METHODS.includes(name)).sort(), described[path], path);
    assert.strictEqual((await request('options', path)).status, 204);
    assert.ok(document.paths[path][described[path][0]].responses.default, `${path} describes no refusals`);
}
assert.strictEqual(JSON.parse((await request('get', '/nowhere')).body).code, 'not_found');

await call(202, 'post', '/admin/drain'); // nothing is answered for long after it

// What a status needs that a healthy bridge is not: a drain, memory that is critical, a hundred listeners.
const TROUBLE = new Set(['get /ready 503', 'get /events 503', 'get /admin/trace 503', 'post /admin/repl 503']);
const unseen = operations.flatMap(([method, path]) => Object.keys(document.paths[path][method].responses)
    .filter((status) => status !== 'default').map((status) => `${method} ${path} ${status}`))
    .filter((name) => !seen.has(name) && !TROUBLE.has(name));
assert.deepStrictEqual(unseen, [], 'described, but never seen');
process.exit(0);
