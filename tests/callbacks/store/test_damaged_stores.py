"""A store that is damaged, or is none, says so in one line, and nothing is lost in silence."""

import os
import sqlite3
from pathlib import Path

import pytest

from detailed_balance import Monitor, Transition, TransitionStore, analyze
from detailed_balance.analyzers.errors import ReadError

MOVES = "detailed_balance_transitions"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "runs.db"
    with TransitionStore(f"sqlite:///{path}") as store:
        store.append(Transition(f"s{i % 50}", f"s{i % 49}", f"run {i // 10}") for i in range(3_000))
    return path


@pytest.mark.parametrize("kept", [0.0, 0.001, 0.5])
def test_a_file_that_is_truncated_while_it_is_open_is_noticed(path: Path, kept: float) -> None:
    with TransitionStore(f"sqlite:///{path}", create=False, spool=False) as store:
        assert len(store) == 3_000
        os.truncate(path, int(path.stat().st_size * kept))
        for ask in (
            lambda: len(store),
            lambda: list(store.read()),
            store.counts,
            store.read_new,
            lambda: analyze(store),
            lambda: store.append([Transition("a", "b")]),
        ):
            with pytest.raises(ReadError, match=r"runs\.db is damaged: it was truncated or over"):
                ask()
        store.record(Transition("a", "b"))
        store.flush()
        assert store.lost == 1


def test_what_is_recorded_into_a_truncated_file_waits_beside_it(path: Path) -> None:
    with TransitionStore(f"sqlite:///{path}") as store:
        os.truncate(path, 5_000)
        store.record(Transition("a", "b"))
        store.flush()
        assert (store.lost, store.spooled) == (0, 1)


def test_a_monitor_says_that_its_store_was_truncated(path: Path) -> None:
    monitor = Monitor(f"sqlite:///{path}")
    monitor.poll()
    os.truncate(path, 5_000)
    monitor.poll()
    losses = [finding.title for finding in monitor.status().findings if finding.kind == "loss"]
    assert any("database disk image is malformed" in title for title in losses), losses
    monitor.stop()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ([f"DROP TABLE {MOVES}"], f"its table {MOVES} is missing"),
        ([f"ALTER TABLE {MOVES} RENAME COLUMN step TO number"], f"{MOVES} has no column step"),
        (
            [f"ALTER TABLE {MOVES} RENAME TO other", f"CREATE VIEW {MOVES} AS SELECT 1 AS id"],
            f"{MOVES} is a view and not a table",
        ),
    ],
)
@pytest.mark.parametrize("create", [False, True])
def test_a_table_that_is_another_is_named(
    path: Path, change: list[str], message: str, create: bool
) -> None:
    database = sqlite3.connect(path)
    for statement in change:
        database.execute(statement)
    database.commit()
    database.close()
    with pytest.raises(ReadError, match=message):
        TransitionStore(f"sqlite:///{path}", create=create)
    with pytest.raises(ReadError, match=message):
        analyze(path)
