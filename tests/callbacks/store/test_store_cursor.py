"""Whoever reads along gets every committed row once, in order, whenever it was committed."""

import random
import threading
from collections import Counter, defaultdict

import pytest
import sqlalchemy

from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.analyzers.runs.trajectory import Outcome
from detailed_balance.callbacks import TransitionStore
from detailed_balance.callbacks.transition import Ending, Transition
from tests.callbacks.store.test_store import RUNS, assert_counts, file_url, postgres_url, store  # noqa: F401 - fixtures


def read_all(store, cursor=None, **how):  # noqa: F811
    """Return all increments to the end."""
    found = [store.read_new(cursor, **how)]
    while found[-1].more:
        found.append(store.read_new(found[-1].cursor, **how))
    return found


def moves_of(increments):
    return [move for increment in increments for move in increment.transitions]


@pytest.mark.parametrize("limit", [1, 7, 40, 41])
def test_increments_give_what_reading_gives_and_their_cursors_count_it(store, limit):  # noqa: F811
    store.append(RUNS)
    found = read_all(store, limit=limit)
    assert moves_of(found) == RUNS
    assert all(increment.cursor.isascii() for increment in found)
    for number, increment in enumerate(found, 1):
        counts = store.counts(before=increment.cursor)
        assert_counts(counts, RUNS[: number * limit])
    assert store.read_new(found[-1].cursor).transitions == ()


def test_a_mark_lies_behind_what_is_there_and_before_what_comes(store):  # noqa: F811
    assert store.read_new(store.mark()).transitions == ()
    start = store.mark()
    store.append(RUNS[:20])
    middle = store.mark()
    store.append([*RUNS[20:], Ending("run 1", Outcome.ENDED)])
    assert list(store.read_new(middle).transitions) == RUNS[20:]
    assert list(store.read_new(start).transitions) == RUNS
    assert [ending.trajectory for ending in store.read_new(middle).endings] == ["run 1"]
    assert_counts(
        store.counts(before=middle, context={"model": "m1"}),
        [move for move in RUNS[:20] if ("model", "m1") in move.context],
    )
    assert store.counts(before=start).total == 0


def test_a_context_chooses_and_does_not_stop_the_cursor(store):  # noqa: F811
    store.append([*RUNS, *(Ending(f"e{k}", context=(("model", f"m{k % 3}"),)) for k in range(9))])
    chosen = [move for move in RUNS if ("model", "m1") in move.context]
    found = read_all(store, limit=3, context={"model": "m1"})
    assert moves_of(found) == chosen
    endings = [ending.trajectory for increment in found for ending in increment.endings]
    assert endings == ["e1", "e4", "e7"]
    assert store.read_new(found[-1].cursor, context={"model": "m1"}).transitions == ()


def test_no_ending_comes_before_the_moves_of_its_run(store):  # noqa: F811
    for run in range(30):
        moves = [Transition("a", "b", f"run {run}", step=step) for step in range(run % 5)]
        store.append([*moves, Ending(f"run {run}", Outcome.ENDED)])
    for limit in (1, 4, 100):
        seen, ended = Counter(), []
        for increment in read_all(store, limit=limit):
            seen.update(move.trajectory for move in increment.transitions)
            for ending in increment.endings:
                ended.append(ending.trajectory)
                assert seen[ending.trajectory] == int(ending.trajectory.split()[1]) % 5
        assert ended == [f"run {run}" for run in range(30)]


def test_an_ending_comes_soon_after_its_run_and_not_after_all_others(store):  # noqa: F811
    for run in range(100):
        store.append([Transition("a", "b", f"run {run}"), Ending(f"run {run}", Outcome.ENDED)])
    found = read_all(store, limit=10)
    assert all(len(increment.endings) >= 9 for increment in found[:10])


def test_a_judgement_without_a_move_is_new(store):  # noqa: F811
    store.append(RUNS)
    cursor = read_all(store)[-1].cursor
    store.judge("run 1", success=True)
    (increment,) = read_all(store, cursor)
    assert [ending.success for ending in increment.endings] == [True]
    store.judge("run 1", success=False)
    assert [ending.success for ending in store.read_new(increment.cursor).endings] == [False]


