"""What steps bring, all at once, is what each of them brings by itself."""

from __future__ import annotations

from hypothesis import given, strategies as st

from detailed_balance.analyzers import Trajectory
from detailed_balance.analyzers.repetition.progress import (
    StepProgress,
    classify_step,
    classify_steps,
)
from detailed_balance.analyzers.runs.table import RunTable
from detailed_balance.analyzers.runs.trajectory import StepFacts

NUMBERS = st.none() | st.integers(0, 3)
FACTS = st.none() | st.tuples(st.booleans(), NUMBERS, NUMBERS, st.booleans(), st.booleans()).map(
    lambda values: StepFacts(*values)
)
STEPS = st.lists(st.tuples(st.sampled_from(["a", None]), FACTS), min_size=1, max_size=12)


@given(STEPS)
def test_columns_say_of_each_step_what_it_brings(steps) -> None:
    moves = tuple(("a", target) for target, _ in steps)
    run = Trajectory(moves, facts=tuple(facts for _, facts in steps))
    expected = [classify_step(target, facts) for target, facts in steps]
    assert classify_steps(RunTable.of([run])).tolist() == expected
    bare = classify_steps(RunTable.of([Trajectory(moves)])).tolist()
    assert bare == [classify_step(target, None) for target, _ in steps]


def test_a_call_again_with_an_answer_that_nobody_read_is_not_known() -> None:
    assert classify_step("a", StepFacts(call=1, repeats=True)) is StepProgress.UNKNOWN
    assert classify_step("a", StepFacts(call=1, repeats=True, answer=5)) is StepProgress.NEW
    assert classify_step("a", StepFacts(call=1, failed=True)) is StepProgress.FAILED


def test_a_node_that_answers_no_call_brings_nothing_that_is_known() -> None:
    assert classify_step("a", StepFacts(answer=1)) is StepProgress.UNKNOWN
