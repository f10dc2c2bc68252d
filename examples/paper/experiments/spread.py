"""How wide a potential spreads, what action that lets one expect, and what votes do to both.

First eq. 28 beside the paper's Table IV. Then a Gaussian fitted to potentials (Fig. 11): of the
measured kernel of a real model, SmolLM2-135M-Instruct, and of a simulated landscape with as many
states and transitions as the paper's symbolic agent. Last majority votes (eq. 29, 30 and Fig. 12):
where n of 10 answers must agree, V should be about n times as deep.

At the end pairs of states seen one way only (eq. 25 and Fig. 10). Of n attempts none led back: the
rate back is below 1 - 0.05^(1/n), about 3/n, and under detailed balance the potential falls by at
least the log of the rate there over that bound. How often this fails as it stands, and how often
the exact test with its correction says so, in the published counts of Claude-4, in answers drawn
from the kernel of SmolLM2, and in those of the lexicon model, in balance and driven.
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
    check_one_way,
    estimate_potential,
    expected_minimum_action,
    fit_spread,
    majority_vote_kernel,
)
from examples.paper.agent.console import make_parser, show_table
from examples.paper.chains import sample, smollm2, two_way_ring
from examples.paper.words.lexicon import LexiconChatModel
from examples.paper.words.tables import WordTable

__all__ = [
    "gaussian_pvalue",
    "main",
    "sampled_counts",
    "show_one_way",
    "simulated_landscape",
    "vote_slope",
    "walk",
]

TABLE_IV = ((4.38, 0.129), (2.30, 0.245))
"""s and the action to expect, as published."""

STATES, TRANSITIONS = 7_484, 50_228
"""Of the paper's symbolic agent."""

_DEGREE = 8

AFFINITY = 24.0
"""Of each driven loop, in nats: the way back is slower by exp(-8) at each step."""


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


def _show_claude() -> None:
    """Print what the published counts say of pairs that Claude-4 moved between in one direction."""
    table = WordTable.load("claude_4")
    check = check_one_way(table.counts, table.potential())
    columns = ("source", "target", "count", "attempts", "bound", "least", "difference")
    content = check.to_table()
    show_table(
        "Claude-4 (published counts): what the unseen way back says",
        ["from", "to", "moves", "attempts back", "T back below", "V falls by", "fitted"],
        zip(*(content[column] for column in columns), strict=True),
    )


def sampled_counts(attempts: int, seed: int) -> dict[str, TransitionCounts]:
    """Return `attempts` answers a state of the real model, and of both simulated ones."""
    rng = np.random.default_rng(seed)
    calm = LexiconChatModel(spread=0.5)
    loops = rng.permutation(calm.triangles())[:10].tolist()
    driven = LexiconChatModel(spread=0.5, driving={tuple(loop): AFFINITY for loop in loops})
    kernels = {
        "SmolLM2 at 1.0": smollm2(1.0),
        "lexicon, balanced": calm.kernel(),
        "lexicon, driven": driven.kernel(),
    }
    return {name: sample(kernel, attempts, rng) for name, kernel in kernels.items()}


def show_one_way(attempts: int, seed: int) -> None:
    """Print what pairs seen one way only say."""
    _show_claude()
    rows = []
    for name, counts in sampled_counts(attempts, seed).items():
        check = check_one_way(counts)
        fails = int(np.count_nonzero(~check.holds))
        below = int(np.count_nonzero(check.pvalue <= check.alpha))
        rows.append((name, check.pairs_tested, len(check), fails, below, len(check.violations)))
    show_table(
        f"{attempts} attempts from each state; V fitted to the same counts",
        ["counts", "linked", "one way", "(25) fails", "p < 5%", "violations"],
        rows,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = make_parser("spread", __doc__)
    parser.add_argument(
        "--attempts", type=int, default=200, help="of each state, for one-way pairs (default: 200)"
    )
    chosen = parser.parse_args(arguments)
    show_table_iv()
    print()
    show_spreads(chosen.seed)
    show_votes()
    show_one_way(chosen.attempts, chosen.seed)
