"""A client of Luaduct: an agent on a bridge, with asyncio and the package `websockets` (10 or later).

    async with Agent("ws://localhost:4567", client_id="ann") as agent:
        await agent.send(to="ben", intent="greeting", payload={"text": "hello"})
        answer = await agent.request(to="ben", intent="question", payload="how far is the moon?")
        async for envelope in agent:
            await agent.reply(envelope, {"text": "I heard you"})

What has to be known to change it:

- The bridge answers an envelope only where it refuses it. What is accepted is known by a heartbeat behind it: one
  connection's messages are handled in their order, so `heartbeat_ack` acknowledges all that was sent before the
  heartbeat and not refused. One heartbeat is on its way at a time, whatever number of envelopes it stands for.
  A bridge in original mode has no such answer: there, what was written counts as acknowledged.
- What was not acknowledged when a connection ended is sent again on the next one, with the same id, in order; what was,
  never. A bridge with agents.dedupWindowMs takes the same id once, and says `duplicate` to the second.

docs/protocol.md says what goes over the wire.
"""

import asyncio
import contextlib
import json
import random
import re
import urllib.error
import urllib.parse
import urllib.request
import uuid

import websockets

SUBPROTOCOL = "luaduct.msgpack"
RETRY_HEARTBEAT_S = 1.0  # after one that a rate limit refused


class BridgeError(Exception):
    """Why something failed: `code` is the bridge's (docs/protocol.md), or `timeout`, `closed`, `disconnected`,
    `queue_full`, `bad_answer` of this client. `id` is the envelope's, `status` an HTTP status or a close code."""

    def __init__(self, code, text, id=None, status=None):
        super().__init__(f"{text} ({code})")
        self.code = code
        self.id = id
        self.status = status


def backoff(attempt, shortest=0.25, longest=30.0, chance=random.random):
    """Seconds to wait before the attempt: doubling up to `longest`, and between half and all of that, so that agents
    that lost their bridge together do not come back together."""
    whole = min(longest, shortest * 2 ** min(attempt, 30))
    return whole / 2 + whole / 2 * chance()


class _Sent:
    __slots__ = ("done", "envelope", "socket", "again")

    def __init__(self, envelope):
        self.envelope = envelope
        self.socket = None  # that it was written to last
        self.again = False  # whether to another one before
        self.done = asyncio.get_running_loop().create_future()


def _settle(future, result=None, problem=None):
    if future.done():  # whoever waited has given up
        return
    if problem is None:
        future.set_result(result)
    else:
        future.set_exception(problem)
        future.exception()  # nobody has to wait for it: no complaint when the future goes


def _profile(**fields):
    return {name: value for name, value in fields.items() if value is not None}


