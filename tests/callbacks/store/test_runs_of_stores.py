"""A run is one, whichever processes went on with it, and in whatever order their records come."""

import itertools
import threading

import pytest

from detailed_balance.analyzers import END, START, Outcome
from detailed_balance.analyzers.runs.trajectory import StepFacts
from detailed_balance.callbacks import TransitionStore
from detailed_balance.callbacks.transition import (
    RESUMED,
    Beginning,
    Ending,
    Resumption,
    Standing,
    Transition,
)
from detailed_balance.sources.source import read_runs
from tests.callbacks.store.test_store import file_url, postgres_url  # noqa: F401 - a fixture


@pytest.fixture(params=["sqlite", "postgres"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return file_url(tmp_path)
    return request.getfixturevalue("postgres_url")


@pytest.fixture
def store(url):
    with TransitionStore(url) as opened:
        yield opened


def begin(run, time, resumes=None, **settings):
    return Beginning("T", run, thread="T", resumes=resumes, time=time, **settings)


def moves(run, time, *path, step=1):
    """Return the moves along a path, one a superstep."""
    pairs = enumerate(itertools.pairwise(path), step)
    return [Transition(*pair, "T", (), place, time, 1, run) for place, pair in pairs]


def stop(run, time, outcome=Outcome.INTERRUPTED, standing=None):
    return Ending("T", outcome, time=time, run=run, standing=standing, supersteps=2)


FIRST = [
    begin("A", 1.0),
    *moves("A", 1.1, START, "plan", "search"),
    stop("A", 1.9, standing=Standing("search", 3, ("ask-1",))),
]
SECOND = [
    begin("B", 2.0, Resumption("ask-1", 3)),
    *moves("B", 2.1, RESUMED, "ask", "answer", END, step=3),
    stop("B", 2.9, Outcome.ENDED),
]
WHOLE = ((START, "plan"), ("plan", "search"), ("search", "ask"), ("ask", "answer"), ("answer", END))


def shown(store):
    return [(move.run, move.source, move.target) for move in store.read()]


def path_of(store, run="A"):
    found = [found for found in read_runs(store) if found.run == run]
    assert len(found) == 1
    return found[0].moves


def read_along(store, batches):
    """Append batches; return what a reader saw that read after each."""
    seen, cursor = [], None
    for batch in batches:
        store.append(batch)
        found = store.read_new(cursor)
        cursor = found.cursor
        seen += found.transitions
    return seen


def test_a_run_comes_back_with_its_facts(store):
    facts = StepFacts(True, 1, 2, True, True, 3, 4, 5, 0.5, True)
    records = [
        Beginning("T", "A", "T", "parent", "origin", True, None, (("model", "m"),), 1.0),
        Transition(START, "plan", "T", (), 1, 1.0, 1, "A", facts),
        Transition("plan", END, "T", (), 2, 1.0, 1, "A"),
        Ending(
            "T", Outcome.ENDED, None, None, (), 2.0, "A", Standing("plan", 2, ("t",), ("n",)), 3
        ),
    ]
    store.append(records)
    assert [*store.runs(), *store.read(), *store.endings()] == records
    found = store.read_new()
    assert [*found.transitions, *found.endings] == records[1:]


def test_a_run_interrupted_and_resumed_elsewhere_is_one(store):
    store.append(FIRST)
    store.append(SECOND)
    assert path_of(store) == WHOLE
    assert [run.run for run in store.runs()] == ["A"]
    assert {run for run, *_ in shown(store)} == {"A"}
    assert len(store) == 5
    assert store.outcomes() == {Outcome.ENDED: 1}
    assert [ending.outcome for ending in store.endings(run="A")] == ["interrupted", "ended"]
    assert list(store.read(run="B")) == list(store.read(run="A")) == list(store.read())


def test_it_is_one_also_in_one_batch(store):
    store.append([*FIRST, *SECOND])
    assert path_of(store) == WHOLE
    assert shown(store)[2] == ("A", "search", "ask")


@pytest.mark.parametrize("cut", range(1, 4))
def test_what_was_there_later_is_put_together_once(store, cut):
    seen = read_along(store, [SECOND[:cut], SECOND[cut:], FIRST])
    assert path_of(store) == WHOLE
    assert sorted((m.source, m.target) for m in seen) == sorted(WHOLE)
    assert store.counts().total == 5


@pytest.mark.parametrize("cut", range(1, 4))
def test_it_is_so_also_where_it_came_in_parts(store, cut):
    seen = read_along(store, [SECOND[:cut], SECOND[cut:], FIRST[:2], FIRST[2:]])
    assert path_of(store) == WHOLE
    assert len(seen) == 5


def test_nothing_is_shown_of_a_move_whose_source_is_not_known(store):
    store.append(SECOND)
    assert shown(store) == [("B", "ask", "answer"), ("B", "answer", END)]
    (run,) = store.runs()
    assert run.past_unknown
    assert run.origin is None
    assert len(store) == 2
    assert not any(RESUMED in state for state in store.counts().states)
    (found,) = read_runs(store)
    assert found.past_unknown
    assert found.states == ("ask", "answer")


def test_what_begins_a_thread_comes_from_its_start(store):
    store.append([begin("B", 2.0, Resumption("x", 1)), *moves("B", 2.1, RESUMED, "ask")])
    assert shown(store) == [("B", START, "ask")]
    assert not store.runs()[0].past_unknown


def test_another_turn_is_another_run(store):
    store.append([*FIRST, stop("A", 1.95, Outcome.ENDED)])
    store.append([begin("B", 2.0, Resumption("other", 4)), *moves("B", 2.1, RESUMED, "a", "b")])
    assert [run.run for run in store.runs()] == ["A", "B"]
    assert store.runs()[1].origin == "A"
    assert shown(store)[-1] == ("B", "a", "b")


@pytest.mark.parametrize(
    ("resumes", "is_one"),
    [
        (Resumption("ask-1", 9), True),
        (Resumption("other", 3), True),
        (Resumption("other", 4), True),
        (Resumption("other", 5), False),
        (Resumption("other", 2), False),
        (Resumption("ask-1", 3, replays=True), True),
        (Resumption("other", 3, replays=True), False),
    ],
)
def test_an_invocation_goes_on_with_an_open_task_or_the_next_step(store, resumes, is_one):
    store.append([*FIRST, begin("B", 2.0, resumes)])
    assert (len(store.runs()) == 1) == is_one


@pytest.mark.parametrize(("superstep", "is_one"), [(3, False), (4, True), (5, True), (6, False)])
def test_after_a_whole_superstep_the_next_one_goes_on(store, superstep, is_one):
    whole = stop("A", 1.9, standing=Standing("search", 3))
    store.append([*FIRST[:-1], whole, begin("B", 2.0, Resumption("x", superstep))])
    assert (len(store.runs()) == 1) == is_one


@pytest.mark.parametrize("superstep", [4, 5])
def test_after_an_update_by_a_person_the_state_before_is_not_known(store, superstep):
    whole = stop("A", 1.9, standing=Standing("search", 3))
    store.append([*FIRST[:-1], whole, begin("B", 2.0, Resumption("x", superstep))])
    store.append(moves("B", 2.1, RESUMED, "b", END, step=superstep))
    is_known = superstep == 4
    assert path_of(store)[2:] == (("search", "b"),) * is_known + (("b", END),)


def test_a_state_that_the_process_knew_stays(store):
    store.append([*FIRST, begin("B", 2.0, Resumption("ask-1", 3))])
    store.append(moves("B", 2.1, "later", "answer", END, step=6))
    assert path_of(store)[2:] == (("later", "answer"), ("answer", END))


def test_a_replay_of_a_failed_attempt_is_another_run(store):
    failed = stop("A", 1.9, Outcome.FAILED, Standing("search", 3, ("ask-1",)))
    store.append([*FIRST[:-1], failed, begin("B", 2.0, Resumption("ask-1", 3, replays=True))])
    assert [run.origin for run in store.runs()] == [None, "A"]


def parallel():
    """Return what four processes record of three interrupts, answered one after the other."""
    tasks = ("x", "y", "z")
    first = [
        begin("A", 1.0),
        *moves("A", 1.1, START, "fan"),
        stop("A", 1.9, standing=Standing("fan", 2, tasks, ("d",))),
    ]
    batches = [first]
    for number, name in enumerate("ab", 2):
        left = tasks[number - 1 :]
        standing = Standing(RESUMED, 2, left, (name,))
        run = name.upper() * 2
        resumes = Resumption(tasks[number - 2], 2)
        batches.append(
            [begin(run, float(number), resumes), stop(run, number + 0.5, standing=standing)]
        )
    last = [
        begin("CC", 4.0, Resumption("z", 2)),
        Transition(RESUMED, None, "T", (), 2, 4.1, 1, "CC"),
        *moves("CC", 4.2, RESUMED, "c", "join", END, step=2),
        stop("CC", 4.9, Outcome.ENDED),
    ]
    return [*batches, last]


JOINED = (
    (START, "fan"),
    ("fan", None),
    ("fan", "a|b|c|d"),
    ("a|b|c|d", "join"),
    ("join", END),
)


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_parallel_interrupts_answered_by_several_processes_are_one_superstep(tmp_path, order):
    batches = parallel()
    with TransitionStore(file_url(tmp_path)) as store:
        seen = read_along(store, [batches[number] for number in order])
        assert path_of(store) == JOINED
        assert len(seen) == len(JOINED)
        assert [run.run for run in store.runs()] == ["A"]


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (0, 3, 2, 1), (0, 2, 1, 3)])
def test_they_are_so_on_a_server(postgres_url, order):  # noqa: F811
    batches = parallel()
    with TransitionStore(postgres_url) as store:
        seen = read_along(store, [batches[number] for number in order])
        assert path_of(store) == JOINED
        assert len(seen) == len(JOINED)


