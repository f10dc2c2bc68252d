"""What the code in the documentation speaks of: small made-up files, and names."""

import csv
import gzip
import json
import os
import random
import runpy
import shutil
import sys
from contextlib import chdir, redirect_stdout
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from detailed_balance import Transition, TransitionStore, read_runs
from detailed_balance.analyzers import END, START, Outcome, estimate_potential
from detailed_balance.callbacks import Ending
from examples.paper import DATA
from examples.paper.chains import sample, smollm2

EXAMPLES = DATA.parents[1]
GIVEN_RUNS = (
    *("docs/paper/action.md", "docs/how-to/guard.md"),
    *("docs/explanation/guard.md", "docs/explanation/statistics.md"),
)
"""Pages whose code speaks of `runs`, `counts` and `potential`."""
STATES = ("plan", "search", "draft", "check")
JUNE_29, JUNE_30 = 1_751_155_200.0, 1_751_241_600.0  # of 2025
APPLICATION = """\
from langgraph.graph import StateGraph

graph = StateGraph(dict)
graph.add_node("plan", lambda state: state)
graph.add_edge("__start__", "plan")
graph.compile().invoke({"question": "?"})
"""
CALL = {"id": "1", "type": "function", "function": {"name": "search", "arguments": "{}"}}
TALK = [
    {"role": "user", "content": "?"},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "1", "name": "search", "content": "rain"},
    {"role": "assistant", "content": "Rain."},
]


PROGRAM = """```python
def features(state):
    return {"length": float(len(state)), "letter": float("e" in state)}
```"""


def make_runs(count=60, seed=0):
    """Return runs as (name, states, success): most end well, every third goes round and fails."""
    rng = random.Random(seed)
    for number in range(count):
        good = number % 3 != 0
        states = ["plan"]
        while len(states) < 3 or (rng.random() < 0.8 and len(states) < 40):
            loop = not good and rng.random() < 0.6
            here = STATES.index(states[-1])
            states.append(STATES[(here + 1) % 3] if loop and here < 3 else rng.choice(STATES))
        yield f"run {number}", [*states, "done"], good


def make_store(path, **settings):
    """Write a store: the first half of its runs on 29 June 2025 by one model, the rest later."""
    with TransitionStore(f"sqlite:///{path}") as store:
        for number, (name, states, success) in enumerate(make_runs(**settings)):
            late = number % 2
            context = (("model", "gpt-5" if late else "gpt-4o"), ("task", f"task-{number % 20}"))
            begun = (JUNE_30 if late else JUNE_29) + 60 * number
            path = [START, *states, END]
            for step, (source, target) in enumerate(pairwise(path)):
                store.record(Transition(source, target, name, context, time=begun + step))
            store.record(Ending(name, Outcome.ENDED, None, success, context, begun + 50))


def make_world(folder):
    """Write every file that the documentation names into `folder`."""
    import duckdb
    import pandas as pd

    make_store(folder / "runs.db")
    for name in ("before", "baseline", "good_runs", "last-week"):
        shutil.copy(folder / "runs.db", folder / f"{name}.db")
    make_store(folder / "after.db", seed=1)
    shutil.copy(folder / "after.db", folder / "today.db")
    write_tables(folder)
    steps = pd.DataFrame(
        [
            {"run": int(name.split()[1]), "step": step, "tool": state, "state": state}
            for name, states, _ in make_runs()
            for step, state in enumerate(states)
        ]
    )
    (folder / "events").mkdir()
    for path in ("events.parquet", "events/2025-06.parquet"):
        steps.to_parquet(folder / path)
    with duckdb.connect(str(folder / "traces.duckdb")) as connection:
        connection.register("steps", steps)
        connection.execute("CREATE TABLE events AS SELECT * FROM steps")
    talks = [{"task_id": n, "trial": 0, "reward": 1.0, "traj": TALK} for n in range(5)]
    (folder / "results.json").write_text(json.dumps(talks))
    (folder / "my_application.py").write_text(APPLICATION)
    shutil.copy(DATA / "lexicon_records.json.gz", folder)
    with chdir(folder), redirect_stdout(None):
        for name in ("support_agent_shuttles", "supervisor_team_at_limit"):  # support.db, team.db
            runpy.run_path(str(EXAMPLES / f"{name}.py"))
    write_traces(folder)
    make_checkpoints(folder / "agent.db")
    shutil.copy(folder / "agent.db", folder / "checkpoints.db")
    make_exports(folder)


def write_tables(folder):
    """Write the runs as CSV and JSON Lines, one of them with a bad line."""
    paths = [(name, [START, *states, END]) for name, states, _ in make_runs()]
    moves = [(name, *move) for name, path in paths for move in pairwise(path)]
    with open(folder / "moves.csv", "w", newline="") as file:
        csv.writer(file).writerows([("run", "from", "to"), *moves])
    with open(folder / "steps.csv", "w", newline="") as file:
        steps = [(name, state) for name, path in paths for state in path[1:-1]]
        csv.writer(file).writerows([("run", "node"), *steps])
    names = {START: "start", END: "end"}
    lines = [
        json.dumps({"trajectory": run, "source": names.get(f, f), "target": names.get(g, g)})
        for run, f, g in moves
    ]
    for path in ("runs.jsonl.gz", "trace.jsonl"):
        opener = gzip.open if path.endswith("gz") else open
        with opener(folder / path, "wt") as file:
            file.write("\n".join([*lines, "no JSON"]))


