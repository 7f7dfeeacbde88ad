// A boss of the router in JavaScript: gives each argument as a task to a worker that counts, and prints the answers.
//
//   AI_BRIDGE_URL=ws://127.0.0.1:4567 node examples/skill-router/boss.mjs 'one two three' 'four five'
//
// Node before 22 needs the package ws.
import {createRequire} from 'node:module';
import {Agent} from '../clients/javascript/luaduct.js';

const WebSocket = globalThis.WebSocket ?? createRequire(import.meta.url)('ws');
const boss = new Agent(process.env.AI_BRIDGE_URL ?? 'ws://127.0.0.1:4567', {clientId: 'boss', WebSocket});
await boss.connect();
const tasks = process.argv.slice(2).map((text, index) => ({taskId: `t${index + 1}`, skill: 'count', text}));
const answers = await Promise.all(tasks.map((task) => boss.request(
    {intent: 'task.assign', taskId: task.taskId, payload: task}, {timeoutMs: 10000})));
for (const answer of answers) console.log(JSON.stringify(answer.payload));
await boss.close();
