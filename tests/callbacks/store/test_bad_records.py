"""What no database can keep is lost alone: it holds up neither others nor the next process."""

import math
import sqlite3
from dataclasses import replace
from uuid import uuid4

import pytest
from langgraph.graph import StateGraph
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DataError, IntegrityError, OperationalError, ProgrammingError

from detailed_balance.analyzers import Outcome
from detailed_balance.analyzers.errors import InvalidInputError, ReadError
from detailed_balance.callbacks import (
    Ending,
    Transition,
    TransitionCallbackHandler,
    TransitionStore,
)
from detailed_balance.callbacks.store import _rows, store as store_module
from detailed_balance.callbacks.store._outbox import _is_away
from detailed_balance.callbacks.store._spool import RecordBatch, Spool
from tests.callbacks.store.test_store import file_url
from tests.callbacks.store.test_store_server import Server

BAD = (3, 4, 17)

REFUSE = {
    "sqlite": """
CREATE TRIGGER refuse BEFORE INSERT ON detailed_balance_transitions
WHEN NEW.step IN (3, 4, 17) BEGIN SELECT RAISE(ABORT, 'secret'); END
""",
    "postgresql": "ALTER TABLE detailed_balance_transitions ADD CHECK (step NOT IN (3, 4, 17))",
}


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    server = Server(tmp_path_factory.mktemp("server"))
    server.start()
    yield server.url.rpartition("/")[0]
    server.stop("immediate")


@pytest.fixture
def server(running):
    """Return the URL of a new database."""
    name = f"runs_{uuid4().hex}"
    with create_engine(f"{running}/postgres", isolation_level="AUTOCOMMIT").connect() as connection:
        encoding = "ENCODING 'LATIN1' TEMPLATE template0 LOCALE 'C'"
        connection.execute(text(f"CREATE DATABASE {name} {encoding}"))
    return f"{running}/{name}"


def refuse_bad_steps(store):
    with store._transaction() as connection:
        connection.execute(text(REFUSE[connection.dialect.name]))


def steps_in(store):
    return [move.step for move in store.read()]


def record_all(store):
    for step in range(20):
        store.record(Transition(f"state {step}", "b", "thread", step=step))
    store.record(Ending("thread", Outcome.ENDED))
    store.flush()


def check_only_the_bad_are_lost(store, caplog):
    assert steps_in(store) == [step for step in range(20) if step not in BAD]
    assert len(store.endings()) == 1
    assert (store.lost, store.waiting, store.spooled) == (len(BAD), 0, 0)
    assert "of trajectory 'thread' is refused" in caplog.text
    assert "secret" not in caplog.text


def test_rows_that_sqlite_refuses_are_found_and_lost_alone(tmp_path, caplog):
    with TransitionStore(file_url(tmp_path)) as store:
        refuse_bad_steps(store)
        record_all(store)
        check_only_the_bad_are_lost(store, caplog)
        record_all(store)  # the names of what was refused are not taken for written
        assert [*store.read()][-1].source == "state 19"
        assert store.lost == 2 * len(BAD)


def test_rows_that_postgresql_refuses_are_found_and_lost_alone(server, tmp_path, caplog):
    with TransitionStore(server, spool=tmp_path) as store:
        refuse_bad_steps(store)
        record_all(store)
        check_only_the_bad_are_lost(store, caplog)


WRONG_TYPES = [True, 2**70, "seven", 1.5]


@pytest.mark.parametrize("step", WRONG_TYPES)
def test_types_that_postgresql_refuses_are_lost_alone(server, tmp_path, monkeypatch, step):
    monkeypatch.setattr(_rows, "_check_transition", lambda _: None)  # as if it knew no better
    with TransitionStore(server, spool=tmp_path) as store:
        for number in (1, step, 2):
            store.record(Transition("a", "b", step=number))
        store.flush()
        assert (store.lost, store.spooled) == ((0, 0) if step == 1.5 else (1, 0))
        assert [number for number in steps_in(store) if number in (1, 2)] == (
            [1, 2, 2] if step == 1.5 else [1, 2]
        )


def test_character_that_the_encoding_of_a_server_lacks_is_lost_alone(server, tmp_path):
    with TransitionStore(server, spool=tmp_path) as store:
        for source in ("a", "\u2192", "b"):
            store.record(Transition(source, "c"))
        store.flush()
        assert [move.source for move in store.read()] == ["a", "b"]
        assert (store.lost, store.spooled) == (1, 0)


def leave_spool(folder, steps):
    """Leave what a process that died left, with records that this version would not take."""
    spool = Spool(folder / "runs.db.spool-dead.jsonl")
    for number, step in enumerate(steps, start=1):
        spool.append(RecordBatch(7, number, (Transition(f"state {number}", "b", step=step),)))
    spool.release()


