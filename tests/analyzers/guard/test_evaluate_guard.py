"""What a guard would have stopped, tried on runs that it has not seen."""

import json

import numpy as np
import pytest

from detailed_balance.analyzers import RunGuard, Trajectory, evaluate_guard
from detailed_balance.analyzers.errors import InsufficientDataError, InvalidInputError
from detailed_balance.analyzers.guard.evaluate import risk_area
from tests.analyzers.guard.test_guard import recorded


class ByHeart:
    """Risk: 1 for a run that it was not fitted to, 0 for others; it tells who was tried by whom."""

    def fit(self, runs, seed=0):
        fitted = ByHeart()
        fitted.known = {run.moves[0] for run in runs}
        return fitted

    def start(self):
        return _ByHeart(self.known)


class _ByHeart:
    def __init__(self, known):
        self.known, self.risk = known, None

    def update(self, source, target):
        if self.risk is None:
            self.risk = float((source, target) not in self.known)
        return self.risk


def own_runs(number):
    """Runs with a first move of their own, every other one failed."""
    moves = [(("__start__", f"own {i}"), (f"own {i}", "b")) for i in range(number)]
    return [Trajectory(m, f"run {i}", success=i % 2 == 0) for i, m in enumerate(moves)]


def test_no_run_is_tried_by_a_guard_that_was_fitted_to_it():
    found = evaluate_guard(own_runs(60), score=ByHeart())
    # All are new to their guards, as are the runs of the threshold: all at it, and none above.
    assert (found.found.caught, found.found.good_stopped) == (0.0, 0.0)
    assert (found.found.area_end, found.found.area_half) == (0.5, 0.5)
    assert found.guard.score.limits == (1.0,) * 9


def test_whole_groups_are_tried_by_guards_of_other_groups():
    # Four runs a group, with the first move of the group: any guard of one of them knows it.
    first = [("__start__", f"task {i // 4}") for i in range(160)]
    runs = [Trajectory((first[i],), f"run {i}", success=i % 4 < 2) for i in range(160)]
    found = evaluate_guard(runs, score=ByHeart(), groups=[i // 4 for i in range(160)])
    assert (found.found.caught, found.found.good_stopped, found.found.area_end) == (0.0, 0.0, 0.5)
    assert found.guard.score.limits == (1.0,) * 9
    assert "fitted to other tasks" in found.describe()
    single = evaluate_guard(runs, score=ByHeart())
    assert single.guard.threshold == 0.0
    assert "fitted to other runs" in single.describe()


def test_the_table_names_every_run_once_and_json_holds_it():
    runs = recorded(0)
    found = evaluate_guard(runs, repetitions=2)
    table = found.to_table()
    assert len(table["run"]) == len(set(table["run"])) == len(runs)
    assert sum(table["success"]) == found.worked == 60
    assert set(table["stopped"]) <= {0.0, 0.5, 1.0}
    stopped, worked = np.array(table["stopped"]), np.array(table["success"])
    assert found.found.caught == pytest.approx(stopped[~worked].mean())
    assert found.found.good_stopped == pytest.approx(stopped[worked].mean())
    data = json.loads(json.dumps(found.to_dict()))
    assert data["guard"]["promise"] == found.guard.promise
    assert found.guard.to_dict() == RunGuard.fit(runs).to_dict()


def test_counting_steps_stands_beside_it():
    text = evaluate_guard(recorded(1)).describe()
    guard, steps, promise = text.splitlines()[1:]
    assert guard.split()[0] == "guard"
    assert steps.startswith("  counting steps  stops ")
    assert promise.split()[0] == "promise"
    assert "with probability at most 0.1" in promise


def test_the_area_is_the_share_of_pairs_in_the_right_order():
    rng = np.random.default_rng(0)
    risks, failed = rng.integers(0, 5, 40).astype(float), rng.random(40) < 0.4
    pairs = [(f > g) + 0.5 * (f == g) for f in risks[failed] for g in risks[~failed]]
    assert risk_area(risks, failed) == pytest.approx(np.mean(pairs))
    assert np.isnan(risk_area(risks, np.ones(40, dtype=bool)))


def test_too_little_says_what_it_takes():
    with pytest.raises(InsufficientDataError, match="at least 10 successful runs"):
        evaluate_guard(recorded(0, good=8, bad=8))
    with pytest.raises(InvalidInputError, match="folds=1"):
        evaluate_guard(recorded(0), folds=1)


def test_parts_without_a_threshold_are_said_and_not_counted():
    found = evaluate_guard(recorded(0, good=10, bad=20), repetitions=1)
    assert np.isnan(found.found.caught)
    assert "no threshold in these parts" in found.describe()
    json.dumps(found.to_dict(), allow_nan=False)
