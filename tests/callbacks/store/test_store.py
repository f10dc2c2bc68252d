"""The store loses nothing, whatever the text, the number of writers or the trouble."""

import copy
import logging
import os
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
import uuid
from pathlib import Path

import pytest
import sqlalchemy
from hypothesis import given, settings, strategies as st

from detailed_balance.analyzers.counts import TransitionCounts
from detailed_balance.analyzers.errors import InvalidInputError, ReadError
from detailed_balance.analyzers.runs.labels import make_context
from detailed_balance.callbacks import TransitionStore
from detailed_balance.callbacks.transition import Transition

POSTGRES = os.environ.get(
    "DETAILED_BALANCE_TEST_POSTGRES", "postgresql+psycopg://postgres@127.0.0.1:5432/test"
)

# Every code point, and those that databases refuse or that the store itself gives a meaning to.
TEXT = st.text(
    st.characters(exclude_categories=()) | st.sampled_from("\x00\x1a\ud83d\ude00\udfff0a\\'\"%"),
    max_size=8,
)
TRANSITIONS = st.lists(
    st.builds(
        Transition,
        source=TEXT,
        target=st.none() | TEXT,
        trajectory=st.none() | TEXT,
        context=st.dictionaries(TEXT, TEXT, max_size=2).map(make_context),
        step=st.none() | st.integers(-(2**63) + 1, 2**63 - 1),
        time=st.none() | st.floats(allow_nan=False, allow_infinity=False),
        count=st.integers(1, 2**40),
    ),
    max_size=12,
)


def run_python(code, *arguments):
    """Run code in a process of its own, and return the process."""
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def finish(*processes):
    for process in processes:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors


def file_url(folder):
    return f"sqlite:///{folder / 'runs.db'}"


@pytest.fixture
def postgres_url():
    """Give a URL into a schema of its own, or skip."""
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    engine = sqlalchemy.create_engine(POSTGRES, connect_args={"connect_timeout": 3})
    schema = f"test_{uuid.uuid4().hex}"
    try:
        with engine.begin() as connection:
            connection.exec_driver_sql(f"CREATE SCHEMA {schema}")
    except sqlalchemy.exc.OperationalError as error:
        pytest.skip(f"no PostgreSQL at {POSTGRES}: {error.orig}")
    yield f"{POSTGRES}?options=-csearch_path%3D{schema}"
    with engine.begin() as connection:
        connection.exec_driver_sql(f"DROP SCHEMA {schema} CASCADE")
    engine.dispose()


@pytest.fixture(params=["file", "memory", "postgres"])
def store(request, tmp_path):
    """Give an empty store of each kind."""
    if request.param == "postgres":
        url = request.getfixturevalue("postgres_url")
    else:
        url = file_url(tmp_path) if request.param == "file" else "sqlite://"
    with TransitionStore(url) as opened:
        yield opened


def assert_counts(found, transitions):
    """Compare with what is counted here from the transitions that went in."""
    expected = TransitionCounts.from_edges((t.source, t.target, t.count) for t in transitions)
    assert found.states == expected.states
    assert found.counts.toarray().tolist() == expected.counts.toarray().tolist()
    assert found.attempts.tolist() == expected.attempts.tolist()


RUNS = [
    Transition(
        f"s{i % 3}" if i else "__start__",
        None if i % 4 == 3 else f"s{i % 5}",
        trajectory=None if i % 7 == 6 else f"run {i % 2}",
        context=make_context({"model": f"m{i % 3}", "version": str(i % 2)}),
        step=i,
        time=1000.0 + i,
        count=1 + i % 2,
    )
    for i in range(40)
]


@given(TRANSITIONS)
@settings(max_examples=40)
def test_what_is_appended_is_read_back_as_it_was(transitions):
    with TransitionStore("sqlite://") as store:
        store.append(transitions)
        assert list(store.read()) == transitions
        assert_counts(store.counts(), transitions)
        assert set(store.contexts()) == {t.context for t in transitions}
        assert set(store.trajectories()) == {t.trajectory for t in transitions} - {None}
        assert len(store) == len(transitions)
        for chosen in transitions:
            of_run = [t for t in transitions if t.trajectory == chosen.trajectory]
            if chosen.trajectory is not None:
                assert list(store.read(trajectory=chosen.trajectory)) == of_run


