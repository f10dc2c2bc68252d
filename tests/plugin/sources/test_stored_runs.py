"""Runs of a store found by columns are those that its records tell one by one."""

from collections import defaultdict
from dataclasses import astuple
from itertools import chain
from math import inf

from hypothesis import given, settings, strategies as st

from detailed_balance import Transition, TransitionStore
from detailed_balance.analyzers import START, Outcome
from detailed_balance.analyzers.runs.trajectory import StepFacts
from detailed_balance.callbacks import Ending
from detailed_balance.callbacks.transition import Beginning
from detailed_balance.readers.records.runs import RunParts
from detailed_balance.sources._stored_runs import read_stored

STATES = ["__start__", "__end__", "a", "b", "c", "n\x00ul"]
TRAJECTORIES = [None, "T1", "T2", "T1/sub:1"]
RUNS = [None, "r1", "r2", "r3"]
CONTEXTS = [(), (("model", "x"),), (("model", "y"), ("team", "red"))]
TIMES = st.one_of(st.none(), st.integers(0, 6).map(float))

numbers = st.one_of(st.none(), st.integers(0, 3))
facts = st.one_of(
    st.none(),
    st.tuples(
        *(st.booleans(), numbers, numbers, st.booleans(), st.booleans()),
        *(numbers, numbers, numbers, st.one_of(st.none(), st.floats(0, 9)), st.booleans()),
    ).map(StepFacts._make),
)
moves = st.builds(
    Transition,
    st.sampled_from(STATES),
    st.sampled_from([*STATES, None, None]),
    st.sampled_from(TRAJECTORIES),
    st.sampled_from(CONTEXTS),
    step=st.one_of(st.none(), st.integers(0, 9)),
    time=TIMES,
    count=st.sampled_from([1, 1, 1, 3]),
    run=st.sampled_from([*RUNS, None]),
    facts=facts,
)
endings = st.builds(
    Ending,
    st.sampled_from(TRAJECTORIES),
    outcome=st.sampled_from([None, *Outcome]),
    error=st.sampled_from([None, "KeyError"]),
    success=st.sampled_from([None, None, True, False]),
    context=st.sampled_from(CONTEXTS),
    time=TIMES,
    run=st.sampled_from([*RUNS, None]),
    supersteps=st.one_of(st.none(), st.integers(0, 9)),
)
beginnings = st.builds(
    Beginning,
    st.sampled_from(TRAJECTORIES),
    st.sampled_from(RUNS[1:]),
    thread=st.sampled_from([None, "T1"]),
    parent=st.sampled_from([None, "r1"]),
    origin=st.sampled_from([None, "r2"]),
    past_unknown=st.booleans(),
    context=st.sampled_from(CONTEXTS),
    time=TIMES,
)
some_records = st.lists(st.one_of(moves, moves, endings, beginnings), max_size=25)


def stopped_between(stops, before, move):
    """Whether a run that had only tried to start has stopped since, so that a START is again."""
    return any((before.time or 0) <= (s.time or 0) <= (move.time or 0) for s in stops if s.outcome)


def read_one_by_one(store):
    """The definition: what the records of a store say, taken one after the other."""
    loose, records = defaultdict(list), []
    for ending in store.endings():
        (loose[ending.trajectory] if ending.run is None else records).append(ending)
    named = {begun.run: RunParts(begun.run, begun) for begun in store.runs()}
    runs, open_runs = list(named.values()), {}
    for record in chain(store.read(), records):
        if record.run is not None:
            run = named.get(record.run)
            if run is None:
                run = named[record.run] = RunParts(record.run)
                runs.append(run)
            (run.endings if isinstance(record, Ending) else run.moves).append(record)
        elif record.trajectory is not None:
            run, stops = open_runs.get(record.trajectory), loose[record.trajectory]
            moved = run is not None and any(move.target is not None for move in run.moves)
            if run is None or (
                record.source == START and (moved or stopped_between(stops, run.moves[-1], record))
            ):
                run = open_runs[record.trajectory] = RunParts()
                runs.append(run)
            run.moves.append(record)
    runs = [run for run in runs if run.moves or run.endings]
    if any(run.beginning for run in runs):
        runs.sort(key=lambda run: -inf if run.began is None else run.began)
    for run in reversed(runs):  # each takes the endings that came after it began
        began, left = run.began, loose[run.trajectory]
        own = [e for e in left if began is None or e.time is None or e.time >= began]
        left[:] = [e for e in left if e not in own]
        run.endings.extend(own)
    found = [run.end() for run in runs]
    return sorted(
        found, key=lambda run: (-inf if run.started is None else run.started, run.name or "")
    )


@settings(max_examples=50, deadline=None)
@given(some_records)
def test_runs_by_columns_are_those_of_the_records(records) -> None:
    with TransitionStore("sqlite://") as store:
        store.append(records)
        found, counts = read_stored(store)
        assert list(map(astuple, found)) == list(map(astuple, read_one_by_one(store)))
        expected = store.counts()
    order = sorted(range(len(expected)), key=expected.states.__getitem__)
    assert counts.restrict(expected.states).attempts.tolist() == expected.attempts.tolist()
    assert len(order) == len(set(counts.states) & set(expected.states))
