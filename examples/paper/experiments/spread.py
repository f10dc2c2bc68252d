"""How wide a potential spreads, what action that lets one expect, and what votes do to both.

First eq. 28 beside the paper's Table IV. Then a Gaussian fitted to potentials (Fig. 11): of the
measured kernel of a real model, SmolLM2-135M-Instruct, and of a simulated landscape with as many
states and transitions as the paper's symbolic agent. Last majority votes (eq. 29, 30 and Fig. 12):
where n of 10 answers must agree, V should be about n times as deep.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.special import log_ndtr

from detailed_balance.analyzers import (
    Kernel,
    Potential,
    TransitionCounts,
    estimate_potential,
    expected_minimum_action,
    fit_spread,
    majority_vote_kernel,
)
from examples.paper.agent.console import make_parser, show_table
from examples.paper.chains import smollm2, two_way_ring

__all__ = ["gaussian_pvalue", "main", "simulated_landscape", "vote_slope", "walk"]

TABLE_IV = ((4.38, 0.129), (2.30, 0.245))
"""s and the action to expect, as published."""

STATES, TRANSITIONS = 7_484, 50_228
"""Of the paper's symbolic agent."""

_DEGREE = 8


def simulated_landscape(states: int, deviation: float, rng: np.random.Generator) -> Kernel:
    """Return a Metropolis walk on a random graph, V Gaussian: a simulation, not the paper's agent.

    Each state has 8 neighbours on average, and a ring keeps all connected.
    """
    values = rng.normal(scale=deviation, size=states)
    around = np.arange(states)
    far = rng.integers(states, size=(2, states * (_DEGREE - 2) // 2))
    f, g = np.concatenate([[around, np.roll(around, 1)], far], axis=1)
    f, g = np.unique(np.sort([f[f != g], g[f != g]], axis=0), axis=1)
    f, g = np.concatenate([f, g]), np.concatenate([g, f])
    rate = np.exp(-np.maximum(values[g] - values[f], 0)) / np.bincount(f).max()
    matrix = coo_array((rate, (f, g)), shape=(states, states)).tocsr()
    return Kernel(tuple(map(str, range(states))), matrix)


def walk(kernel: Kernel, steps: int, rng: np.random.Generator) -> TransitionCounts:
    """Make `steps` moves to another state, each from a state drawn uniformly."""
    matrix = kernel.probabilities
    sources = rng.integers(len(kernel.states), size=steps)
    targets = np.empty(steps, dtype=np.int64)
    for i, f in enumerate(sources.tolist()):
        row = slice(matrix.indptr[f], matrix.indptr[f + 1])
        chances = np.cumsum(matrix.data[row])
        targets[i] = matrix.indices[row][np.searchsorted(chances, rng.random() * chances[-1])]
    return TransitionCounts.from_arrays(kernel.states, sources, targets, np.ones(steps))


def gaussian_pvalue(values: NDArray[np.float64], seed: int, replicates: int = 999) -> float:
    """Return the p-value of Anderson and Darling's test that (n,) values are Gaussian.

    Mean and width are fitted, so the law of the statistic comes from simulation.
    """
    rng = np.random.default_rng(seed)
    seen = _anderson_darling(values)
    drawn = [_anderson_darling(rng.standard_normal(len(values))) for _ in range(replicates)]
    return (1 + sum(statistic >= seen for statistic in drawn)) / (1 + replicates)


def _anderson_darling(values: NDArray[np.float64]) -> float:
    z = np.sort((values - values.mean()) / values.std(ddof=1))
    weights = 2 * np.arange(len(z)) + 1
    return float(-len(z) - np.mean(weights * (log_ndtr(z) + log_ndtr(-z[::-1]))))


def vote_slope(once: Potential, voted: Potential) -> tuple[float, float]:
    """Return the slope and the correlation of the potential after votes against that before."""
    return (
        float(np.polyfit(once.values, voted.values, 1)[0]),
        float(np.corrcoef(once.values, voted.values)[0, 1]),
    )


def show_table_iv() -> None:
    """Print eq. 28 beside the published numbers."""
    rows = [
        (
            s,
            published,
            float(expected_minimum_action(s, asymptotic=True)),
            float(expected_minimum_action(s)),
        )
        for s, published in TABLE_IV
    ]
    show_table(
        "Table IV: the action to expect of a potential of deviation s",
        ["s", "published", "1/(sqrt(pi) s)", "exp(s^2) erfc(s)"],
        rows,
    )


def spread_row(name: str, potential: Potential, seed: int) -> tuple[object, ...]:
    """Return the Gaussian fitted to the largest component, and how well it fits."""
    inside = potential.components == np.bincount(potential.components).argmax()
    spread = fit_spread(potential)
    return (
        name,
        spread.states,
        spread.deviation,
        spread.deviation_error,
        spread.expected_action,
        gaussian_pvalue(potential.values[inside], seed),
    )


def show_spreads(seed: int) -> None:
    """Print the Gaussian fits."""
    rng = np.random.default_rng(seed)
    kernel = simulated_landscape(STATES, TABLE_IV[0][0], rng)
    counts = walk(kernel, TRANSITIONS, rng)
    fits = {
        "SmolLM2 at 0.7": estimate_potential(smollm2(0.7)),
        "SmolLM2 at 1.0": estimate_potential(smollm2(1.0)),
        "simulated, kernel": estimate_potential(kernel),
        "simulated, counts": estimate_potential(counts, attempts="transitions"),
    }
    show_table(
        "Fig. 11: a Gaussian fitted to the potential (p: Anderson-Darling)",
        ["potential", "states", "s", "error", "eq. 28", "p"],
        [spread_row(name, potential, seed) for name, potential in fits.items()],
    )
    print(
        f"simulated: {STATES:,} states, {TRANSITIONS:,} transitions on {counts.counts.nnz:,} edges "
        f"(the paper's agent: 21,697), s = {TABLE_IV[0][0]}\n"
    )


def show_votes() -> None:
    """Print the slope of the potential after votes against that before."""
    rows = []
    ring = two_way_ring(2.0)
    for name, kernel in (("SmolLM2 at 1.0", smollm2(1.0)), ("simulated ring", ring)):
        once = estimate_potential(kernel)
        rows.append((name, 1, 1.0, 1.0, fit_spread(once).deviation, _short(once)))
        for needed in (5, 7, 9):
            voted = estimate_potential(majority_vote_kernel(kernel, 10, needed))
            slope, correlation = vote_slope(once, voted)
            rows.append(
                (name, needed, slope, correlation, fit_spread(voted).deviation, _short(voted))
            )
    show_table(
        "Fig. 12: n of 10 answers must agree",
        ["kernel", "n", "slope of V", "r", "s", "S/n"],
        rows,
    )


def _short(potential: Potential) -> str:
    """Write the action with its power of ten: votes make it very small."""
    return f"{potential.normalized_action:.3g}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    chosen = make_parser("spread", __doc__).parse_args(arguments)
    show_table_iv()
    print()
    show_spreads(chosen.seed)
    show_votes()
