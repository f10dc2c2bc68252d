"""`predict_steps` against a loop over the parts, and against chains with a known entropy."""

from itertools import pairwise

import numpy as np
import pytest

from detailed_balance.analyzers import END, START, RunTable, Trajectory, predict_steps
from detailed_balance.analyzers.errors import InsufficientDataError, InvalidInputError


def path(*states, **known):
    return Trajectory(tuple(pairwise(states)), **known)


def coin_runs(rng, runs, share):
    """Return runs that go from a to b with a probability, else to c, and back."""
    made = []
    for number in range(runs):
        states = []
        for _ in range(20):
            states += ["a", "b" if rng.random() < share else "c"]
        made.append(path(START, *states, END, name=f"{number:03}"))
    return made


def test_the_loss_is_the_entropy_of_the_chain_and_popularity_is_worse():
    rng, share = np.random.default_rng(0), 0.8
    found = predict_steps(coin_runs(rng, 200, share))
    entropy = -share * np.log(share) - (1 - share) * np.log(1 - share)
    # Of 41 moves 20 are tosses; the end, 1 of 20 returns, costs some more.
    end = -(0.05 * np.log(0.05) + 0.95 * np.log(0.95)) * 20
    assert found.log_loss == pytest.approx((20 * entropy + end) / 41, abs=0.02)
    assert abs(found.log_loss - (20 * entropy + end) / 41) < 4 * found.log_loss_error + 0.01
    assert found.popularity_loss > found.log_loss + 0.5
    assert found.top1 == pytest.approx((20 * share + 20) / 41, abs=0.02)


def test_the_odd_step_of_one_run_is_what_was_unexpected():
    usual = [path(START, "plan", "search", "answer", END, name=f"{i:02}") for i in range(30)]
    odd = path(START, "plan", "delete", "answer", END, name="odd")
    found = predict_steps([*usual, odd])
    (first, surprisal), *_ = found.unexpected(30)
    assert first == 1
    assert surprisal == found.of_run(30)[1] == found.of_run(30).max()
    assert found.expected[found.moves - 3] == "search"
    assert found.unexpected(0) == []
    assert found.to_table()["step"][-4:] == [1, 2, 3, 4]


def test_blocks_are_never_predicted_from_themselves():
    # Each task has a path of its own, which other runs of it would tell.
    runs = [
        path("a", f"only in {task}", "a", context=(("task", str(task)),), name=f"{task}/{i}")
        for task in range(10)
        for i in range(4)
    ]
    by_run = predict_steps(runs)
    by_task = predict_steps(RunTable.of(runs).with_blocks("task"))
    assert (by_run.unit, by_task.unit) == ("run", "block")
    assert by_task.log_loss > by_run.log_loss + 0.5


def test_the_order_of_runs_changes_no_surprisal():
    runs = coin_runs(np.random.default_rng(1), 20, 0.7)
    one, other = predict_steps(runs), predict_steps(runs[::-1])
    assert one.of_run(3).tolist() == other.of_run(16).tolist()


def test_too_few_runs_are_told_how_many_it_takes():
    with pytest.raises(InsufficientDataError, match="5 runs"):
        predict_steps([path("a", "b")] * 4)
    with pytest.raises(InvalidInputError, match="folds=1"):
        predict_steps([path("a", "b")] * 9, folds=1)