def test_a_composite_is_left_also_by_what_comes_in_a_later_batch(store):
    *batches, last = parallel()
    seen = read_along(store, [*batches, *([record] for record in last)])
    assert path_of(store) == tuple((m.source, m.target) for m in seen) == JOINED


def test_a_run_whose_process_was_killed_is_gone_on_with(store):
    store.append(FIRST[:-1])
    store.append([begin("B", 2.0, Resumption("x", 3)), *SECOND[1:]])
    assert path_of(store) == WHOLE


def test_its_last_moves_may_come_later(store):
    seen = read_along(store, [FIRST[:2], SECOND, FIRST[2:]])
    assert path_of(store) == WHOLE
    assert len(seen) == 5


def test_what_began_after_the_end_of_a_run_does_not_go_on_with_it_when_that_comes_late(store):
    store.append(FIRST[:-1])
    store.append([begin("B", 2.0, Resumption("x", 3)), *SECOND[1:]])
    store.append([stop("A", 1.9, Outcome.ENDED)])
    assert [run.run for run in store.runs()] == ["A", "B"]


def test_many_that_resume_at_once_are_never_two_parts_of_one_place(postgres_url):  # noqa: F811
    threads = 8
    with TransitionStore(postgres_url) as store:
        stores = [TransitionStore(postgres_url) for _ in range(threads)]
        for number in range(5):
            key, start = f"T{number}", threading.Barrier(threads + 1)

            def write(other, records, start=start):
                start.wait()
                other.append(records)

            parts = [
                [Beginning(key, f"{key}-{i}", resumes=Resumption("t", 3), time=2.0 + i)]
                for i in range(threads - 1)
            ]
            first = [
                Beginning(key, f"{key}-A", time=1.0),
                Ending(key, Outcome.INTERRUPTED, run=f"{key}-A", standing=Standing("s", 3, ("t",))),
            ]
            workers = [
                threading.Thread(target=write, args=pair)
                for pair in zip(stores, [first, *parts], strict=True)
            ]
            for worker in workers:
                worker.start()
            start.wait()
            for worker in workers:
                worker.join()
            store.append(
                [Transition(RESUMED, "x", key, (), 3, 3.0, 1, f"{key}-{i}") for i in range(7)]
            )
            found = list(store.read(trajectory=key))
            names = [run.run for run in store.runs(trajectory=key)]
            assert f"{key}-A" in names
            assert ("s", "x", f"{key}-A") in [(m.source, m.target, m.run) for m in found]
        for other in stores:
            other.close()


