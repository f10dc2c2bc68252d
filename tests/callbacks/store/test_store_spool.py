"""A spool gives back whole batches in order, however it was cut or damaged."""

import random
import sqlite3
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st
from sqlalchemy import make_url

from detailed_balance.analyzers.runs.labels import make_context
from detailed_balance.analyzers.runs.trajectory import Outcome, StepFacts
from detailed_balance.callbacks import TransitionStore
from detailed_balance.callbacks.store._outbox import Outbox
from detailed_balance.callbacks.store._spool import RecordBatch, Spool, find_spool_folder
from detailed_balance.callbacks.transition import Ending, Transition
from tests.callbacks.store.test_store import RUNS, TEXT, TRANSITIONS, file_url

ENDINGS = st.lists(
    st.builds(
        Ending,
        trajectory=st.none() | TEXT,
        outcome=st.none() | st.sampled_from(Outcome),
        error=st.none() | TEXT,
        success=st.none() | st.booleans(),
        context=st.dictionaries(TEXT, TEXT, max_size=2).map(make_context),
        time=st.none() | st.floats(allow_nan=False),
    ),
    max_size=4,
)


def batches_of(*numbers):
    return [RecordBatch(-7, number, tuple(RUNS[number : number + 3])) for number in numbers]


def read(spool):
    return [batch for found in spool.batches() for batch in found]


def fill(path, batches):
    spool = Spool(path)
    for batch in batches:
        spool.append(batch)
    spool.release()
    return path.read_bytes()


@given(st.lists(TRANSITIONS, max_size=3), ENDINGS)
@settings(max_examples=40)
def test_a_spool_gives_back_what_was_put_in(tmp_path_factory, lists, endings):
    path = tmp_path_factory.mktemp("spool") / "a.jsonl"
    spool = Spool(path)
    batches = [
        RecordBatch(2**63 - 1, number, (*moves, *endings)) for number, moves in enumerate(lists)
    ]
    for batch in batches:
        spool.append(batch)
    assert read(spool) == batches
    assert (len(spool), spool.damaged) == (0, 0)
    spool.clear()
    assert not path.exists()


def test_facts_of_a_line_that_knew_of_no_resumes_say_that_there_was_none(tmp_path):
    spool, facts = Spool(tmp_path / "a.jsonl"), StepFacts(True, 1, 2, cost=0.5)
    spool.append(RecordBatch(1, 1, (Transition("a", "b", facts=tuple(facts)[:-1]),)))
    assert read(spool) == [RecordBatch(1, 1, (Transition("a", "b", facts=facts),))]


def test_only_the_owner_may_read_a_spool_and_its_name_tells_nothing(tmp_path):
    fill(tmp_path / "a.jsonl", batches_of(1))
    assert (tmp_path / "a.jsonl").stat().st_mode & 0o777 == 0o600
    urls = [
        "postgresql+psycopg://me:secret@host.example/runs?password=secret",
        "postgresql://a@b/c",
    ]
    for url in urls:
        place = find_spool_folder(make_url(url), tmp_path)
        name = str(place.of(7, durable=False)._path.name)
        assert not any(word in name for word in ("me", "secret", "host", "runs", "example"))
    ours, theirs = (find_spool_folder(make_url(url), tmp_path).start for url in urls)
    assert ours != theirs
    assert (
        ours
        == find_spool_folder(make_url(urls[0].replace("me:secret", "you:other")), tmp_path).start
    )


def test_a_spool_is_cut_anywhere_and_loses_but_the_line_that_was_cut(tmp_path):
    batches = batches_of(1, 2, 3)
    whole = fill(tmp_path / "whole.jsonl", batches)
    for length in range(1, len(whole)):
        path = tmp_path / "cut.jsonl"
        path.write_bytes(whole[:length])
        spool = Spool.adopt(path)
        assert read(spool) == batches[: whole[:length].count(b"\n")]
        spool.clear()


def test_a_damaged_spool_gives_no_batch_that_was_not_put_in(tmp_path):
    batches = batches_of(*range(1, 9))
    whole = fill(tmp_path / "whole.jsonl", batches)
    dice = random.Random(0)
    for _ in range(400):
        damaged = bytearray(whole)
        for _ in range(dice.randint(1, 4)):
            place = dice.randrange(len(damaged))
            if dice.random() < 0.3:
                del damaged[place : place + dice.randint(1, 200)]
            else:
                damaged[place] = dice.randrange(256)
        path = tmp_path / "damaged.jsonl"
        path.write_bytes(damaged)
        spool = Spool.adopt(path)
        found = read(spool)
        assert [batch for batch in batches if batch in found] == found
        assert len(found) >= 8 - 2 * 4
        if len(found) < 7:
            assert spool.damaged or not damaged.endswith(b"\n")
        spool.clear()


