"""A guard for tasks that it has not seen: whole tasks set its threshold."""

import json
import zlib

import numpy as np
import pytest

from detailed_balance.analyzers import RunGuard, Trajectory
from detailed_balance.analyzers.errors import InsufficientDataError, InvalidInputError
from detailed_balance.analyzers.runs.table import RunTable

ALPHA = 0.2


class Novelty:
    """Risk: how many of the moves were in none of the fitted runs. It knows its tasks by heart."""

    def __init__(self, known=frozenset()):
        self.known = known

    def fit(self, runs, seed=0):
        fitted = Novelty(frozenset(move for run in runs for move in run.moves))
        fitted.tasks = {dict(run.context).get("task") for run in runs}
        return fitted

    def start(self):
        return _State(self.known)


class _State:
    def __init__(self, known):
        self.known, self.strange = known, 0

    def update(self, source, target):
        self.strange += (source, target) not in self.known
        return float(self.strange)


def task_runs(rng, tasks, trials):
    """Runs of tasks, each of which has a state of its own that its runs come to a few times."""
    found = []
    for task in tasks:
        mean = rng.uniform(1, 12)
        for i in range(trials):
            moves = [("__start__", "a"), ("a", f"own-{task}")]
            moves += [(f"own-{task}", f"own-{task}")] * int(rng.poisson(mean))
            success = bool(rng.random() < 0.7)
            labels = (("task", task),)
            found.append(Trajectory(tuple(moves), f"{task}-{i}", success=success, context=labels))
    return found


def test_the_runs_of_the_blocks_that_set_the_threshold_fit_nothing():
    runs = task_runs(np.random.default_rng(1), [f"t{i:02}" for i in range(30)], 4)
    guard = RunGuard.fit(runs, ALPHA, Novelty(), block="task")
    assert guard.calibration == 9
    assert len(guard.score.tasks) == 30 - 9


def test_good_runs_of_new_tasks_are_stopped_as_seldom_as_promised():
    stopped = np.zeros(2)
    guards = 250
    for seed in range(guards):
        rng = np.random.default_rng((2, seed))
        runs = task_runs(rng, [f"t{i:02}" for i in range(27)], 3)
        new = [run for run in task_runs(rng, ["new"], 12) if run.success]
        for i, block in enumerate(("task", None)):
            guard = RunGuard.fit(runs, ALPHA, Novelty(), block=block, seed=seed)
            stopped[i] += np.mean([guard.watch(run.moves).stopped for run in new]) if new else 0
    # Binomial at the worst, a task being stopped as a whole: 250 at 20%, 4 errors.
    assert stopped[0] / guards <= ALPHA + 4 * np.sqrt(ALPHA * (1 - ALPHA) / guards)
    assert stopped[0] / guards >= ALPHA / 4
    assert stopped[1] / guards > 0.5


def test_the_promise_says_what_is_new_and_survives_json():
    runs = task_runs(np.random.default_rng(3), [f"t{i:02}" for i in range(30)], 4)
    guard = RunGuard.fit(runs, ALPHA, block="task")
    assert "a run of a new task that would have succeeded" in guard.promise
    again = RunGuard.from_dict(json.loads(json.dumps(guard.to_dict())))
    assert again.promise == guard.promise
    assert "may not be" in RunGuard.fit(runs, ALPHA).promise
    own = RunGuard.fit(RunTable.of(runs).with_blocks("task"), ALPHA)
    assert own.threshold == guard.threshold
    assert "a run of a new block" in own.promise


@pytest.mark.parametrize("block", ["task", None])
def test_the_order_of_runs_changes_no_guard(block):
    rng = np.random.default_rng(4)
    runs = task_runs(rng, [f"t{i:02}" for i in range(30)], 4)
    expected = RunGuard.fit(runs, ALPHA, block=block).to_dict()
    for _ in range(2):
        shuffled = [runs[i] for i in rng.permutation(len(runs))]
        assert RunGuard.fit(shuffled, ALPHA, block=block).to_dict() == expected


def test_too_few_tasks_and_no_such_label_are_refused():
    runs = task_runs(np.random.default_rng(5), ["x", "y", "z"], 30)
    with pytest.raises(InsufficientDataError, match="4 groups of which one run, drawn at random"):
        RunGuard.fit(runs, ALPHA, block="task")
    with pytest.raises(InvalidInputError, match="no run has a label 'job'"):
        RunGuard.fit(runs, ALPHA, block="job")