def test_every_database_keeps_every_text(store):
    texts = ["\x00", "\ud800", "\ud83d\ude00", "\x1a", "\x1a0000", "x" * 1_000_000, "'; DROP TABLE"]
    for text in texts:
        moves = [
            Transition(text, text + "2", trajectory=text, context=((text, text),)),
            Transition(text + "2", text),
        ]
        store.append(moves)
        assert list(store.read(trajectory=text)) == moves[:1]
        assert list(store.read())[-2:] == moves
        assert_counts(store.counts(context={text: text}), moves[:1])
    assert len(store.contexts()) == 1 + len(texts)


FILTERS = [
    ({}, lambda t: True),
    ({"trajectory": "run 1"}, lambda t: t.trajectory == "run 1"),
    ({"trajectory": "no such run"}, lambda t: False),
    ({"context": {}}, lambda t: True),
    ({"context": {"model": "m1"}}, lambda t: ("model", "m1") in t.context),
    ({"context": {"model": "m1", "version": "0"}}, lambda t: t.context and t.step % 6 == 4),
    ({"context": {"model": "none"}}, lambda t: False),
    ({"since": 1010}, lambda t: t.time is not None and t.time >= 1010),
    ({"until": 1010.0}, lambda t: t.time is not None and t.time < 1010),
    (
        {"since": 1005, "until": 1020, "trajectory": "run 0"},
        lambda t: t.trajectory == "run 0" and 1005 <= t.time < 1020,
    ),
]


def test_read_and_counts_choose_by_run_context_and_time(store):
    moves = [*RUNS, Transition("untimed", "s0", step=99)]
    store.append(moves)
    for wanted, keep in FILTERS:
        chosen = list(filter(keep, moves))
        assert list(store.read(**wanted)) == chosen
        assert_counts(store.counts(**wanted), chosen)


def test_more_contexts_than_a_query_may_have_parameters_can_be_chosen():
    moves = [
        Transition("a", "b", context=make_context({"run": str(i), "model": "m"}))
        for i in range(33_000)
    ]
    with TransitionStore("sqlite://") as store:
        store.append(moves)
        assert store.counts(context={"model": "m"}).total == 33_000
        assert len(store.contexts()) == 33_000


def test_reading_streams_over_many_batches_and_ends_at_what_was_there(store):
    moves = [Transition(str(i), str(i + 1), step=i) for i in range(25_000)]
    store.append(iter(moves))
    found = store.read()
    assert next(found) == moves[0]
    store.append(moves[:5])
    assert list(found) == moves[1:]


def test_what_was_recorded_is_there_after_flush(store):
    for move in RUNS:
        store.record(move)
    store.flush()
    assert list(store.read()) == RUNS
    assert store.lost == 0


def test_what_was_recorded_is_written_without_being_asked_for(tmp_path):
    with TransitionStore(file_url(tmp_path)) as store:
        store.record(Transition("a", "b"))
        limit = time.monotonic() + 300
        while not len(store) and time.monotonic() < limit:
            time.sleep(0.01)
        assert len(store) == 1


