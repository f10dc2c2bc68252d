"""Runs of one task are one piece of evidence that an agent has changed."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from detailed_balance.analyzers import DriftMartingale, Trajectory
from detailed_balance.analyzers.errors import InsufficientDataError, InvalidInputError
from detailed_balance.analyzers.runs.table import RunTable
from detailed_balance.analyzers.sequential import drift_martingale
from detailed_balance.analyzers.sequential.conformal_betting import BlockRanks, InsideRanks

MOVES = (("a", "b"), ("b", "a"))


def run(length, task, name=None):
    moves = (("__start__", "a"), *(MOVES * length)[:length], ("a", "__end__"))
    return Trajectory(moves, name, success=True, context=(("task", task),))


def batch(rng, task, runs, shift=0.0):
    """Runs of a task: its mean length is its own, 10 times what the runs of one task differ."""
    mean = rng.uniform(5, 45) + shift
    return [
        run(max(1, round(mean + rng.normal(0, 1.2))), task, f"{task}-{i:02}") for i in range(runs)
    ]


def batches(rng, number, runs, prefix, shift=0.0):
    return [one for i in range(number) for one in batch(rng, f"{prefix}{i:03}", runs, shift)]


# The p-values.


def test_ranks_of_a_small_case_are_those_by_hand():
    ranks = BlockRanks([[1.0, 4.0], [3.0]])
    ((first, second),) = ranks.rank("new", [2.0, 5.0], np.random.default_rng(0))
    # Above 2: half a block, a whole one, and the half of its own; above 5 only its own part.
    assert 2 / 3 < first[1] < 2 / 3 + 1 / 6
    assert 0 < second[1] < 1 / 6


@pytest.mark.parametrize("power", [2, 5])
def test_the_mean_bet_on_a_block_is_fair_whichever_block_is_the_last(power):
    # The density p -> power p^(power - 1), over every block of a bag being the new one.
    blocks = [[1.0, 1.0, 7.0], [2.0], [1.0, 3.0, 4.0, 9.0], [8.0, 8.0]]
    grid = (np.arange(500) + 0.5) / 500

    class Grid:
        """Draws every number of the grid in its turn, the same for all runs of a block."""

        def random(self):
            return self.value

    source, bets = Grid(), []
    for last in range(len(blocks)):
        others = blocks[:last] + blocks[last + 1 :]
        for value in grid:
            source.value = value
            (bet,) = BlockRanks(others).rank("new", blocks[last], source)
            bets.append(np.mean([power * p ** (power - 1) for _, p in bet]))
    assert np.mean(bets) == pytest.approx(1, abs=1e-3)


def test_ranks_inside_blocks_are_uniform_however_blocks_differ():
    rng = np.random.default_rng(1)
    pvalues = []
    for _ in range(400):
        mean = rng.normal(0, 100)
        ranks = InsideRanks({"t": rng.normal(mean, 1, 4)})
        bets = ranks.rank("t", rng.normal(mean, 1, 5).tolist(), rng)
        pvalues += [[p for ((_, p),) in bets]]
    found = np.array(pvalues)
    assert stats.kstest(found.ravel(), "uniform").statistic < 1.95 / np.sqrt(found.size)
    assert abs(np.corrcoef(found[:, 0], found[:, 4])[0, 1]) < 4 / np.sqrt(400)


def test_a_block_never_seen_begins_without_a_bet():
    ranks = InsideRanks()
    assert len(ranks.rank("t", [1.0, 2.0, 3.0], np.random.default_rng(0))) == 2


# What is promised, and found.


def alarms(records, runs, *, block, shift=0.0, size=25):
    found = 0
    for seed in range(records):
        rng = np.random.default_rng((3, seed))
        drift = DriftMartingale(
            batches(rng, size, runs, "a"), block=block, scores=["length", "surprise"], seed=seed
        )
        drift.update_runs(batches(rng, size, runs, "b", shift))
        drift.flush()
        found += drift.alarm
    return found


def test_batches_of_one_task_are_no_drift():
    assert alarms(60, 6, block="task") <= 11  # binomial, 60 at 5%: 12 or more in 1 of 17,000
    assert alarms(20, 6, block=None) > 11


def test_a_change_of_all_batches_is_found():
    assert alarms(15, 6, block="task", shift=40.0) >= 14


def test_longer_runs_of_known_tasks_are_found_where_tasks_differ_more():
    rng = np.random.default_rng(5)
    means = {f"t{i:02}": rng.uniform(5, 60) for i in range(30)}

    def night(name, shift):
        return [
            run(round(mean + shift + rng.normal(0, 1)), task, f"{name}-{task}-{i}")
            for task, mean in means.items()
            for i in range(4)
        ]

    usual, same, longer = night("a", 0), night("b", 0), night("c", 3)
    drift = DriftMartingale(usual, block="task", scores=["length"])
    drift.update_runs(same)
    drift.flush()
    assert not drift.alarm
    drift.update_runs(longer)
    assert drift.alarm
    assert "against earlier runs of the same block" in drift.describe()


def test_twenty_odd_runs_of_one_new_task_are_one_bet():
    rng = np.random.default_rng(6)
    usual = batches(rng, 40, 2, "a")
    odd = [run(200, "odd", f"odd-{i}") for i in range(20)]
    drift = DriftMartingale(usual, block="task")
    drift.update_runs(odd)
    drift.flush()
    assert (drift.units, drift.runs, drift.alarm) == (1, 20, False)
    plain = DriftMartingale(usual)
    plain.update_runs(odd)
    assert plain.alarm


# Blocks come and go.


def test_a_block_is_bet_on_when_another_begins_or_it_is_flushed():
    rng = np.random.default_rng(7)
    drift = DriftMartingale(batches(rng, 30, 2, "a"), block="task")
    first, second = batch(rng, "x", 3), batch(rng, "y", 2)
    for one in first:
        drift.update(one)
    assert drift.units == 0
    assert "3 of an open block are not counted yet" in drift.describe()
    drift.update(second[0])
    assert drift.units == 1
    drift.flush()
    drift.flush()
    assert drift.units == 2
    drift.update(replace(second[1], context=()))  # of no block: by itself
    assert drift.units == 3


def test_the_order_inside_an_open_block_and_that_of_the_baseline_change_nothing():
    rng = np.random.default_rng(8)
    usual, new = batches(rng, 30, 3, "a"), batches(rng, 10, 4, "b")
    expected = None
    for _ in range(3):
        drift = DriftMartingale([usual[i] for i in rng.permutation(90)], block="task")
        for begin in range(0, 40, 4):
            drift.update_runs([new[begin + i] for i in rng.permutation(4)])
        drift.flush()
        found = drift.log_e_values
        assert found == (expected or found)
        expected = found


def test_one_by_one_and_as_a_table_is_the_same_and_a_state_goes_on():
    rng = np.random.default_rng(9)
    usual, new = batches(rng, 30, 3, "a"), batches(rng, 8, 3, "b")
    new += [replace(one, name=f"again-{one.name}") for one in new[:9]]
    whole, single = (DriftMartingale(usual, block="task") for _ in range(2))
    whole.update_runs(new)
    for i, one in enumerate(new):
        single.update(one)
        if i % 5 == 1:  # in the middle of blocks
            single = DriftMartingale.from_dict(json.loads(json.dumps(single.to_dict())))
    assert single.to_dict() == whole.to_dict()


def test_blocks_of_a_table_are_its_own():
    rng = np.random.default_rng(10)
    usual, new = (RunTable.of(batches(rng, 30, 2, p)).with_blocks("task") for p in "ab")
    own, asked = DriftMartingale(usual), DriftMartingale(usual, block="task")
    for drift in (own, asked):
        drift.update_runs(new)
    assert own.by_blocks
    assert own.log_e_values == asked.log_e_values
    one_by_one = DriftMartingale(usual)
    for one in new:
        one_by_one.update(one, block=dict(one.context)["task"])
    assert one_by_one.log_e_values == own.log_e_values


def test_too_few_blocks_and_no_such_label_are_refused():
    rng = np.random.default_rng(11)
    with pytest.raises(InsufficientDataError, match="19 baseline blocks"):
        DriftMartingale(batches(rng, 19, 5, "a"), block="task")
    with pytest.raises(InvalidInputError, match="no run has a label 'job'"):
        DriftMartingale(batches(rng, 30, 2, "a"), block="job")
    with pytest.raises(InvalidInputError, match="the baseline has no blocks"):
        DriftMartingale(batches(rng, 30, 2, "a")).update(batch(rng, "x", 1)[0], block="x")


def test_of_very_many_blocks_the_oldest_is_new_again(monkeypatch):
    monkeypatch.setattr(drift_martingale, "MOST_BLOCKS", 32)
    rng = np.random.default_rng(12)
    drift = DriftMartingale(batches(rng, 30, 2, "a"), block="task")
    drift.update_runs(batches(rng, 60, 2, "b"))
    drift.flush()
    state = drift.to_dict()
    assert state["known"] == [f"b{i:03}" for i in range(28, 60)]
    inside = [test["ranks"]["inside"] for test in state["tests"] if "inside" in test["ranks"]]
    assert all(set(each) <= set(state["known"]) for each in inside)
