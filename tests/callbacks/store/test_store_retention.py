"""What is old leaves the store, and nothing else does, whoever writes meanwhile."""

import sqlite3
import threading

import pytest

from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.callbacks import TransitionStore
from detailed_balance.callbacks.store._schema import CONTEXTS, STATES, TRAJECTORIES
from detailed_balance.callbacks.transition import Ending, Transition
from tests.callbacks.store.test_store import RUNS, file_url, postgres_url, store  # noqa: F401 - fixtures
from tests.plugin.test_cli import run


def names_in(store, table):  # noqa: F811
    with store._transaction() as connection:
        return sorted(connection.scalars(table.select().with_only_columns(table.c.name)))


def test_what_is_older_is_forgotten_with_its_names(store):  # noqa: F811
    old = [Transition("old", f"old{k % 3}", "gone", (("v", "1"),), k, float(k)) for k in range(30)]
    old.append(Ending("gone", context=(("v", "1"),), time=29.0))
    new = [Transition("new", "b", "here", (("v", "2"),), 0, 100.0), Ending("here", time=100.0)]
    untimed = Transition("untimed", "b")
    store.append([*old, untimed, *new])
    assert store.forget(before=100.0) == 31
    assert list(store.read()) == [untimed, new[0]]
    assert store.endings() == (new[1],)
    assert names_in(store, STATES) == ["b", "new", "untimed"]
    assert names_in(store, TRAJECTORIES) == ["here"]
    assert names_in(store, CONTEXTS) == ['{"v":"2"}', "{}"]
    assert store.forget(before=100.0) == 0


def test_names_that_were_forgotten_come_back_with_new_rows(store):  # noqa: F811
    again = TransitionStore(store._engine.url) if not store._in_memory else store
    moves = [Transition("a", "b", "run", (("v", "1"),), None, 1.0), Transition("c", "d", time=9.0)]
    again.append(moves)  # so it knows these names to be there
    assert store.forget(before=5.0) == 1
    again.append(moves[:1])
    assert list(store.read()) == [moves[1], moves[0]]
    assert again.trajectories() == ("run",)
    if again is not store:
        again.close()


def test_who_reads_along_misses_nothing_when_all_is_forgotten(store):  # noqa: F811
    store.append(RUNS)
    cursor = store.mark()
    assert store.forget(before=1e9) == len(RUNS) - 1
    store.append(RUNS[:3])
    assert list(store.read_new(cursor).transitions) == RUNS[:3]


def test_writers_and_forgetting_do_not_disturb_each_other(store):  # noqa: F811
    store.append([Transition(f"s{k}", "x", f"run {k}", time=1.0) for k in range(12_000)])
    failures, ended = [], threading.Event()

    def write(number):
        try:
            for step in range(40):  # names that were there, and are being deleted
                name = f"run {(97 * step + number) % 12_000}"
                store.append([Transition(f"s{step}", "x", name, step=number, time=50.0)])
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    deleted = sum(store.forget(before=9.0) for _ in range(3))
    for thread in threads:
        thread.join()
    ended.set()
    assert failures == []
    kept = [move for move in store.read() if move.time == 50.0]
    assert len(kept) == 120
    assert deleted + len(store) == 12_000 + 120
    for number in range(3):
        assert [move.source for move in kept if move.step == number] == [
            f"s{step}" for step in range(40)
        ]


def test_a_time_that_is_no_number_forgets_nothing(store):  # noqa: F811
    with pytest.raises(InvalidInputError, match="a time is given in seconds since 1970"):
        store.forget(before="yesterday")


def test_prune_deletes_what_is_old_and_says_how_much(tmp_path):
    with TransitionStore(file_url(tmp_path)) as store:  # noqa: F811
        store.append([*RUNS, Transition("a", "b", time=4e9)])
    code, text = run("prune", tmp_path / "runs.db", "--older-than", "30d")
    assert (code, text.strip()) == (0, "40 rows deleted, 1 transitions left")


@pytest.mark.parametrize("age", ["30", "d", "-3d", "30 days", "1e9d"])
def test_prune_refuses_what_is_no_age(tmp_path, age):
    code, text = run("prune", tmp_path / "runs.db", "--older-than", age)
    assert code == 1
    assert "write 90s, 30m, 12h, 7d or 2w" in text


def test_prune_makes_no_store(tmp_path):
    code, text = run("prune", tmp_path / "runs.db", "--older-than", "30d")
    assert code == 1
    assert "there is no store" in text
    assert list(tmp_path.iterdir()) == []


def test_writers_that_are_long_dead_are_forgotten(tmp_path):
    with TransitionStore(file_url(tmp_path)) as store:  # noqa: F811
        store.record(RUNS[0])
        store.flush()
        with sqlite3.connect(tmp_path / "runs.db") as other:
            other.execute("INSERT INTO detailed_balance_writers VALUES (7, 3, 1e9)")
        store.forget(before=0.0)
        with sqlite3.connect(tmp_path / "runs.db") as other:
            assert other.execute("SELECT count(*) FROM detailed_balance_writers").fetchone() == (1,)