def test_64_threads_recording_lose_nothing(store):
    def walk(number):
        for step in range(100):
            store.record(Transition(f"s{step % 7}", f"s{number}", trajectory=str(number)))

    threads = [threading.Thread(target=walk, args=(number,)) for number in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store.flush()
    assert len(store) == 6400
    assert store.counts(trajectory="63").total == 100
    assert store.lost == 0


def test_closing_writes_what_is_in_line(tmp_path):
    store = TransitionStore(file_url(tmp_path))
    for step in range(25_000):
        store.record(Transition("a", "b", step=step))
    store.close()
    store.close()
    with TransitionStore(file_url(tmp_path), create=False) as again:
        assert [move.step for move in again.read()] == list(range(25_000))


def test_a_closed_store_says_so_and_counts_what_comes_as_lost(tmp_path):
    store = TransitionStore(file_url(tmp_path))
    store.close()
    store.record(Transition("a", "b"))
    assert store.lost == 1
    store.flush()
    with pytest.raises(InvalidInputError, match=r"runs.db is closed"):
        store.append([Transition("a", "b")])
    with pytest.raises(InvalidInputError, match=r"runs.db is closed"):
        store.read()


def test_what_is_in_line_at_the_end_of_the_process_is_written(tmp_path):
    code = """
        import sys
        from detailed_balance.callbacks import TransitionStore
        from detailed_balance.callbacks.transition import Transition
        store = TransitionStore(sys.argv[1])
        for step in range(1000):
            store.record(Transition("a", "b", step=step))
    """
    finish(run_python(code, file_url(tmp_path)))
    with TransitionStore(file_url(tmp_path), create=False) as store:
        assert len(store) == 1000


def test_processes_that_create_and_write_one_file_together_lose_nothing(tmp_path):
    code = """
        import sys
        from detailed_balance.callbacks import TransitionStore
        from detailed_balance.callbacks.transition import Transition
        url, name = sys.argv[1:]
        with TransitionStore(url) as store:
            for step in range(1000):
                move = Transition(f"s{step % 10}", name, trajectory=f"run {step % 50}", step=step)
                store.append([move]) if step % 100 == 0 else store.record(move)
            store.flush()
            assert store.lost == 0
    """
    finish(*(run_python(code, file_url(tmp_path), f"writer {k}") for k in range(3)))
    with TransitionStore(file_url(tmp_path), create=False) as store:
        counts = store.counts()
        assert len(store) == 3000
        assert len(store.trajectories()) == 50
        for k in range(3):
            assert counts.counts[:, [counts.index(f"writer {k}")]].sum() == 1000


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_process_records_its_own_and_nothing_twice(tmp_path):
    code = """
        import os, sys
        from detailed_balance.callbacks import TransitionStore
        from detailed_balance.callbacks.transition import Transition
        store = TransitionStore(sys.argv[1])
        for step in range(500):
            store.record(Transition("parent", "b", step=step))
        child = os.fork()
        if child == 0:
            for step in range(300):
                store.record(Transition("child", "b", step=step))
            store.flush()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
    """
    finish(run_python(code, file_url(tmp_path)))
    with TransitionStore(file_url(tmp_path), create=False) as store:
        counts = store.counts()
        assert counts.attempts[counts.index("parent")] == 500
        assert counts.attempts[counts.index("child")] == 300


def test_a_copy_writes_to_the_same_database(tmp_path):
    with TransitionStore(file_url(tmp_path)) as store, copy.copy(store) as other:
        other.append(RUNS)
        assert list(store.read()) == RUNS


def test_a_failing_database_never_raises_into_record_and_is_logged_once(tmp_path, caplog):
    with TransitionStore(file_url(tmp_path)) as store:
        with sqlite3.connect(tmp_path / "runs.db") as other:
            other.execute("ALTER TABLE detailed_balance_transitions RENAME TO elsewhere")
        with caplog.at_level(logging.WARNING, logger="detailed_balance"):
            for step in range(3):
                store.record(Transition("a", "b", step=step))
                store.flush()
        assert (store.lost, store.waiting, store.spooled) == (0, 0, 3)
        (message,) = [r for r in caplog.records if r.name == "detailed_balance"]
        assert "runs.db" in message.getMessage()
        assert "no such table" in message.getMessage()
        with sqlite3.connect(tmp_path / "runs.db") as other:
            other.execute("ALTER TABLE elsewhere RENAME TO detailed_balance_transitions")
        store.flush()
        assert [move.step for move in store.read()] == [0, 1, 2]
        assert (store.lost, store.spooled) == (0, 0)


def test_a_full_line_loses_and_counts_but_does_not_wait(tmp_path, caplog):
    store = TransitionStore(file_url(tmp_path), capacity=10)
    other = sqlite3.connect(tmp_path / "runs.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")  # nothing can be written for now
    for step in range(1000):
        store.record(Transition("a", "b", step=step))
    assert store.lost >= 1000 - 2 * 10
    other.execute("ROLLBACK")
    store.flush()
    assert len(store) + store.lost == 1000
    assert "10 are waiting already" in caplog.text
    assert len(caplog.records) == 1
    other.close()
    store.close()


def test_one_transition_that_cannot_be_kept_takes_no_other_along(store):
    for move in (RUNS[0], Transition(7, "b"), "no transition", RUNS[1]):
        store.record(move)
    store.flush()
    assert list(store.read()) == RUNS[:2]
    assert store.lost == 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"source": None}, "source of a transition must be str; got None"),
        ({"target": 3}, "target of a transition must be str or None; got 3"),
        ({"trajectory": 3}, "trajectory of a transition must be"),
        ({"step": "3"}, "step of a transition must be"),
        ({"step": 2**63}, "63 bits"),
        ({"time": "now"}, "time of a transition must be"),
        ({"count": 1.5}, "count of a transition must be int; got 1.5"),
        ({"count": 0}, "a count of 1 or more"),
        ({"count": 2**63}, "63 bits"),
        ({"context": (("model", 4),)}, "context of a transition must be"),
        ({"context": "model"}, "context of a transition must be"),
    ],
)
def test_a_value_that_cannot_be_kept_is_refused(settings, message):
    with TransitionStore("sqlite://") as store:
        with pytest.raises(InvalidInputError, match=message):
            store.append([Transition(**{"source": "a", "target": "b"} | settings)])
        assert len(store) == 0


