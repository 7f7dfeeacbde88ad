"""A worker of the router in Python: counts words.

    python3 examples/skill-router/worker.py NAME [URL]
"""
import asyncio
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "clients" / "python"))
from luaduct import Agent


async def main(name, url="ws://127.0.0.1:4567"):
    async with Agent(url, client_id=name, role="worker", labels=["count"]) as worker:
        async for task in worker:
            if task["intent"] == "task.assign":
                # An LLM agent would call its model here.
                words = len(task["payload"]["text"].split())
                await worker.reply(task, {"taskId": task["payload"].get("taskId"), "result": f"{words} words",
                                          "by": name}, intent="task.complete")


asyncio.run(main(*sys.argv[1:]))
