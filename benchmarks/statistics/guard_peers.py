"""What people would use in place of the guard."""

from __future__ import annotations

import numpy as np
from scipy.special import expit

from detailed_balance.analyzers import OutcomeScore, Trajectory

__all__ = ["stop_by_evaluator", "stop_by_three_in_a_row"]


def stop_by_three_in_a_row(run: Trajectory) -> int | None:
    """Return the step at which the same tool was called three times in a row."""
    count, last = 0, None
    for step, (_, target) in enumerate(run.moves, 1):
        count = count + 1 if target == last else 1
        last = target
        if count >= 3 and target != "respond":  # an answer to the user is not a tool
            return step
    return None


def stop_by_evaluator(
    train: list[Trajectory], test: list[Trajectory], variant: str, alpha: float, seed: int
) -> list[int | None] | None:
    """Return the step at which `e-valuator` stops each run, given our score; None without it.

    Two thirds of the runs fit the score, the others calibrate the package: its models need runs of
    both outcomes, where the guard needs successful ones.
    """
    try:
        from evaluator.evaluator import EValuator
    except ImportError:
        return None
    order = np.random.default_rng(seed).permutation(len(train))
    cut = 2 * len(train) // 3
    score = OutcomeScore().fit([train[i] for i in order[:cut]], seed)
    judge = EValuator(mt_variant=variant, alphas=[alpha], random_state=seed)
    try:
        judge.fit(_frame(score, [train[i] for i in order[cut:]]))
    except AssertionError:
        return None  # fewer than five of an outcome
    rejects = judge.apply(_frame(score, test))
    column = f"reject_{variant}_alpha_{str(alpha).replace('.', '_')}"
    first = rejects[rejects[column]].groupby("uq_problem_idx")["num_steps"].min()
    return [int(first[i]) if i in first.index else None for i in range(len(test))]


def _frame(score: OutcomeScore, runs: list[Trajectory]):
    import pandas as pd

    rows = []
    for number, run in enumerate(runs):
        state = score.start()
        for step, move in enumerate(run.moves, 1):
            chance = 1 - float(expit(state.update(*move)))
            rows.append((number, step, int(bool(run.success)), [chance]))
    names = ["uq_problem_idx", "num_steps", "solved", "judge_probability_series"]
    return pd.DataFrame(rows, columns=names)
