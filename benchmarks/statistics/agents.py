"""Simulated agents with finite runs, for what a user of many runs is told.

A weight w[f, g] stands for each move f -> g; the next state is drawn by the weights from where
the agent is. Symmetric weights make a reversible chain. Runs start at one state and have 5 to 30
moves; where the agent can end only from one state, they go on until it is there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from detailed_balance.analyzers import END, START, RunTable
from detailed_balance.analyzers.runs.columns import OUTCOMES, RunColumns
from detailed_balance.analyzers.runs.trajectory import Outcome

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["draw_lengths", "draw_paths", "draw_weights", "make_runs", "push_loop"]

SHORTEST, LONGEST, MOST = 5, 30, 200


def draw_weights(rng: np.random.Generator, n: int, *, spread: float = 1.0) -> NDArray[np.float64]:
    """(n, n) array: symmetric log-normal weights, 0 on the diagonal."""
    upper = np.triu(np.exp(spread * rng.standard_normal((n, n))), 1)
    return upper + upper.T


def push_loop(
    weights: NDArray[np.float64], loop: Sequence[int], nats: float
) -> NDArray[np.float64]:
    """Push an agent round a loop: `nats` is the log of forward over backward weight a step."""
    pushed = weights.copy()
    for f, g in zip(loop, (*loop[1:], loop[0]), strict=True):
        pushed[f, g] *= np.exp(nats / 2)
        pushed[g, f] *= np.exp(-nats / 2)
    return pushed


def draw_lengths(rng: np.random.Generator, runs: int) -> NDArray[np.int64]:
    """Return the moves of each of so many runs: 5 to 30."""
    return rng.integers(SHORTEST, LONGEST + 1, runs)


def draw_paths(
    rng: np.random.Generator,
    weights: ArrayLike,
    lengths: NDArray[np.int64],
    *,
    start: int = 0,
    end: int | None = None,
) -> list[list[int]]:
    """Return the states of runs; `weights` is (n, n), or (runs, n, n) for kernels of their own.

    Parameters
    ----------
    lengths : (runs,) array of int
        The moves of each.
    end : int, optional
        The only state from which runs end: they go on until they are there.
    """
    table = np.asarray(weights, dtype=np.float64)
    runs, n = len(lengths), table.shape[-1]
    chance = np.cumsum(table / table.sum(axis=-1, keepdims=True), axis=-1)
    chance = np.broadcast_to(chance, (runs, n, n))
    here, every = np.full(runs, start), np.arange(runs)
    steps = [here]
    for _ in range(int(lengths.max()) if end is None else MOST):
        drawn = rng.random(runs)[:, None]
        here = np.minimum((drawn > chance[every, here]).sum(axis=1), n - 1)
        steps.append(here)
    made = np.array(steps).T
    stops = lengths.copy()
    if end is not None:
        for run, length in enumerate(lengths.tolist()):
            there = np.flatnonzero(made[run, length:] == end)
            stops[run] = length + (there[0] if len(there) else MOST - length)
    return [made[run, : stop + 1].tolist() for run, stop in enumerate(stops.tolist())]


def make_runs(
    paths: Sequence[Sequence[int | str]],
    success: ArrayLike | None = None,
    *,
    limited: ArrayLike | None = None,
    blocks: Sequence[int] | None = None,
    started: ArrayLike | None = None,
) -> RunTable:
    """Return paths as runs with names, START and END.

    Parameters
    ----------
    success : (runs,) array of bool, optional
        Which did their work; without it all ended and nothing else is known.
    limited : (runs,) array of bool, optional
        Which were stopped by a limit: they have no END.
    """
    stopped = np.zeros(len(paths), bool) if limited is None else np.asarray(limited, bool)
    states = sorted({f"tool_{state}" for path in paths for state in path})
    code = {state: i for i, state in enumerate([*states, START, END])}
    moves = [[code[START], *(code[f"tool_{s}"] for s in path), code[END]] for path in paths]
    moves = [path[:-1] if stop else path for path, stop in zip(moves, stopped, strict=True)]
    lengths = np.array([len(path) - 1 for path in moves])
    good = ~stopped if success is None else np.asarray(success, bool) & ~stopped
    at_limit = OUTCOMES.index(Outcome.RECURSION_LIMIT)
    known = {
        "name": [f"run-{i:05}" for i in range(len(paths))],
        "success": good.astype(np.int8),
        "outcome": np.where(stopped, at_limit, OUTCOMES.index(Outcome.ENDED)).astype(np.int8),
    }
    if started is not None:
        known["started"] = started
    if blocks is not None:
        known["block"] = blocks
    return RunTable.from_codes(
        [*states, START, END],
        np.concatenate([path[:-1] for path in moves]),
        np.concatenate([path[1:] for path in moves]),
        np.concatenate([[0], np.cumsum(lengths)]),
        RunColumns.unknown(len(paths), **known),
        blocks=() if blocks is None else tuple(str(i) for i in range(max(blocks) + 1)),
    )