def test_groups_are_a_label_a_value_for_each_run_or_the_blocks_of_the_table():
    runs = task_runs(np.random.default_rng(6), [f"t{i:02}" for i in range(30)], 4)
    by_label = RunGuard.fit(runs, ALPHA, groups="task")
    by_value = RunGuard.fit(runs, ALPHA, groups=[dict(run.context)["task"] for run in runs])
    table = RunTable.of(runs).with_blocks("task")
    assert by_label.threshold == by_value.threshold == RunGuard.fit(table, ALPHA).threshold
    assert by_label.to_dict() == RunGuard.fit(runs, ALPHA, block="task").to_dict()
    assert (by_label.block, by_value.block) == ("task", "block")
    single = RunGuard.fit(table, ALPHA, groups=False)
    assert single.block is None
    assert single.threshold == RunGuard.fit(runs, ALPHA).threshold
    with pytest.raises(InvalidInputError, match="2 groups for 120 runs"):
        RunGuard.fit(runs, ALPHA, groups=["x", "y"])


def test_a_guard_by_single_runs_says_which_label_looks_like_a_task():
    runs = task_runs(np.random.default_rng(7), [f"t{i:02}" for i in range(30)], 4)
    guard = RunGuard.fit(runs, ALPHA)
    assert 'for a new task give groups="task"' in guard.promise
    assert "give groups" in repr(guard)
    assert "give groups" not in RunGuard.fit(runs, ALPHA, groups=False).promise
    assert "give groups" not in RunGuard.fit(runs, ALPHA, groups="task").promise


def test_one_run_of_a_group_sets_the_threshold_and_uses_all_of_alpha():
    # Tasks of very different sizes: by the largest of all their runs far fewer would be stopped.
    stopped, guards = 0.0, 300
    for seed in range(guards):
        rng = np.random.default_rng((8, seed))
        tasks = [task_runs(rng, [f"t{i:02}"], int(rng.integers(1, 12))) for i in range(27)]
        new = [run for run in task_runs(rng, ["new"], 12) if run.success]
        runs = [run for task in tasks for run in task]
        guard = RunGuard.fit(runs, ALPHA, Length(), groups="task", seed=seed)
        stopped += np.mean([guard.watch(run.moves).stopped for run in new]) if new else ALPHA
    error = np.sqrt(ALPHA * (1 - ALPHA) / guards)
    assert stopped / guards <= ALPHA + 3 * error
    assert stopped / guards >= ALPHA - 4 * error


def test_tasks_that_succeed_seldom_are_as_rare_in_the_threshold_as_among_good_runs_to_come():
    # Hard tasks have long runs, and 1 of 10 succeeds; of easy ones 9 of 10 do. So 10% of
    # successful runs are of hard tasks, but 40% of those that one *successful* run of each task
    # would give: with these as the threshold, 5% of successful runs are stopped in place of 20%.
    stopped, guards = np.zeros(2), 200
    for seed in range(guards):
        rng = np.random.default_rng((9, seed))
        runs = [run for i in range(60) for run in hard_or_easy(rng, f"t{i:02}", 10)]
        guard = RunGuard.fit(runs, ALPHA, Length(), groups="task", seed=seed)
        new = [run for i in range(20) for run in hard_or_easy(rng, f"n{i}", 1) if run.success]
        stopped += sum(guard.watch(run.moves).stopped for run in new), len(new)
    # Guards differ by a standard deviation of sqrt(alpha (1 - alpha) / 9) at most.
    error = np.sqrt(ALPHA * (1 - ALPHA) * (1 / 9 / guards + 1 / stopped[1]))
    assert abs(stopped[0] / stopped[1] - ALPHA) <= 4 * error


def hard_or_easy(rng, task, trials):
    """Runs of a task that is hard or easy; those of one task have about the same length."""
    hard = rng.random() < 0.5
    length = int(rng.integers(20, 40) if hard else rng.integers(2, 20))
    for i in range(trials):
        moves = tuple([(f"s{i}", f"s{rng.integers(10**6)}")] * (length + int(rng.integers(2))))
        success = bool(rng.random() < (0.1 if hard else 0.9))
        yield Trajectory(moves, f"{task}-{i}", success=success, context=(("task", task),))


class Length:
    """Risk: the steps, and a little of the path, so that no two runs have the same."""

    def fit(self, runs, seed=0):
        return self

    def start(self):
        return _Length()


class _Length:
    def __init__(self):
        self.steps = 0

    def update(self, source, target):
        self.steps += 1
        return self.steps + zlib.crc32(target.encode()) / 2**33
