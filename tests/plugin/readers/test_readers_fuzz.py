"""Mutated files: a clear error or an account that adds up, never a crash, a hang or a silent loss.

``DETAILED_BALANCE_TEST_FUZZ=100000`` sets how many there are in all.
"""

import json
import os
import random
import sqlite3

import networkx as nx
import pytest

from benchmarks.readers.mutate import mutate
from benchmarks.readers.mutations import AS_WHOLE, read_mutated
from benchmarks.readers.seeds import Seed
from detailed_balance.analyzers.errors import ReadError
from detailed_balance.readers import FORMATS, read_recording, read_transitions
from tests.plugin.readers.test_readers_formats import TALK, XES
from tests.plugin.readers.test_span_fuzz import FORMATS as SPAN_FORMATS
from tests.support.sessions import SEEDS

MOVE = '{"source": "a", "target": "b", "trajectory": "T", "step": 1, "time": 2.5, "count": 3}\n'
TABLE = "source,target,trajectory,note\n" + 'a,b,T,"x\ny"\na,,T,\n' * 4
STEPS = "run,node,step,at,id,ok\n" + "".join(f"{i % 2},n{i},{i},{i},{i},1\n" for i in range(8))
LOG = "case:concept:name,concept:name,time:timestamp\n1,a,2024-01-01\n1,b,2024-01-02\n" * 3
NODES = {"directed": True, "multigraph": True, "nodes": [{"id": "a", "escapes": 1}]}
NODES["edges"] = [{"source": "a", "target": "b", "key": 0, "count": 2}] * 3
SOURCES = [{"expression": "y", "score": 20.0}, {"expression": "x"}]
EXPRESSIONS = [{"target_expression": "x", "source_expressions": SOURCES}] * 2
AS_STEPS = {
    "state_field": "node",
    "trajectory_field": "run",
    "time_field": "at",
    "event_field": "id",
    "success_field": "ok",
}


def parquet_bytes(folder):
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    from pyarrow import parquet

    rows = [{"source": "a", "target": f"b{i}", "trajectory": "T", "step": i} for i in range(20)]
    parquet.write_table(pyarrow.Table.from_pylist(rows), folder / "seed", row_group_size=5)
    return (folder / "seed").read_bytes()


def checkpoint_bytes(folder):
    saver = pytest.importorskip("langgraph.checkpoint.sqlite", reason="no SqliteSaver here")
    from tests.support.agents import INPUT, loop, thread

    with saver.SqliteSaver.from_conn_string(str(folder / "seed")) as opened:
        loop(3, opened).invoke(INPUT, thread("T"))
    with sqlite3.connect(folder / "seed") as database:
        database.execute("PRAGMA journal_mode = DELETE")
    return (folder / "seed").read_bytes()


def old_checkpoint_bytes(folder):
    checkpoint_bytes(folder)
    with sqlite3.connect(folder / "seed") as database:
        database.execute("ALTER TABLE writes DROP COLUMN task_path")
    return (folder / "seed").read_bytes()


def store_bytes(folder):
    from detailed_balance import Transition, TransitionStore

    with TransitionStore(f"sqlite:///{folder / 'seed'}") as store:
        store.append([Transition("a", "b", "T", (("model", "m"),), i, float(i)) for i in range(20)])
    with sqlite3.connect(folder / "seed") as database:
        database.execute("PRAGMA journal_mode = DELETE")
    return (folder / "seed").read_bytes()


CASES = {
    "jsonl": (".jsonl", MOVE * 6, {}),
    "csv": (".csv", TABLE, {}),
    "steps": (".csv", STEPS, AS_STEPS),
    "eventlog": (".csv", LOG, {}),
    "graphml": (".graphml", "\n".join(nx.generate_graphml(nx.DiGraph([("a", "b")]))), {}),
    "nodelink": (".json", json.dumps(NODES), {"format": "nodelink"}),
    "answers": (".json", json.dumps({"A": ["B", "C"], "B": ["A", None]} | {"C": ["A"]}), {}),
    "expressions": (".json", json.dumps(EXPRESSIONS), {"format": "answers"}),
    "messages": (".json", json.dumps([{"id": "1", "reward": 1, "messages": TALK}] * 2), {}),
    "lines": (".jsonl", json.dumps({"messages": TALK}) + "\n" + json.dumps({"traj": TALK}), {}),
    "xes": (".xes", XES, {"format": "xes"}),
    "parquet": (".parquet", parquet_bytes, {}),
    "langgraph": (".db", checkpoint_bytes, {"format": "langgraph"}),
    "old checkpoints": (".db", old_checkpoint_bytes, {"format": "langgraph"}),
    "store": (".db", store_bytes, {"format": "store"}),
    **{name: (*seed, {"format": name}) for name, seed in SEEDS.items()},
}
BY_LINES = ("jsonl", "claude_code", "codex", "pi")
IN_ALL = int(os.environ.get("DETAILED_BALANCE_TEST_FUZZ", "2400"))


def test_every_format_is_mutated_here_or_with_the_spans():
    assert set(FORMATS) - set(CASES) == {format_ for format_, _ in SPAN_FORMATS.values()}


@pytest.mark.parametrize("case", CASES)
def test_no_mutation_crashes_hangs_or_loses_a_record_unsaid(tmp_path, case):
    suffix, data, options = CASES[case]
    data = data(tmp_path) if callable(data) else data.encode()
    seed, path, accepted = Seed(suffix, data, options), tmp_path / f"t{suffix}", 0
    for number in range(IN_ALL // len(CASES)):
        text = mutate(data, random.Random(f"{case} {number}"))
        path.write_bytes(text)
        found = read_mutated(path, seed, whole=number % AS_WHOLE == 0)
        if found.refused:
            continue
        accepted += 1
        account = found.read + found.skipped + found.duplicates
        assert account > 0 or case == "store", number  # an empty store is not an error
        assert account == count_lines(case, text, account), number
    assert accepted > 0  # or nothing was tested


def count_lines(case, text, otherwise):
    """Return how many records a file has, where that can be told by looking at it."""
    if case not in BY_LINES or text.startswith(b"\x1f\x8b"):
        return otherwise
    return sum(not line.isspace() for line in text.split(b"\n") if line)


def test_an_error_of_the_engine_that_is_cut_in_a_letter_is_no_crash(tmp_path):
    path = tmp_path / "t.jsonl"
    for before in range(0, 300, 7):  # the message of the engine holds the beginning of the line
        line = '{"source": "a", "target": ' + "x" * before + "\ufeff" * 40 + "}\n"
        path.write_text(line + '{"source": "a", "target": "b"}\n', encoding="utf-8")
        found = read_recording(path, format="jsonl", skip_bad_lines=True)
        assert (found.read_count, found.skipped_count) == (1, 1)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("DELETE FROM detailed_balance_contexts", "which are not there"),
        ("UPDATE detailed_balance_contexts SET name = '{deep}'", "cannot be read"),
        ("UPDATE detailed_balance_states SET name = '' WHERE name = 'a'", "is not a move"),
        ("UPDATE detailed_balance_transitions SET count = 'many'", "is not a move"),
        ("UPDATE detailed_balance_transitions SET count = -1", "is not a move"),
    ],
)
def test_a_damaged_store_is_refused_by_name(tmp_path, damage, said):
    (tmp_path / "t.db").write_bytes(store_bytes(tmp_path))
    with sqlite3.connect(tmp_path / "t.db") as database:
        database.execute(damage.replace("{deep}", "[" * 5_000))
    with pytest.raises(ReadError, match=said):
        list(read_transitions(tmp_path / "t.db"))
