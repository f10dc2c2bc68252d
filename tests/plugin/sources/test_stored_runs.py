"""Runs of a store found by columns are those that its records tell one by one."""

from collections import defaultdict
from dataclasses import astuple
from itertools import chain
from math import inf

from hypothesis import given, settings, strategies as st

from detailed_balance import Transition, TransitionStore
from detailed_balance.analyzers import Outcome
from detailed_balance.analyzers.runs.trajectory import StepFacts
from detailed_balance.callbacks import Ending
from detailed_balance.callbacks.transition import Beginning
from detailed_balance.readers.records.runs import split_runs
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
        *(numbers, numbers, numbers, st.one_of(st.none(), st.floats(0, 9))),
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


def read_one_by_one(store):
    """The definition: what the records of a store say, taken one after the other."""
    loose, records = defaultdict(list), []
    for ending in store.endings():
        (loose[ending.trajectory] if ending.run is None else records).append(ending)
    runs = split_runs(chain(store.read(), records), loose, store.runs())
    runs = [run for run in runs if run.moves or run.endings]
    if any(run.beginning for run in runs):
        runs.sort(key=lambda run: -inf if run.began is None else run.began)
    for run in reversed(runs):
        run.pop_endings(loose[run.trajectory])
    found = [run.end() for run in runs]
    return sorted(
        found, key=lambda run: (-inf if run.started is None else run.started, run.name or "")
    )


@settings(max_examples=100, deadline=None)
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