def test_a_run_is_judged_by_its_id_or_as_the_last_of_its_trajectory(store):
    store.append([*FIRST, *SECOND])
    store.append([begin("C", 4.0), *moves("C", 4.1, START, "plan", END), stop("C", 4.9)])
    store.judge("B", success=False)
    store.judge("T", success=True)
    assert [(run.run, run.success, run.judged) for run in read_runs(store)] == [
        ("A", False, True),
        ("C", True, True),
    ]
    assert store.trajectories() == ("T",)


def test_a_run_that_was_recorded_just_now_is_judged(store):
    for record in FIRST:
        store.record(record)
    store.judge("A", success=True)
    assert [ending.run for ending in store.endings()] == ["A", "A"]


def test_a_run_without_a_beginning_is_a_run(store):
    store.append(moves("A", 1.0, START, "plan"))
    store.append(moves("A", 2.0, "plan", END))
    assert store.runs() == (Beginning("T", "A", time=1.0),)
    assert path_of(store) == ((START, "plan"), ("plan", END))


def test_a_retry_is_the_same_run_and_the_last_outcome_counts(store):
    failed = stop("A", 1.8, Outcome.FAILED, Standing("search", 3, ("ask-1",)))
    store.append([*FIRST[:-1], failed, *moves("A", 1.9, "search", END), stop("A", 2.0, "ended")])
    assert store.outcomes() == {Outcome.ENDED: 1}
    (run,) = read_runs(store)
    assert (run.outcome, run.attempts, run.success) == (Outcome.ENDED, 2, True)
    assert (run.started, run.ended, run.limit_steps) == (1.0, 2.0, 3)


def test_old_runs_are_forgotten_and_what_goes_on_keeps_its_beginning(store):
    store.append([*FIRST, begin("N", 50.0), *moves("N", 50.0, START, "b", "c"), stop("N", 51.0)])
    store.append([begin("M", 60.0)])
    store.forget(before=55.0)
    assert [run.run for run in store.runs()] == ["N", "M"]
    store.append(SECOND)
    assert "B" in [run.run for run in store.runs()]
    store.append([begin("A", 1.0)])
    assert [run.run for run in store.runs()] == ["N", "M", "A"]
