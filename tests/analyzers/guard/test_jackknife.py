"""A guard of few runs or tasks: each that sets the threshold is left out of one score."""

import json
from itertools import pairwise

import numpy as np
import pytest

from detailed_balance.analyzers import OutcomeScore, RepetitionLimits, RunGuard, Trajectory
from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.analyzers.guard.conformal import JackknifeScore, fit_jackknife
from detailed_balance.analyzers.guard.watch import run_maxima
from detailed_balance.analyzers.runs.table import RunTable
from tests.analyzers.guard.test_blocks import Novelty, task_runs

ALPHA = 0.2
FEW = [f"t{i:02}" for i in range(20)]


def test_each_score_has_seen_all_tasks_but_one():
    runs = task_runs(np.random.default_rng(1), FEW, 4)
    guard = RunGuard.fit(runs, ALPHA, Novelty(), groups="task")
    unseen = [set(FEW) - score.tasks for score in guard.score.scores]
    assert [len(tasks) for tasks in unseen] == [1] * 4
    assert len(set.union(*unseen)) == guard.calibration == 4
    assert guard.threshold == 0.0
    assert "a run of a new task that would have succeeded" in guard.promise


def test_each_score_of_a_small_record_has_seen_all_runs_but_one():
    runs = task_runs(np.random.default_rng(8), FEW[:12], 1)
    guard = RunGuard.fit(runs, ALPHA, Novelty())
    unseen = [set(FEW[:12]) - score.tasks for score in guard.score.scores]
    assert [len(tasks) for tasks in unseen] == [1] * 4
    assert len(set.union(*unseen)) == guard.calibration == 4
    assert "4 successful runs that set the threshold" in guard.promise


def test_of_any_tasks_at_most_one_is_stopped_by_the_guard_of_the_others():
    # What the promise follows from: m + 1 tasks, each in turn the new one.
    number = 0
    for seed in range(30):
        rng = np.random.default_rng((2, seed))
        chains = [moves_of(rng) for _ in range(5)]
        good = [Trajectory(moves, f"g{i}", success=True) for i, moves in enumerate(chains)]
        bad = [Trajectory(moves_of(rng), f"b{i}", success=False) for i in range(6)]
        stopped = 0
        for new in range(5):
            table = RunTable.of([*(run for i, run in enumerate(good) if i != new), *bad])
            settings = (np.arange(len(table)), np.arange(4), 0, None)
            score = fit_jackknife(OutcomeScore(), table, *settings)
            stopped += run_maxima(score, RunTable.of([good[new]]), None)[0] > 0
        assert stopped <= 1
        number += stopped
    assert number >= 10


def moves_of(rng):
    path = ["__start__", *rng.choice(list("abc"), rng.integers(3, 12))]
    return tuple(pairwise(path))


def test_risks_of_all_runs_at_once_are_those_of_each_run_live_and_after_json():
    runs = task_runs(np.random.default_rng(3), FEW, 4)
    guard = RunGuard.fit(runs, ALPHA, OutcomeScore(memory=1), groups="task")
    assert isinstance(guard.score, JackknifeScore)
    again = RunGuard.from_dict(json.loads(json.dumps(guard.to_dict())))
    assert again.promise == guard.promise
    for each in (guard, again):
        table = RunTable.of(runs[:12])
        live = [each.watch(run.moves[: i + 1]).risk for run in table for i in range(len(run))]
        assert each.score.risks(table).tolist() == live
        both = zip(each.score.scores, each.score.limits, strict=True)
        assert live == np.min([s.risks(table) - limit for s, limit in both], axis=0).tolist()


def test_the_order_of_runs_changes_no_guard_of_few_tasks():
    rng = np.random.default_rng(4)
    runs = task_runs(rng, FEW, 4)
    shuffled = [runs[i] for i in rng.permutation(len(runs))]
    first, other = (RunGuard.fit(some, ALPHA, groups="task") for some in (runs, shuffled))
    assert first.to_dict() == other.to_dict()


def test_a_score_that_learns_nothing_is_one_score():
    runs = task_runs(np.random.default_rng(5), FEW, 4)
    guard = RunGuard.fit(runs, ALPHA, RepetitionLimits(max_stay=5), groups="task")
    assert isinstance(guard.score, RepetitionLimits)
    assert guard.threshold > 0


def test_scores_that_leave_tasks_out_are_not_fitted_again():
    with pytest.raises(InvalidInputError, match=r"fitted by RunGuard\.fit"):
        JackknifeScore((OutcomeScore(),), (0.0,)).fit([])


def test_a_key_that_is_not_known_in_scores_that_leave_tasks_out_is_named():
    runs = task_runs(np.random.default_rng(6), FEW, 4)
    data = RunGuard.fit(runs, ALPHA, groups="task").to_dict()
    with pytest.raises(InvalidInputError, match="no 'limit'; it holds limits, scores"):
        RunGuard.from_dict({**data, "score": {**data["score"], "limit": 1.0}})
