"""Mutated files: a clear error or an account that adds up, never a crash, a hang or a silent loss.

``DETAILED_BALANCE_TEST_FUZZ=100000`` sets how many there are in all.
"""

import gzip
import json
import os
import random
import signal
import sqlite3

import networkx as nx
import pytest

from detailed_balance.analyzers.errors import DetailedBalanceError
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
PIECES = [b"", b"\x00", b"\xff", b"\xfe\xff", b'"', b"'", b"<", b"]", b"}", b"&#0;", b",", b"\n"]
PIECES += [b"1e999", b"-1", b"9" * 400, b"NaN", b"null", b"[" * 2_000, b'{"a":' * 2_000, b"\\ud83d"]
PIECES += [
    b"<event>" * 50,
    b"<!DOCTYPE x>",
    b"\xef\xbb\xbf",
    b"__start__",
    b"true",
    b"\x1b[2J",
    b"|",
]
SECONDS = 20


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
    "store": (".db", store_bytes, {"format": "store"}),
    **{name: (*seed, {"format": name}) for name, seed in SEEDS.items()},
}
BY_LINES = ("jsonl", "claude_code", "codex", "pi")
AS_WHOLE = 8  # of so many files one is read as a whole too, which takes longer
IN_ALL = int(os.environ.get("DETAILED_BALANCE_TEST_FUZZ", "4800"))


def mutate(seed, noise):
    """Return `seed` with a few pieces cut out, put in, doubled or moved."""
    text = bytearray(seed)
    for _ in range(noise.choice((1, 1, 2, 5))):
        start = noise.randrange(len(text) + 1)
        end = min(len(text), start + noise.choice((0, 1, 2, 8, 64)))
        piece = noise.choice((noise.choice(PIECES), noise.randbytes(4), bytes(text[start:end]) * 2))
        text[start:end] = piece
    if noise.random() < 0.1:
        text = text[: noise.randrange(len(text) + 1)]
    if noise.random() < 0.1:
        packed = gzip.compress(bytes(text))
        text = bytearray(packed[: noise.randrange(1, len(packed) + 1)])
    return bytes(text)


def give_up(*_):
    raise AssertionError(f"the reader hangs: more than {SECONDS} s")


def test_every_format_is_mutated_here_or_with_the_spans():
    assert set(FORMATS) - set(CASES) == {format_ for format_, _ in SPAN_FORMATS.values()}


@pytest.mark.parametrize("case", CASES)
def test_no_mutation_crashes_hangs_or_loses_a_record_unsaid(tmp_path, case):
    suffix, seed, options = CASES[case]
    seed = seed(tmp_path) if callable(seed) else seed.encode()
    signal.signal(signal.SIGALRM, give_up)
    path = tmp_path / f"t{suffix}"
    read = 0
    for number in range(IN_ALL // len(CASES)):
        text = mutate(seed, random.Random(f"{case} {number}"))
        path.write_bytes(text)
        reader, moves, error = read_all(path, options)
        if number % AS_WHOLE == 0:
            check_whole(path, options, reader, moves, error)
        if reader is None:
            assert error.isprintable(), number
            continue
        read += 1
        account = reader.read_count + reader.skipped_count + reader.duplicate_count
        assert account > 0 or case == "store", number  # an empty store is no error
        assert account == count_lines(case, text, account), number
        assert reader.read_count >= bool(moves), number
        assert bool(reader.skipped) == bool(reader.skipped_count), number
        assert all(isinstance(move.source, str) and move.source for move in moves), number
    assert read > 0  # or nothing was tested


def read_all(path, options):
    """Read a file to its end; without a reader, an error that is ours says what is wrong."""
    signal.alarm(SECONDS)
    try:
        reader = read_transitions(path, skip_bad_lines=True, **options)
        return reader, list(reader), ""
    except DetailedBalanceError as error:
        return None, [], str(error)
    finally:
        signal.alarm(0)


def check_whole(path, options, reader, moves, error):
    """Read a file as a whole, and hold what is found against what was read record by record."""
    found, why = None, ""
    signal.alarm(SECONDS)
    try:
        found = read_recording(path, skip_bad_lines=True, **options)
    except DetailedBalanceError as other:
        why = str(other)
    finally:
        signal.alarm(0)
    if found is None or reader is None:
        assert (found, why) == (reader, error)
        return
    for name in ("read_count", "skipped_count", "skipped", "duplicate_count"):
        assert getattr(found, name) == getattr(reader, name)
    assert found.counts.attempts.sum() == sum(move.count for move in moves)
    in_runs = sum(move.count for move in moves if move.trajectory is not None)
    assert (0 if found.runs is None else found.runs.total) == in_runs


def count_lines(case, text, otherwise):
    """Return how many records a file has, where that can be told by looking at it."""
    if case not in BY_LINES or text.startswith(b"\x1f\x8b"):
        return otherwise
    return sum(not line.isspace() for line in text.split(b"\n") if line)
