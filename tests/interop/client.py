"""Scenarios of the Python client of examples/clients, the same as in client.mjs. Usage: client.py SCENARIO WS_PORT
HTTP_PORT [anything]; PYTHONPATH names the client's folder."""

import asyncio
import base64
import json
import sys

import websockets
from luaduct import Agent, BridgeError, backoff

scenario, ws_port = sys.argv[1], int(sys.argv[2])
agents = []


def agent(client_id, port=ws_port, **options):
    options = {"shortest_backoff": 0.005, "longest_backoff": 0.05, **options}
    one = Agent(f"ws://127.0.0.1:{port}", client_id=client_id, **options)
    one.on_error = lambda problem: print("unexpected:", problem, file=sys.stderr)
    one.received = []
    agents.append(one)
    return one


async def collect(one):
    async for envelope in one:
        one.received.append(envelope)


async def connected(*parameters, collecting=True, **options):
    one = agent(*parameters, **options)
    await one.connect()
    if collecting:
        one.collector = asyncio.create_task(collect(one))
    return one


async def until(condition):
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


async def refused(code, awaitable):
    try:
        await awaitable
    except BridgeError as problem:
        assert problem.code == code, problem
        return problem
    raise AssertionError(f"nothing was refused with {code}")


def numbers(one):
    return [envelope["payload"]["n"] for envelope in one.received]


