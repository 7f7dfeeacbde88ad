// bun server.js PORT [CERT KEY]: the same job on Bun's own server, which is uWebSockets inside. An envelope becomes text once; a
// broadcast is one publish, which leaves the batching to the server. No compression, no mailboxes, no HTTP API.
import { randomUUID } from 'node:crypto';

const HISTORY_LIMIT = 500;
const EVERYONE = 'everyone';
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
  const sender = socket.data.client;
  if (!sender) return refuse(socket, 'not_registered', 'register first');
  if (typeof sent !== 'object' || sent === null) return refuse(socket, 'bad_field', 'envelope is not an object');
  if (sent.to != null && typeof sent.to !== 'string') return refuse(socket, 'bad_field', 'to is not a string');
  const envelope = complete(sent, sender);
  remember(envelope);
  const text = JSON.stringify({ type: 'envelope', envelope });
  if (envelope.to === null) {
    socket.publish(EVERYONE, text); // to all subscribers but this one
    return;
  }
  const recipient = clients.get(envelope.to);
  if (recipient) recipient.send(text);
  else refuse(socket, 'no_recipient', `${envelope.to} is not connected`);
}

function onRegister(socket, message) {
  const id = message.clientId ?? randomUUID();
  socket.data.client = { id, role: message.role ?? 'agent', connectedAt: new Date().toISOString() };
  clients.set(id, socket);
  socket.subscribe(EVERYONE);
  socket.send(JSON.stringify({ type: 'registered', client: socket.data.client, history: newest(10) }));
}

const [port, cert, key] = process.argv.slice(2);
Bun.serve({
  hostname: '127.0.0.1',
  port: Number(port),
  tls: cert ? { cert: Bun.file(cert), key: Bun.file(key) } : undefined,
  fetch(request, server) {
    if (server.upgrade(request, { data: { client: null } })) return undefined;
    return new Response('a WebSocket upgrade is needed', { status: 426 });
  },
  websocket: {
    perMessageDeflate: false,
    maxPayloadLength: 1 << 20,
    backpressureLimit: 64 << 20, // a slow reader's messages wait here; past it Bun would drop them
    message(socket, data) {
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
    },
    close(socket) {
      const { client } = socket.data;
      if (client && clients.get(client.id) === socket) clients.delete(client.id);
    },
  },
});