def test_bad_record_of_a_spool_does_not_block_the_process_that_adopts_it(tmp_path):
    url = file_url(tmp_path)
    TransitionStore(url).close()
    leave_spool(tmp_path, [1, True, "seven", 2, 2**70, math.nan, 3])
    with TransitionStore(url) as store:
        store.record(Transition("a", "b", step=4))
        store.flush()
        assert steps_in(store) == [1, 2, 3, 4]
        assert (store.lost, store.spooled) == (4, 0)
    assert not [*tmp_path.glob("*.jsonl")]


def test_spool_that_was_refused_in_part_is_written_once(tmp_path):
    url = file_url(tmp_path)
    with TransitionStore(url) as store:
        refuse_bad_steps(store)
        leave_spool(tmp_path, range(20))
    for lost in (len(BAD), 0):
        with TransitionStore(url) as store:
            store.flush()
            assert steps_in(store) == [step for step in range(20) if step not in BAD]
            assert store.lost == lost


def test_table_that_is_gone_is_no_fault_of_the_records(server, tmp_path):
    with TransitionStore(server, spool=tmp_path) as store:
        with store._transaction() as connection:
            connection.execute(text("ALTER TABLE detailed_balance_transitions RENAME TO away"))
        record_all(store)
        assert (store.lost, store.spooled) == (0, 21)
        with store._transaction() as connection:
            connection.execute(text("ALTER TABLE away RENAME TO detailed_balance_transitions"))
        store.flush()
        assert (store.lost, store.spooled, len(store)) == (0, 0, 20)


def make_error(kind, original):
    return kind("INSERT", {}, original)


class OriginalError(Exception):
    def __init__(self, sqlstate=None):
        super().__init__("secret")
        self.sqlstate = sqlstate


@pytest.mark.parametrize(
    ("error", "away"),
    [
        (make_error(OperationalError, OriginalError()), True),
        (make_error(ProgrammingError, OriginalError("42P01")), True),
        (make_error(ProgrammingError, OriginalError("42501")), True),
        (ReadError("no folder"), True),
        (OSError("disk"), True),
        (MemoryError(), True),
        (make_error(ProgrammingError, OriginalError("42804")), False),
        (make_error(DataError, OriginalError("22P05")), False),
        (make_error(IntegrityError, sqlite3.IntegrityError()), False),
        (OverflowError(), False),
        (TypeError(), False),
    ],
)
def test_errors_of_data_and_of_the_database_are_distinguished(error, away):
    assert _is_away(error) is away


@pytest.mark.parametrize(
    "time", [math.nan, math.inf, 10**400, True], ids=["NaN", "inf", "huge", "bool"]
)
@pytest.mark.parametrize("kind", [Transition("a", "b"), Ending("thread")])
def test_time_that_is_none_is_refused_by_name(kind, time):
    with pytest.raises(InvalidInputError, match="time"):
        _rows.to_row(replace(kind, time=time))


@pytest.mark.parametrize("field", ["step", "count"])
def test_bool_is_no_number(field):
    with pytest.raises(InvalidInputError, match=f"{field} of a transition must be int"):
        _rows.to_row(replace(Transition("a", "b"), **{field: True}))


def test_agent_whose_metadata_has_a_wrong_step_is_unharmed(tmp_path):
    agent = StateGraph(dict).add_node("a", lambda state: state).set_entry_point("a").compile()
    with TransitionStore(file_url(tmp_path)) as store:
        config = {"callbacks": [TransitionCallbackHandler(store=store)]}
        agent.invoke({"x": 1}, config | {"metadata": {"langgraph_step": True}})
        assert agent.invoke({"x": 1}, config) == {"x": 1}
        store.flush()
        assert (store.waiting, store.spooled) == (0, 0)


MOST = 2**63 - 1


def test_counts_of_a_store_that_add_up_too_high_are_refused_by_name(tmp_path):
    with TransitionStore(file_url(tmp_path)) as store:
        store.append([Transition("a", "b", count=MOST)])
        assert store.counts().total == MOST
        store.append([Transition("a", "b", count=MOST)])
        with pytest.raises(ReadError, match=rf"{MOST}.* about 1.84467e\+19"):
            store.counts()
        store.append([Transition("a", "b")])  # goes on
        assert len(store) == 3


def test_counts_of_a_server_that_add_up_too_high_are_refused_by_name(server):
    with TransitionStore(server, spool=False) as store:
        store.append([Transition("a", "b", count=MOST)] * 2)
        with pytest.raises(ReadError, match=rf"{MOST}.* about 1.84467e\+19"):
            store.counts()


def test_batches_are_sent_as_before_where_nothing_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(store_module, "to_rows", None)  # rows are not made twice
    with TransitionStore(file_url(tmp_path)) as store:
        record_all(store)
        assert (store.lost, len(store)) == (0, 20)
