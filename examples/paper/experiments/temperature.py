"""The action as a function of temperature: of a real model's measured kernel, and of a simulation.

SmolLM2-135M-Instruct was measured at the temperatures 0.7 and 1 (`examples/demo/ORIGIN.md`), so its
two kernels are exact. The lexicon model is a simulation whose potential is V / temperature. From
each kernel some attempts a state are drawn, as one would record them; the errors are those of a
bootstrap over them. S / n of few counts is too low, because V follows their noise; with the shape
of V from counts drawn before it is a little too high (`measure_action`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from detailed_balance.analyzers import (
    Kernel,
    estimate_potential,
    evaluate_action,
    expected_minimum_action,
    fit_spread,
    measure_action,
)
from examples.paper.agent.console import make_parser, show_table
from examples.paper.chains import sample, smollm2
from examples.paper.words.lexicon import LexiconChatModel

__all__ = ["main", "reheat"]

REPLICATES = 30
"""Of the bootstrap."""


def lexicon_kernel(temperature: float) -> Kernel:
    """Return the kernel of the simulated model."""
    return LexiconChatModel(temperature=temperature, spread=1.0).kernel()


def reheat(kernel: Kernel, factor: float) -> Kernel:
    """Raise a kernel to the power 1 / factor, row by row: a guess at a temperature so much higher.

    Not what a language model does. Its temperature acts on tokens, each normalised by itself, and
    a state is an answer of several; and what is missing in a row, all other answers, is taken for
    a single one here.

    Examples
    --------
    >>> cold = reheat(Kernel.from_matrix([[0.2, 0.8], [0.5, 0.5]]), 0.5)
    >>> cold.probabilities.toarray().round(3).tolist()  # 0.04 : 0.64
    [[0.059, 0.941], [0.5, 0.5]]
    """
    rows = _with_rest(kernel) ** (1 / factor)
    return Kernel.from_matrix((rows / rows.sum(axis=1, keepdims=True))[:, :-1], kernel.states)


def _with_rest(kernel: Kernel) -> NDArray[np.float64]:
    """Return the (n, n + 1) rows, the last column being what is missing to 1."""
    rows = kernel.probabilities.toarray()
    rows = np.column_stack([rows, np.maximum(1 - rows.sum(axis=1), 0)])
    return np.asarray(rows / rows.sum(axis=1, keepdims=True))


def temperature_rows(
    kernel: Kernel, attempts: int, rng: np.random.Generator
) -> tuple[list[float], list[float]]:
    """Return what counts say of a kernel's action, and what its spread lets one expect."""
    exact = estimate_potential(kernel)
    shape, counts = (estimate_potential(sample(kernel, attempts, rng)) for _ in range(2))
    again = [sample(counts.kernel, attempts, rng) for _ in range(REPLICATES)]
    own = [estimate_potential(drawn).normalized_action for drawn in again]
    held_out = [measure_action(drawn, shape).action for drawn in again]
    fresh = measure_action(sample(kernel, attempts, rng), shape)
    spread = fit_spread(exact)
    flat = evaluate_action(kernel, np.zeros(len(kernel.states))) / len(kernel.states)
    s = spread.deviation
    return (
        [
            exact.normalized_action,
            counts.normalized_action,
            float(np.std(own, ddof=1)),
            fresh.action,
            float(np.std(held_out, ddof=1)),
            fresh.error,
        ],
        [
            s,
            spread.deviation_error,
            exact.normalized_action,
            flat,
            exact.normalized_action / flat,
            float(expected_minimum_action(s)),
            float(expected_minimum_action(s / 2)),
        ],
    )


def show_temperatures(
    title: str,
    kernel_at: Callable[[float], Kernel],
    temperatures: Sequence[float],
    attempts: int,
    rng: np.random.Generator,
) -> None:
    """Print both tables, and whether the action rises from each temperature to the next."""
    found = [temperature_rows(kernel_at(value), attempts, rng) for value in temperatures]
    measured, spreads = (
        [[value, *pair[i]] for value, pair in zip(temperatures, found, strict=True)] for i in (0, 1)
    )
    show_table(
        f"{title}: S/n, from {attempts} attempts a state",
        ["T", "exact", "own counts", "error", "held out", "error", "formula"],
        measured,
    )
    rising = all(after[1] > before[1] for before, after in pairwise(measured))
    steps = [(b[4] - a[4]) / np.hypot(a[5], b[5]) for a, b in pairwise(measured)]
    errors = ", ".join(f"{step:.1f}" for step in steps)
    print(f"exact S/n rises with T: {'yes' if rising else 'no'}; held out, by {errors} errors\n")
    show_table(
        f"{title}: the spread of V, and the action to expect",
        ["T", "s", "error", "S/n", "S/n of V=0", "ratio", "eq. 28", "with s/2"],
        spreads,
    )
    print()


def show_reheating() -> None:
    """Print how far the kernel at 1, reheated to 0.7, is from that measured at 0.7."""
    hot, cold = smollm2(1.0), smollm2(0.7)
    guess = reheat(hot, 0.7)
    rows = []
    for name, kernel in (("measured at 1", hot), ("reheated to 0.7", guess), ("at 0.7", cold)):
        potential = estimate_potential(kernel)
        rows.append((name, potential.normalized_action, fit_spread(potential).deviation))
    show_table("SmolLM2: reheating words is not heating tokens", ["kernel", "S/n", "s"], rows)
    there, here = estimate_potential(cold), estimate_potential(hot)
    depths = np.linspace(0.5, 3.0, 251)
    n = len(cold.states)
    best = min(evaluate_action(cold, depth * here.values) / n for depth in depths)
    print(
        f"V at 1 against V at 0.7: r = {np.corrcoef(here.values, there.values)[0, 1]:.3f}\n"
        f"S/n at 0.7 with the shape of V at 1 and the best depth: {best:.4f}, "
        f"{100 * (best / there.normalized_action - 1):.1f}% above the least"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = make_parser("temperature", __doc__)
    parser.add_argument("--attempts", type=int, default=400, help="from each state (default: 400)")
    chosen = parser.parse_args(arguments)
    rng, many = np.random.default_rng(chosen.seed), chosen.attempts
    show_temperatures("SmolLM2", smollm2, (0.7, 1.0), many, rng)
    temperatures = (0.3, 0.5, 0.7, 1.0, 1.4, 2.0)
    show_temperatures("Lexicon model", lexicon_kernel, temperatures, many, rng)
    show_reheating()