def write_traces(folder):
    """Write runs of an agent as Langfuse, LangSmith and Phoenix export them; each fifth fails."""
    exports = {"langfuse": [], "langsmith": [], "phoenix": []}
    for number in range(1, 31):
        failed = number % 5 == 4
        steps = [
            "support",
            *["look_up", "check"] * (6 if failed else 1),
            *["refund"] * (not failed),
        ]
        trace, root = f"{number:032x}", f"{100 * number:016x}"
        for step, name in enumerate(steps):
            begun = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=number, seconds=step)
            ended = begun + timedelta(seconds=1 if step else 30)
            start, end = begun.isoformat(), ended.isoformat()
            own, above = f"{100 * number + step:016x}", root if step else None
            kind, broken = "TOOL" if step else "AGENT", failed and not step
            exports["langfuse"].append(
                {"id": own, "traceId": trace, "parentObservationId": above, "type": kind}
                | {"name": name, "startTime": start, "endTime": end}
                | {"level": "ERROR" if broken else "DEFAULT"}
            )
            exports["langsmith"].append(
                {"id": own, "trace_id": trace, "parent_run_id": above, "name": name}
                | {"run_type": "tool" if step else "chain", "start_time": start, "end_time": end}
                | {"error": "gave up" if broken else None}
            )
            exports["phoenix"].append(
                {"context": {"trace_id": trace, "span_id": own}, "parent_id": above, "name": name}
                | {"span_kind": kind, "start_time": start, "end_time": end, "attributes": {}}
                | {"status_code": "ERROR" if broken else "OK"}
            )
    for name, records in exports.items():
        (folder / f"{name}.json").write_text(json.dumps(records))


def make_checkpoints(path):
    """Let an agent keep its checkpoints in a file of SQLite."""
    from langgraph.checkpoint.sqlite import SqliteSaver

    from tests.support.agents import INPUT, chain, thread

    with SqliteSaver.from_conn_string(str(path)) as saver:
        agent = chain("plan", "search", "draft", checkpointer=saver)
        for number in range(5):
            agent.invoke(INPUT, thread(f"thread {number}"))


def make_exports(folder):
    """Write what `detailed-balance export` would have written."""
    from detailed_balance.export import export

    (folder / "out").mkdir()
    export(str(folder / "runs.db"), str(folder / "out/counts.csv"), what="counts")
    export(str(folder / "runs.db"), str(folder / "out/counts.parquet"), what="counts")
    export(str(folder / "runs.db"), str(folder / "result.graphml"))


def make_names(page):
    """Return the names that the blocks of a page find: an agent, a handler, runs and so on."""
    from langchain.agents import create_agent
    from langchain_core.embeddings import DeterministicFakeEmbedding
    from langchain_core.language_models import FakeListChatModel
    from langchain_core.tools import tool

    from detailed_balance.callbacks import TransitionCallbackHandler
    from tests.support.agents import ScriptedModel

    @tool
    def search() -> str:
        """Search."""
        return "rain"

    @tool
    def read() -> str:
        """Read."""
        return "more rain"

    model = ScriptedModel(script=[["search"], ["read"]] * 3 + ["Rain."])
    question = {"messages": [("user", "Will it rain?")]}
    agent = create_agent(model, [search, read])
    handler = TransitionCallbackHandler(store="sqlite:///handler.db")
    agent.invoke(question, {"callbacks": [handler]})
    handler.flush()

    def run_my_application():
        agent.invoke(question)

    names = {
        "agent": agent,
        "model": model,
        "chat_model": FakeListChatModel(responses=[PROGRAM]),
        "tools": [search, read],
        "create_agent": create_agent,
        "handler": handler,
        "question": question,
        "QUESTIONS": [question],
        "run_my_application": run_my_application,
        "serve_my_agent": run_my_application,
        "serve": run_my_application,
        "page_somebody": lambda: None,
        "os": os,
        "my_embeddings": DeterministicFakeEmbedding(size=8),
        "__name__": page,
    }
    if page in GIVEN_RUNS:
        runs = read_runs("runs.db")
        counts = TransitionStore("sqlite:///runs.db").counts()
        names |= {"runs": runs, "counts": counts, "potential": estimate_potential(counts)}
    if page == "docs/paper/explicit.md":
        names["counts"] = sample(smollm2(), 50)
    if page == "docs/how-to/operations.md":
        names["store"] = TransitionStore("sqlite:///runs.db")
    return names


def environment():
    """Return the environment of the programs in the documentation."""
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", "")])
    return {**os.environ, "PATH": path, "CHAT_URL": "json://127.0.0.1:9/", "COLUMNS": "80"}
