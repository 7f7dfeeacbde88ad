// node server.js PORT [CERT KEY]: what a careful author writes for this job on Node.js with ws. It parses every message, checks the
// types that it relies on, fills the 15 fields, keeps a history ring and forwards. An envelope becomes text once, and that
// text bytes once, however many agents receive it. No compression, no mailboxes, no HTTP API.
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer as createPlain } from 'node:http';
import { createServer as createSecure } from 'node:https';
import { WebSocketServer } from 'ws';

const HISTORY_LIMIT = 500;
const clients = new Map();
const history = new Array(HISTORY_LIMIT);
let historyNext = 0;

function remember(envelope) {
  history[historyNext] = envelope;
  historyNext = (historyNext + 1) % HISTORY_LIMIT;
}

function newest(count) {
  const found = [];
  for (let back = count; back >= 1; back--) {
    const envelope = history[(historyNext - back + HISTORY_LIMIT) % HISTORY_LIMIT];
    if (envelope) found.push(envelope);
  }
  return found;
}

function refuse(socket, code, text) {
  socket.send(JSON.stringify({ type: 'error', error: text, code }));
}

function complete(sent, sender) {
  return {
    id: sent.id ?? randomUUID(),
    timestamp: sent.timestamp ?? new Date().toISOString(),
    intent: sent.intent ?? 'agent.message',
    taskId: sent.taskId ?? null,
    channel: sent.channel ?? 'default',
    priority: sent.priority ?? 'normal',
    from: sent.from ?? sender.id,
    role: sent.role ?? sender.role,
    to: sent.to ?? null,
    replyTo: sent.replyTo ?? null,
    context: sent.context ?? {},
    payload: sent.payload ?? {},
    tools: sent.tools ?? [],
    attachments: sent.attachments ?? [],
    trace: sent.trace ?? {},
  };
}

function onEnvelope(socket, sent) {
  const sender = socket.client;
  if (!sender) return refuse(socket, 'not_registered', 'register first');
  if (typeof sent !== 'object' || sent === null) return refuse(socket, 'bad_field', 'envelope is not an object');
  if (sent.to != null && typeof sent.to !== 'string') return refuse(socket, 'bad_field', 'to is not a string');
  const envelope = complete(sent, sender);
  remember(envelope);
  const frame = Buffer.from(JSON.stringify({ type: 'envelope', envelope }));
  if (envelope.to !== null) {
    const recipient = clients.get(envelope.to);
    if (recipient) recipient.send(frame, { binary: false });
    else refuse(socket, 'no_recipient', `${envelope.to} is not connected`);
    return;
  }
  for (const recipient of clients.values()) {
    if (recipient !== socket) recipient.send(frame, { binary: false });
  }
}

function onRegister(socket, message) {
  const id = message.clientId ?? randomUUID();
  socket.client = { id, role: message.role ?? 'agent', connectedAt: new Date().toISOString() };
  clients.set(id, socket);
  socket.send(JSON.stringify({ type: 'registered', client: socket.client, history: newest(10) }));
}

const [port, cert, key] = process.argv.slice(2);
const http = cert ? createSecure({ cert: readFileSync(cert), key: readFileSync(key) }) : createPlain();
http.listen({ host: '127.0.0.1', port: Number(port), backlog: 4096 });
const server = new WebSocketServer({ server: http, perMessageDeflate: false, maxPayload: 1 << 20 });

server.on('connection', (socket) => {
  socket.client = null;
  socket.on('message', (data) => {
    let message;
    try {
      message = JSON.parse(data);
    } catch {
      return refuse(socket, 'bad_json', 'not JSON');
    }
    if (message?.type === 'envelope') onEnvelope(socket, message.envelope);
    else if (message?.type === 'register') onRegister(socket, message);
    else if (message?.type === 'heartbeat') socket.send('{"type":"heartbeat_ack"}');
    else refuse(socket, 'bad_message', 'unknown type');
  });
  socket.on('close', () => {
    if (socket.client && clients.get(socket.client.id) === socket) clients.delete(socket.client.id);
  });
  socket.on('error', () => socket.terminate());
});
