"""Agents on a LangGraph server, whose requests are waited for, streamed, and resumed.

Needs ``pip install 'langgraph-cli[inmem]'``, which is not among the packages of the other tests.
"""

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
from importlib.util import find_spec

import pytest
from langgraph_sdk import get_client

from detailed_balance import read_runs
from detailed_balance.analyzers import END, START
from detailed_balance.analyzers.errors import ReadError
from tests.support.agents import path

pytestmark = pytest.mark.skipif(
    find_spec("langgraph_cli") is None or find_spec("langgraph_api") is None,
    reason="needs langgraph-cli[inmem]",
)

AGENT = """
import operator
from typing import Annotated, TypedDict

import detailed_balance
from langgraph.graph import END, START, StateGraph
from langgraph.types import interrupt


class State(TypedDict):
    log: Annotated[list[str], operator.add]


def plan(state):
    return {"log": ["plan"]}


def ask(state):
    return {"log": [interrupt("?") for _ in range(3)]}


def act(state):
    return {"log": ["act"]}


graph = StateGraph(State)
for node in (plan, ask, act):
    graph.add_node(node)
for edge in ((START, "plan"), ("plan", "ask"), ("ask", "act"), ("act", END)):
    graph.add_edge(*edge)
agent = graph.compile()
"""


@pytest.fixture
def server(tmp_path):
    """Return the address of a server and the store that it records into."""
    (tmp_path / "agent.py").write_text(AGENT)
    settings = {"dependencies": ["."], "graphs": {"agent": "./agent.py:agent"}}
    (tmp_path / "langgraph.json").write_text(json.dumps(settings))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "DETAILED_BALANCE_STORE": str(tmp_path / "runs.db")}
    command = [sys.executable, "-m", "langgraph_cli", "dev", "--no-browser", "--no-reload"]
    log = (tmp_path / "log").open("wb")
    process = subprocess.Popen(
        [*command, "--port", str(port)],
        cwd=tmp_path,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
    )
    try:
        asyncio.run(_wait_for(process, port))
        yield f"http://127.0.0.1:{port}", f"sqlite:///{tmp_path}/runs.db"
    finally:
        process.terminate()
        process.wait()
        log.close()


async def _wait_for(process, port):
    client = get_client(url=f"http://127.0.0.1:{port}")
    while process.poll() is None:
        try:
            await client.assistants.search()
            return
        except Exception:
            await asyncio.sleep(0.5)
    raise AssertionError("the server has stopped")


async def _drive(url):
    client = get_client(url=url)
    given = {"input": {"log": []}}
    waited, streamed = await client.threads.create(), await client.threads.create()
    await client.runs.wait(waited["thread_id"], "agent", **given)
    async for _ in client.runs.stream(streamed["thread_id"], "agent", **given):
        pass
    for number in range(3):
        resume = {"command": {"resume": str(number)}}
        await client.runs.wait(waited["thread_id"], "agent", **resume)
        async for _ in client.runs.stream(streamed["thread_id"], "agent", **resume):
            pass
    return {waited["thread_id"], streamed["thread_id"]}


def test_a_thread_that_is_resumed_three_times_on_a_server_is_one_run(server):
    url, store = server
    threads = asyncio.run(_drive(url))
    runs = []
    while sum(run.outcome == "ended" for run in runs) < 2:  # the server writes a moment later
        with contextlib.suppress(ReadError):
            runs = read_runs(store)
    assert {run.thread for run in runs} == threads
    assert [list(run.moves) for run in runs] == 2 * [path(START, "plan", "ask", "act", END)]