class Agent:
    """An agent. Of one event loop, like all of asyncio; times are in seconds.

    client_id           the same over reconnects; a UUID where it is left out
    role, labels, tools, intents, max_concurrent_tasks, auth_token    as in the register message
    binary              True: MessagePack, with the package `msgpack`
    reconnect           False: the first end of a connection is the end of the agent
    shortest_backoff, longest_backoff    between attempts to connect
    connect_timeout     from an attempt to `registered`
    heartbeat           silence after which the bridge is asked for a sign of life; as long again, and it is gone. A
                        script that waits holds up the answer, so longer than that: twice script.suspendMs
    request_timeout     of `request`
    resend              False: what was written and not acknowledged is refused with `disconnected` instead of being
                        sent again
    max_queue           envelopes that may be without an acknowledgement
    ssl                 an ssl.SSLContext, for wss://
    http_url            where HTTP is, when not on the same port
    """

    def __init__(self, url, *, client_id=None, role=None, labels=None, tools=None, intents=None,
                 max_concurrent_tasks=None, auth_token=None, binary=False, reconnect=True, shortest_backoff=0.25,
                 longest_backoff=30.0, connect_timeout=15.0, heartbeat=60.0, request_timeout=30.0, resend=True,
                 max_queue=10000, ssl=None, http_url=None):
        self._url = url
        self._http_url = http_url or "http" + url[2:]
        self._profile = _profile(clientId=client_id or str(uuid.uuid4()), role=role, labels=labels, tools=tools,
                                 intents=intents, maxConcurrentTasks=max_concurrent_tasks, authToken=auth_token)
        self._msgpack = None
        if binary:
            import msgpack  # only those who want it need it

            self._msgpack = msgpack
        self._reconnect = reconnect
        self._backoff = shortest_backoff, longest_backoff
        self._connect_timeout = connect_timeout
        self._heartbeat = heartbeat
        self._request_timeout = request_timeout
        self._resend = resend
        self._max_queue = max_queue
        self._ssl = ssl
        self._socket = None
        self._packed = False
        self._task = None  # the connection's life
        self._ready = None  # a future: registered, or why not
        self._registered = False  # on the socket that there is
        self._flowing = False  # and what had to be sent again is on its way
        self._writers = set()  # tasks: whoever reads must not wait for room to write
        self._unacknowledged = {}  # id to _Sent, in the order of sending
        self._requests = {}  # id to future
        self._barrier = None  # the ids that the heartbeat on its way stands for
        self._barrier_since = 0.0
        self._refusal = None  # the error that came before the connection was closed
        self._inbox = asyncio.Queue()
        self.failure = None  # why it is closed, for good
        self.client = None  # what the bridge said of this agent when it registered last
        self.recent = []  # the newest envelopes that it told then, up to ten
        self.on_error = None  # called with a BridgeError that belongs to nothing that waits

    @property
    def id(self):
        return self._profile["clientId"]

    # ---- life ----

    async def connect(self):
        """Connects and registers. Raises when it is refused, or without `reconnect` when the bridge is not there."""
        if self.failure:
            raise self.failure
        if self._task is None:
            self._ready = asyncio.get_running_loop().create_future()
            self._task = asyncio.create_task(self._live())
        await asyncio.shield(self._ready)
        return self.client

    async def __aenter__(self):
        try:
            await self.connect()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_):
        await self.close()

    async def close(self):
        """Waits until what was sent is acknowledged, and leaves."""
        if self._registered and not self.failure:
            await asyncio.gather(*(sent.done for sent in list(self._unacknowledged.values())), return_exceptions=True)
        if not self.failure:
            self._end(BridgeError("closed", "the agent was closed"))
        if self._socket:
            await self._socket.close()
        if self._task:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _live(self):
        attempt = 0
        while not self.failure:
            status, reason = 1006, ""
            self._refusal = None
            watch = None
            try:
                await asyncio.wait_for(self._open(), self._connect_timeout)
                attempt = 0
                self._spawn(self._resume)
                watch = asyncio.create_task(self._look_for_life())
                while True:
                    self._receive(await self._socket.recv())
            except websockets.exceptions.ConnectionClosed as closed:
                if closed.rcvd:
                    status, reason = closed.rcvd.code, closed.rcvd.reason
            except (OSError, asyncio.TimeoutError, websockets.exceptions.WebSocketException) as problem:
                reason = str(problem)
            finally:
                if watch:
                    watch.cancel()
                await self._leave_socket()
            if self.failure:
                return
            self._disconnected(status, reason)
            if not self.failure:
                shortest, longest = self._backoff
                # A bridge that goes away may say when to come back.
                asked = re.search(r"retry in (\d+) ms", reason) if status == 1001 else None
                if asked:
                    shortest = max(shortest, min(int(asked[1]) / 500, longest))  # half of which is the least
                await asyncio.sleep(backoff(attempt, shortest, longest))
                attempt += 1

    async def _leave_socket(self):
        socket, self._socket, self._barrier = self._socket, None, None
        self._registered = self._flowing = False
        for writer in self._writers:
            writer.cancel()
        if socket:
            transport = getattr(socket, "transport", None)
            if transport:
                transport.abort()  # it is closed, or so silent that its close would take long

    async def _open(self):
        options = {"ssl": self._ssl} if self._ssl else {}
        # The bridge pings; what this side wants to know, it asks by heartbeats.
        self._socket = await websockets.connect(self._url, subprotocols=[SUBPROTOCOL] if self._msgpack else None,
                                                max_size=None, ping_interval=None, open_timeout=None, **options)
        self._packed = self._socket.subprotocol == SUBPROTOCOL
        await self._write({"type": "register", **self._profile, "features": ["batch"]})
        while not self._registered:
            self._receive(await self._socket.recv())

    def _disconnected(self, status, reason):
        if status == 1009:
            self._refuse_largest()
        for id, sent in list(self._unacknowledged.items()):
            sent.again = sent.socket is not None
            if sent.again and not self._resend:
                del self._unacknowledged[id]
                _settle(sent.done, problem=BridgeError(
                    "disconnected", "the connection ended before it was acknowledged", id=id))
        if status == 4001:
            self._end(BridgeError("closed", f"a newer connection registered as {self.id}", status=status))
        elif status == 1008 or not self._reconnect:
            self._end(self._refusal or BridgeError("closed", reason or "the connection ended", status=status))

    def _end(self, problem):
        self.failure = problem
        waiting = [sent.done for sent in self._unacknowledged.values()] + list(self._requests.values())
        self._unacknowledged.clear()
        self._requests.clear()
        for future in waiting:
            _settle(future, problem=problem)
        if self._ready:
            _settle(self._ready, problem=problem)
        self._inbox.put_nowait(None)

    def _refuse_largest(self):
        """The bridge does not say which message was too large. If one was, then the largest."""
        written = [sent for sent in self._unacknowledged.values() if sent.socket]
        if written:
            largest = max(written, key=lambda sent: len(json.dumps(sent.envelope, default=repr)))
            self._refuse(largest.envelope["id"], BridgeError(
                "too_large", "the bridge takes no message of this size", id=largest.envelope["id"]))

    # ---- messages ----

    async def _write(self, message):
        if self._packed:
            await self._socket.send(self._msgpack.packb(message, use_bin_type=True))
        else:
            await self._socket.send(json.dumps(message, ensure_ascii=False, separators=(",", ":")))

    def _spawn(self, write, *arguments):
        async def quietly():
            with contextlib.suppress(websockets.exceptions.ConnectionClosed):  # the reader sees to that
                await write(*arguments)

        task = asyncio.ensure_future(quietly())
        self._writers.add(task)
        task.add_done_callback(self._writers.discard)

    def _receive(self, data):
        try:
            message = json.loads(data) if isinstance(data, str) else self._msgpack.unpackb(data, raw=False)
        except ValueError as problem:
            self._tell(BridgeError("bad_answer", str(problem)))
            return
        kind = message["type"]
        if kind == "envelope":
            self._deliver(message["envelope"])
        elif kind == "batch":
            for envelope in message["envelopes"]:
                self._deliver(envelope)
        elif kind == "registered":
            self._registered = True
            self.client, self.recent = message["client"], message["history"]
        elif kind == "heartbeat_ack":
            self._acknowledged()
        elif kind == "error":
            self._refused(message)

    def _deliver(self, envelope):
        request = self._requests.pop(envelope["replyTo"], None)
        if request:
            _settle(request, envelope)
        else:
            self._inbox.put_nowait(envelope)

    def _tell(self, problem):
        if self.on_error:
            self.on_error(problem)

    # ---- acknowledgements ----

    async def _resume(self):
        socket = self._socket
        if not self._ready.done():
            self._ready.set_result(None)
        while waiting := [sent for sent in self._unacknowledged.values() if sent.socket is not socket]:
            for sent in waiting:
                await self._write_envelope(sent)
                # The first heartbeat goes behind the first envelope: so even a connection that never lasts gets one
                # through.
                await self._ask_behind()
        self._flowing = True

    async def _write_envelope(self, sent):
        sent.socket = self._socket
        await self._write({"type": "envelope", "envelope": sent.envelope})
        # Original mode: its `registered` has no count, and it answers no heartbeat.
        if "messageCount" not in self.client:
            self._take_acknowledged(sent.envelope["id"])

    def _take_acknowledged(self, id):
        sent = self._unacknowledged.pop(id, None)
        if sent:
            _settle(sent.done, sent.envelope)

    async def _ask_behind(self):
        """A heartbeat behind all that was written so far, if none is on its way."""
        if self._registered and self._barrier is None and self._unacknowledged:
            await self._ask()

    async def _ask(self):
        self._barrier = [id for id, sent in self._unacknowledged.items() if sent.socket is self._socket]
        self._barrier_since = asyncio.get_running_loop().time()
        await self._write({"type": "heartbeat"})

    def _acknowledged(self):
        barrier, self._barrier = self._barrier, None
        for id in barrier or ():
            self._take_acknowledged(id)
        self._spawn(self._ask_behind)

    async def _look_for_life(self):
        while True:
            await asyncio.sleep(self._heartbeat)
            if "messageCount" not in self.client:
                await self._write({"type": "heartbeat"})  # a sign of life from here
            elif self._barrier is None:
                await self._ask()
            elif asyncio.get_running_loop().time() - self._barrier_since >= self._heartbeat:
                self._socket.transport.abort()  # recv() raises

    def _refuse(self, id, problem):
        sent, request = self._unacknowledged.pop(id, None), self._requests.pop(id, None)
        for future in (sent and sent.done, request):
            if future:
                _settle(future, problem=problem)

    def _refused(self, message):
        id = message.get("id")
        problem = BridgeError(message["code"], message["error"], id=id)
        if not self._registered:
            self._refusal = problem
            return
        sent = self._unacknowledged.get(id)
        if sent and sent.again and problem.code == "duplicate":
            self._take_acknowledged(id)  # it was accepted before the connection broke
        elif sent or id in self._requests:
            self._refuse(id, problem)
        elif problem.code == "rate_limited" and id is None and self._barrier is not None:
            # The heartbeat itself: nothing else of this client's has no id.
            asyncio.get_running_loop().call_later(RETRY_HEARTBEAT_S, self._ask_again, self._barrier)
        else:
            self._refusal = problem
            self._tell(problem)

    def _ask_again(self, barrier):
        if self._registered and self._barrier is barrier:
            self._spawn(self._write, {"type": "heartbeat"})

    # ---- what an agent does ----

    async def send(self, envelope=None, **fields):
        """Sends an envelope: a dict, fields by name (`to`, `intent`, `payload`, …), or both; absent ones take the
        bridge's defaults. Returns it, `id` filled in, once the bridge has taken it; raises BridgeError with the code
        when it was refused. Without a connection it waits for one."""
        return await asyncio.shield((await self._post({**(envelope or {}), **fields})).done)

    async def _post(self, envelope):
        if self.failure:
            raise self.failure
        if len(self._unacknowledged) >= self._max_queue:
            raise BridgeError("queue_full", f"{self._max_queue} envelopes wait already")
        envelope.setdefault("id", str(uuid.uuid4()))
        if envelope["id"] in self._unacknowledged:
            raise BridgeError("duplicate", "an envelope with this id waits already", id=envelope["id"])
        sent = self._unacknowledged[envelope["id"]] = _Sent(envelope)
        if self._flowing:
            with contextlib.suppress(websockets.exceptions.ConnectionClosed):  # then the next connection sends it
                await self._write_envelope(sent)
                await self._ask_behind()
        return sent

    async def request(self, envelope=None, *, timeout=None, **fields):
        """Sends an envelope and returns the one that answers it (`replyTo` is its id). Raises BridgeError with the code
        when it is refused, with `timeout` when nobody answers in time."""
        envelope = {"id": str(uuid.uuid4()), **(envelope or {}), **fields}
        id = envelope["id"]
        timeout = self._request_timeout if timeout is None else timeout
        answered = self._requests[id] = asyncio.get_running_loop().create_future()
        try:
            sent = await self._post(envelope)
            return await asyncio.wait_for(answered, timeout)
        except asyncio.TimeoutError:
            if not sent.socket:  # nobody would wait for the answer
                self._unacknowledged.pop(id, None)
            raise BridgeError("timeout", f"no answer within {timeout} s", id=id) from None
        finally:
            self._requests.pop(id, None)

    async def reply(self, envelope, payload, **fields):
        """Answers an envelope: to its sender, with its intent, task and channel unless `fields` say otherwise."""
        kept = {name: envelope[name] for name in ("intent", "taskId", "channel")}
        return await self.send({**kept, **fields, "to": envelope["from"], "replyTo": envelope["id"],
                                "payload": payload})

    async def receive(self):
        """The next envelope that answers no request. Raises `failure` when the agent is closed."""
        envelope = await self._inbox.get()
        if envelope is None:
            self._inbox.put_nowait(None)  # for the next one who asks
            raise self.failure
        return envelope

    def __aiter__(self):
        return self

    async def __anext__(self):
        """Ends when the agent was closed; raises when the bridge ended it."""
        try:
            return await self.receive()
        except BridgeError as problem:
            if problem.code == "closed" and problem.status is None:
                raise StopAsyncIteration from None
            raise

    async def history(self, **query):
        """The newest envelopes that the bridge keeps, oldest first: limit, agentId, taskId, intent select."""
        return (await asyncio.to_thread(self._get, "/history", query))["history"]

    async def agents(self):
        """Who is connected."""
        return (await asyncio.to_thread(self._get, "/agents", {}))["agents"]

    def _get(self, path, query):
        url = urllib.parse.urljoin(self._http_url, path)
        if query:
            url += "?" + urllib.parse.urlencode(query)
        request = urllib.request.Request(url)
        if "authToken" in self._profile:
            request.add_header("Authorization", "Bearer " + self._profile["authToken"])
        try:
            with urllib.request.urlopen(request, context=self._ssl, timeout=self._request_timeout) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as refused:
            body = json.load(refused)
            raise BridgeError(body["code"], body["error"], status=refused.code) from None