def test_what_is_committed_late_is_given_late_and_once(postgres_url):  # noqa: F811
    with TransitionStore(postgres_url) as store:  # noqa: F811
        store.append([Transition("a", "b", "first")])
        engine = sqlalchemy.create_engine(postgres_url)
        copied = (
            "INSERT INTO detailed_balance_{0} ({1}) SELECT {1} FROM detailed_balance_{0} LIMIT 1"
        )
        columns = "trajectory_id, context_id, step, time, source_id, target_id, count"
        with engine.connect() as slow:
            slow.exec_driver_sql(copied.format("transitions", columns))  # has the lower id
            store.append([Transition("c", "d", "second"), Ending("second", Outcome.ENDED)])
            found = [store.read_new()]
            assert [move.trajectory for move in found[0].transitions] == ["first", "second"]
            assert len(found[0].endings) == 1
            half = store.read_new(limit=1)
            slow.commit()
        found.append(store.read_new(found[-1].cursor))
        assert [move.trajectory for move in found[1].transitions] == ["first"]
        assert found[1].endings == ()
        assert store.counts(before=found[0].cursor).total == 2
        assert store.counts(before=found[1].cursor).total == 3
        assert store.read_new(found[1].cursor).transitions == ()
        # In the midst of an increment, too, the late one waits for the next.
        halves = read_all(store, half.cursor, limit=1)
        runs = [move.trajectory for move in moves_of([half, *halves])]
        assert runs == ["first", "second", "first"]
        engine.dispose()


def test_readers_along_with_many_writers_get_each_row_once_and_in_order(store):  # noqa: F811
    writers, moves = 6, 300

    def write(number):
        dice = random.Random(number)
        step = 0
        while step < moves:
            batch = range(step, min(moves, step + dice.randint(1, 9)))
            run = [Transition("a", "b", f"run {number}", step=step) for step in batch]
            store.append([*run, Ending(f"run {number}", time=float(batch[-1]))])
            step = batch.stop

    threads = [threading.Thread(target=write, args=(number,)) for number in range(writers)]
    for thread in threads:
        thread.start()
    steps, endings, cursor = defaultdict(list), defaultdict(list), None
    while True:
        alive = any(thread.is_alive() for thread in threads)
        found = store.read_new(cursor, limit=23)
        for move in found.transitions:
            steps[move.trajectory].append(move.step)
        for ending in found.endings:
            assert steps[ending.trajectory][-1] >= ending.time
            endings[ending.trajectory].append(ending.time)
        cursor = found.cursor
        if not (alive or found.more):
            break
    assert store.counts(before=cursor).total == writers * moves
    for number in range(writers):
        assert steps[f"run {number}"] == list(range(moves))
        assert endings[f"run {number}"] == sorted(endings[f"run {number}"])
    assert sum(map(len, endings.values())) == len(store.endings())


@pytest.mark.parametrize("cursor", ["", "7", "null", "[]", '["mysql",[0,0],null,null,null]', "{}"])
def test_what_is_no_cursor_is_refused(cursor):
    with TransitionStore("sqlite://") as store:  # noqa: F811
        with pytest.raises(InvalidInputError, match="is not a cursor of"):
            store.read_new(cursor)
        with pytest.raises(InvalidInputError, match="is not a cursor of"):
            store.counts(before=cursor)


def test_a_cursor_of_a_store_that_was_replaced_is_refused(tmp_path):
    with TransitionStore(file_url(tmp_path)) as store:  # noqa: F811
        store.append(RUNS)
        cursor = store.mark()
    (tmp_path / "runs.db").unlink()
    with (
        TransitionStore(file_url(tmp_path)) as store,
        pytest.raises(InvalidInputError, match="replaced since; begin with None"),
    ):
        store.read_new(cursor)


def test_a_limit_below_one_is_refused():
    with (
        TransitionStore("sqlite://") as store,  # noqa: F811
        pytest.raises(InvalidInputError, match="limit must be 1 or more; got 0"),
    ):
        store.read_new(limit=0)
