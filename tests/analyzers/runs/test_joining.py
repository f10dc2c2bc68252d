"""Several tables as one: nothing of a run is lost or changed."""

import numpy as np
import pytest

from detailed_balance.analyzers import Outcome, Trajectory
from detailed_balance.analyzers.runs.joining import join_runs
from detailed_balance.analyzers.runs.names import rank_names
from detailed_balance.analyzers.runs.table import RunTable
from detailed_balance.analyzers.runs.trajectory import StepFacts

PLAIN = Trajectory((("b", "c"), ("c", None)), "one", run="1")
KNOWN = Trajectory(
    (("a", "c"), ("c", "__end__")),
    "two",
    outcome=Outcome.FAILED,
    success=False,
    error="ValueError",
    context=(("model", "x"),),
    costs=(1.0, 2.0),
    limit_steps=7,
    run="2",
    thread="T",
    parent="1",
    started=5.0,
    facts=(StepFacts(failed=True, tokens=3), None),
)
EMPTY = Trajectory((), "three")


@pytest.mark.parametrize(
    "parts",
    [
        [[PLAIN], [KNOWN, EMPTY]],
        [[KNOWN], [], [PLAIN]],
        [RunTable.of([EMPTY]), [KNOWN], [PLAIN, KNOWN]],
        [[PLAIN], [EMPTY]],
        [[], []],
    ],
)
def test_runs_of_several_tables_stay_what_they_are(parts):
    table = join_runs(parts)
    assert list(table) == [run for part in parts for run in part]
    assert list(table.states) == sorted(table.states)


def test_blocks_of_the_same_name_are_the_same_block():
    one, two = RunTable.of([PLAIN, PLAIN]), RunTable.of([KNOWN])
    one = RunTable(
        *(one.states, one.source, one.target, one.offsets),
        one.runs._replace(block=np.array([0, -1])),
        blocks=("x",),
    )
    two = RunTable(
        *(two.states, two.source, two.target, two.offsets),
        two.runs._replace(block=np.array([1])),
        blocks=("y", "x"),
    )
    table = join_runs([one, two])
    names = [*table.blocks, None]
    assert [names[code] for code in table.runs.block] == ["x", None, "x"]


def test_names_are_ranked_as_text_and_no_name_comes_first():
    names = np.array(["r10", None, "r9", "r10"], dtype=object)
    assert rank_names(names).tolist() == [0, -1, 1, 0]