class Network:
    """Between client and bridge: cut() ends all connections; after `budget` bytes to the bridge one ends by itself, and
    the next has half as much again; what comes from the bridge while `deaf` never arrives."""

    def __init__(self):
        self.budget = None
        self.deaf = False
        self.connections = 0
        self.writers = set()

    async def start(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    def cut(self):
        for writer in self.writers:
            writer.transport.abort()

    async def serve(self, near_reader, near_writer):
        self.connections += 1
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", ws_port)
        budget = self.budget
        if budget is not None:
            self.budget += budget // 2
        both = {near_writer, far_writer}
        self.writers |= both

        async def pipe(reader, writer, from_bridge):
            nonlocal budget
            try:
                while data := await reader.read(65536):
                    if from_bridge and self.deaf:
                        continue
                    limited = budget is not None and not from_bridge
                    writer.write(data[:max(0, budget)] if limited else data)
                    if limited:
                        budget -= len(data)
                        if budget < 0:
                            break
            except OSError:
                pass
            for one in both:
                one.transport.abort()

        await asyncio.gather(pipe(near_reader, far_writer, False), pipe(far_reader, near_writer, True))
        self.writers -= both


class Scenarios:
    async def send(self):
        ann, ben = await connected("ann", labels=["x"]), await connected("ben")
        assert ann.client["labels"] == ["x"]
        sent = await asyncio.gather(*(ann.send(to="ben", payload={"n": n}) for n in range(200)))
        assert all(envelope["id"] for envelope in sent)
        await until(lambda: len(ben.received) == 200)
        assert numbers(ben) == list(range(200))
        await refused("bad_field", ann.send(to=5))
        await refused("no_recipient", ann.send({"intent": "nobody"}))
        three = await asyncio.gather(ann.send(to="ben"), ann.send(to=[]), ann.send(to="ben"), return_exceptions=True)
        assert [type(one) for one in three] == [dict, BridgeError, dict]

    async def request(self):
        ann, ben = await connected("ann"), await connected("ben", collecting=False)

        async def answer():
            async for envelope in ben:
                if envelope["intent"] == "double":
                    await ben.reply(envelope, {"n": 2 * envelope["payload"]["n"]})

        answering = asyncio.create_task(answer())
        answers = await asyncio.gather(
            *(ann.request(to="ben", intent="double", payload={"n": n}) for n in range(50)))
        assert [answer["payload"]["n"] for answer in answers] == [2 * n for n in range(50)]
        assert all(answer["intent"] == "double" and answer["from"] == "ben" for answer in answers)
        assert ann.received == []
        await refused("timeout", ann.request(to="ben", intent="silence", timeout=0.02))
        await refused("no_recipient", ann.request(to="ben", intent="nobody"))
        await ben.close()
        await answering

    async def history(self):
        ann = await connected("ann")
        for n in range(3):
            await ann.send(to="ben", intent="note", payload={"n": n})
        history = await ann.history(limit=2, agentId="ben")
        assert [envelope["payload"]["n"] for envelope in history] == [1, 2]
        assert [client["id"] for client in await ann.agents()] == ["ann"]
        await refused("bad_request", ann.history(limit="x"))

    async def reconnect(self):
        wire = await Network().start()
        ben, ann = await connected("ben"), await connected("ann", wire.port)
        wire.budget = 2000
        wire.cut()
        sending = []
        for n in range(300):
            sending.append(asyncio.ensure_future(ann.send(to="ben", payload={"n": n})))
            await asyncio.sleep(0.001 if n % 10 == 0 else 0)
        await asyncio.gather(*sending)
        await until(lambda: len(ben.received) >= 300)
        assert numbers(ben) == list(range(300)), numbers(ben)
        assert wire.connections >= 5, wire.connections

    async def acknowledged(self):
        wire = await Network().start()
        ben, ann = await connected("ben"), await connected("ann", wire.port)
        for turn in range(5):
            await asyncio.gather(*(ann.send(to="ben", payload={"n": 10 * turn + n}) for n in range(10)))
            wire.cut()
            await until(lambda: wire.connections == turn + 2)
        await ann.send(to="ben", payload={"n": 50})  # over a sixth connection
        await until(lambda: len(ben.received) == 51)
        assert numbers(ben) == list(range(51))

        # What nobody acknowledged is sent again, with the same id; or not, where that is not wanted.
        careful = await connected("careful", wire.port, resend=False)
        wire.deaf = True
        again = asyncio.create_task(ann.send(to="ben", payload={"n": 51}))
        once = asyncio.create_task(careful.send(to="ben", payload={"n": 52}))
        await until(lambda: len(ben.received) == 53)
        wire.deaf = False
        wire.cut()
        await refused("disconnected", once)
        await again
        await until(lambda: len(ben.received) == 54)
        assert ben.received[53]["payload"]["n"] == 51
        assert ben.received[53]["id"] in (ben.received[51]["id"], ben.received[52]["id"])

    async def silence(self):
        wire = await Network().start()
        ann = await connected("ann", wire.port, heartbeat=0.1)
        wire.deaf = True
        await until(lambda: wire.connections == 2)
        wire.deaf = False
        wire.cut()
        await ann.send(to="ann", payload={"n": 1})
        await until(lambda: len(ann.received) > 0)

    async def absent_bridge(self):
        wire = await Network().start()
        ann = agent("ann", 1, reconnect=False)
        await refused("closed", ann.connect())
        await refused("closed", ann.send(to="ben"))
        ben = agent("ben", wire.port, max_queue=2)
        waiting = [asyncio.ensure_future(ben.send(to="ben", payload={"n": n})) for n in (1, 2)]
        await asyncio.sleep(0)
        await refused("queue_full", ben.send(to="ben"))
        await ben.connect()
        await asyncio.gather(*waiting)
        assert (await ben.receive())["payload"]["n"] == 1
        assert (await ben.receive())["payload"]["n"] == 2

    async def replaced(self):
        older = await connected("twin", collecting=False)
        newer = await connected("twin")
        problem = await refused("closed", older.receive())
        assert problem.status == 4001
        await newer.send(to="twin", payload={"n": 1})
        await until(lambda: len(newer.received) == 1)

    async def token(self):
        await refused("unauthorized", connected("ann", auth_token="wrong"))
        await refused("unauthorized", connected("ann"))
        ann = await connected("ann", auth_token="secret")
        await ann.send(to="ben", payload={"n": 1})
        assert len(await ann.history()) == 1

    async def too_large(self):
        ann = await connected("ann")
        small = asyncio.create_task(ann.send(to="ann", payload={"n": 1}))
        await refused("too_large", ann.send(to="ann", payload="x" * 20000))
        await small
        await ann.send(to="ann", payload={"n": 2})
        await until(lambda: any(envelope["payload"]["n"] == 2 for envelope in ann.received))
        await refused("too_large", ann.request(to="ann", payload="x" * 20000))

    async def rate(self):
        ann = await connected("ann")
        results = await asyncio.gather(*(ann.send(to="ben", payload={"n": n}) for n in range(30)),
                                       return_exceptions=True)
        assert {getattr(one, "code", None) for one in results} == {None, "rate_limited"}

    async def binary(self):
        ann, ben = await connected("ann", binary=True), await connected("ben", binary=True, collecting=False)
        cleo = await connected("cleo", collecting=False)
        data = bytes(range(256))
        await ann.send(payload={"bytes": data, "text": "grüße"})
        assert (await ben.receive())["payload"] == {"bytes": data, "text": "grüße"}
        assert (await cleo.receive())["payload"]["bytes"] == base64.b64encode(data).decode()

        async def answer():
            envelope = await ben.receive()
            await ben.reply(envelope, envelope["payload"])

        answering = asyncio.create_task(answer())
        assert (await ann.request(to="ben", payload=data))["payload"] == data
        await answering
        await refused("bad_field", ann.send(to=5))

    async def mailbox(self):
        ann = await connected("ann")
        await asyncio.gather(*(ann.send(to="ben", payload={"n": n}) for n in range(100)))
        ben = await connected("ben")
        await until(lambda: len(ben.received) == 100)
        assert numbers(ben) == list(range(100))
        await ben.close()
        await ben.collector

    async def retry_hint(self):
        """A bridge that goes away says when to come back."""
        times = []

        async def go_away(socket, *_):
            times.append(asyncio.get_running_loop().time())
            await socket.recv()
            await socket.send(json.dumps({"type": "registered", "client": {"id": "ann", "messageCount": 0},
                                          "history": []}))
            await socket.close(1001, "the bridge is going away; retry in 300 ms")

        async with websockets.serve(go_away, "127.0.0.1", 0) as server:
            ann = await connected("ann", server.sockets[0].getsockname()[1], longest_backoff=1)
            await until(lambda: len(times) == 2)
            assert times[1] - times[0] > 0.29, times
            await ann.close()

    async def backoff(self):
        assert [backoff(n, 100, 1000, lambda: 1) for n in range(5)] == [100, 200, 400, 800, 1000]
        assert [backoff(n, 100, 1000, lambda: 0) for n in range(5)] == [50, 100, 200, 400, 500]
        assert backoff(10 ** 6) <= 30


async def main():
    await getattr(Scenarios(), scenario.replace(" ", "_"))()
    for one in agents:
        await one.close()


asyncio.run(asyncio.wait_for(main(), 40))