def test_a_time_that_is_no_number_is_refused():
    with (
        TransitionStore("sqlite://") as store,
        pytest.raises(InvalidInputError, match="seconds since 1970"),
    ):
        store.read(since="yesterday")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("runs.db", "'sqlite:///x.db'"),
        (Path("runs.db"), "'sqlite:///x.db'"),
        ("mysql://host/x", "'mysql' is not a database that a store can live in"),
        ("postgresql+nosuch://host/x", r"detailed-balance\[postgres\]"),
    ],
)
def test_what_is_no_url_of_a_store_is_refused_with_what_to_write(url, message):
    with pytest.raises(InvalidInputError, match=message):
        TransitionStore(url)


def test_a_missing_store_is_not_created_by_reading(tmp_path):
    with pytest.raises(ReadError, match=r"there is no store .*runs.db"):
        TransitionStore(file_url(tmp_path), create=False)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(ReadError, match=r"there is no folder .*nowhere"):
        TransitionStore(file_url(tmp_path / "nowhere"))


@pytest.mark.parametrize("create", [True, False])
def test_a_file_that_is_no_database_is_left_as_it_is(tmp_path, create):
    path = tmp_path / "runs.db"
    path.write_text("source,target\n" * 1000)
    with pytest.raises(ReadError, match=r"runs.db: file is not a database"):
        TransitionStore(file_url(tmp_path), create=create)
    assert path.read_text() == "source,target\n" * 1000
    assert list(tmp_path.iterdir()) == [path]


def test_a_database_of_something_else_is_no_store_to_read_but_may_hold_one(tmp_path):
    path = tmp_path / "runs.db"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE transitions (mine TEXT)")
    before = path.read_bytes()
    with pytest.raises(ReadError, match="holds no recorded transitions"):
        TransitionStore(file_url(tmp_path), create=False)
    assert path.read_bytes() == before
    with TransitionStore(file_url(tmp_path)) as store:
        store.append(RUNS)
        assert list(store.read()) == RUNS


def test_a_store_of_a_newer_version_is_refused(tmp_path):
    TransitionStore(file_url(tmp_path)).close()
    with sqlite3.connect(tmp_path / "runs.db") as other:
        other.execute("UPDATE detailed_balance_versions SET version = 99")
    with pytest.raises(ReadError, match="schema version 99, this library knows 5; install a newer"):
        TransitionStore(file_url(tmp_path))


def test_readers_do_not_wait_for_a_writer(tmp_path):
    with TransitionStore(file_url(tmp_path)) as store:
        store.append(RUNS)
        other = sqlite3.connect(tmp_path / "runs.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        assert len(store) == len(RUNS)
        other.close()


def test_a_password_is_in_no_message():
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    with pytest.raises(ReadError) as caught:
        TransitionStore("postgresql+psycopg://me:secret@127.0.0.1:1/none")
    assert "secret" not in str(caught.value)