@pytest.mark.parametrize(
    "text",
    [
        b"\n\n",
        b"[]\n",
        b"{}\n",
        b'{"crc":1,"batch":[1,2,[[]]]}\n',
        b"[" * 100_000 + b"\n",
        b"\xff\xfe\n",
        b"null\nNaN\n",
    ],
)
def test_what_is_no_batch_is_passed_over_and_counted(tmp_path, text):
    path = tmp_path / "a.jsonl"
    path.write_bytes(text + fill(tmp_path / "whole.jsonl", batches_of(4)))
    spool = Spool.adopt(path)
    assert read(spool) == batches_of(4)
    assert spool.damaged == text.count(b"\n")
    spool.release()


def test_a_spool_has_one_owner(tmp_path):
    spool = Spool(tmp_path / "a.jsonl")
    spool.append(batches_of(1)[0])
    assert Spool.adopt(tmp_path / "a.jsonl") is None
    spool.release()
    assert len(Spool.adopt(tmp_path / "a.jsonl")) == 3


def test_a_full_spool_refuses_a_batch_and_keeps_the_others(tmp_path):
    spool = Spool(tmp_path / "a.jsonl", limit=1000)
    kept = batches_of(1, 2)
    for batch in kept:
        spool.append(batch)
    with pytest.raises(OSError, match="the spool holds"):
        spool.append(RecordBatch(-7, 3, tuple(RUNS)))
    assert read(spool) == kept


def test_a_leftover_is_replayed_once_by_the_next_that_writes(tmp_path):
    path = tmp_path / "runs.db.spool-00ff.jsonl"
    fill(path, [RecordBatch(255, 1, tuple(RUNS[:5])), RecordBatch(255, 2, tuple(RUNS[5:9]))])
    copy = path.read_bytes()
    with TransitionStore(file_url(tmp_path)) as store:
        store.record(RUNS[9])
        store.flush()
        assert list(store.read()) == RUNS[:10]
    assert not path.exists()
    path.write_bytes(copy)  # as after a death between the last commit and the deletion
    with TransitionStore(file_url(tmp_path)) as store:
        store.flush()
        assert list(store.read()) == RUNS[:10]
    assert not path.exists()
    path.write_bytes(copy)
    with TransitionStore(file_url(tmp_path), create=False) as store:
        store.flush()
    assert path.exists()


def test_without_a_spool_what_the_database_refuses_is_lost(tmp_path):
    with TransitionStore(file_url(tmp_path), spool=False) as store:
        with sqlite3.connect(tmp_path / "runs.db") as other:
            other.execute("DROP TABLE detailed_balance_transitions")
        store.record(Transition("a", "b"))
        store.flush()
        assert (store.lost, store.spooled) == (1, 0)
    assert [file for file in Path(tmp_path).iterdir() if "spool" in file.name] == []


def test_what_presses_goes_to_the_spool_and_arrives_in_order(tmp_path, monkeypatch):
    kept, keep = [], Outbox._keep
    monkeypatch.setattr(Outbox, "_keep", lambda box, batch: kept.append(batch) or keep(box, batch))
    with TransitionStore(file_url(tmp_path), capacity=60_000) as store:
        with sqlite3.connect(tmp_path / "runs.db", isolation_level=None) as other:
            # The first 10,000 wait; behind the next ones the line is still more than half full.
            other.execute("BEGIN IMMEDIATE")
            for step in range(55_000):
                store.record(Transition("a", "b", "run", step=step))
            other.execute("ROLLBACK")
        store.flush()
        assert kept
        assert (store.lost, store.spooled) == (0, 0)
        assert [move.step for move in store.read()] == list(range(55_000))


def test_many_small_batches_are_replayed_in_few_transactions(tmp_path):
    batches = [RecordBatch(9, number, tuple(RUNS[:5])) for number in range(1, 1001)]
    fill(tmp_path / "a.jsonl", batches)
    spool = Spool.adopt(tmp_path / "a.jsonl")
    assert len(spool) == 5000
    sizes = []
    for found in spool.batches(most=900):
        sizes.append(sum(len(batch.records) for batch in found))
        assert len(spool) == 5000 - sum(sizes[:-1])
    assert sizes == [900] * 5 + [500]
    assert len(spool) == 0
    spool.release()
