"""Random runs of every kind: with and without START and END, broken, empty, of unknown success."""

from __future__ import annotations

from hypothesis import strategies as st

from detailed_balance.analyzers import END, START, Outcome, Trajectory
from detailed_balance.analyzers.runs.trajectory import StepFacts

STATES = st.sampled_from(["a", "b", "c", "hub"])
NUMBERS = st.none() | st.integers(0, 9)
FACTS = st.none() | st.builds(
    StepFacts,
    *(st.booleans(), NUMBERS, NUMBERS, st.booleans(), st.booleans()),
    *(NUMBERS, NUMBERS, NUMBERS, st.none() | st.floats(0, 9), st.booleans()),
)
TEXTS = st.none() | st.sampled_from(["x", "y", "z"])
TIMES = st.none() | st.floats(0, 1e9)


@st.composite
def trajectories(draw: st.DrawFn) -> Trajectory:
    targets = st.none() | STATES | st.just(END)
    moves = draw(st.lists(st.tuples(STATES | st.just(START), targets), max_size=6))
    n = len(moves)
    facts = draw(st.just(()) | st.lists(FACTS, min_size=n, max_size=n).map(tuple))
    return Trajectory(
        tuple(moves),
        draw(TEXTS),
        draw(st.none() | st.sampled_from(Outcome)),
        draw(st.none() | st.booleans()),
        draw(TEXTS),
        draw(st.sampled_from([(), (("model", "a"),), (("model", "b"), ("task", "1"))])),
        draw(st.just(()) | st.lists(st.floats(0, 9), min_size=n, max_size=n).map(tuple)),
        draw(st.none() | st.integers(0, 99)),
        draw(TEXTS),
        draw(TEXTS),
        draw(TEXTS),
        draw(TEXTS),
        draw(st.integers(0, 5)),
        draw(st.booleans()),
        draw(st.booleans()),
        draw(TIMES),
        draw(TIMES),
        facts if any(each is not None for each in facts) else (),
    )


RUNS = st.lists(trajectories(), max_size=4)
