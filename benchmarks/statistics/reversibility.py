"""How often the tests of reversibility reject chains that are reversible, and driven ones.

Chains of 30 states, all linked, with conductances drawn from an exponential law; each trial draws
a chain and walks it once. "rows" is the plain parametric bootstrap: each row drawn again from the
reversible fit, and the fit made again. Run `python -m benchmarks.statistics.reversibility`.
"""

from __future__ import annotations

import argparse

import numpy as np
from scipy.stats import chi2

from detailed_balance.analyzers import TransitionCounts, reversibility_test
from detailed_balance.analyzers.balance.reversible_mle import ReversibleFit, fit_reversible

STATES = 30
ROW_REPLICATES = 19


def draw_chain(rng: np.random.Generator, drive: float) -> np.ndarray:
    """Return a kernel; `drive` pushes it round the ring of its states."""
    links = np.triu(rng.gamma(1.0, size=(STATES, STATES)), 1)
    links = links + links.T
    ring = np.arange(STATES), (np.arange(STATES) + 1) % STATES
    links[ring] *= np.exp(drive / 2)
    links[ring[::-1]] *= np.exp(-drive / 2)
    return links / links.sum(axis=1, keepdims=True)


def walk(rng: np.random.Generator, kernel: np.ndarray, steps: int) -> TransitionCounts:
    """Walk the chain once."""
    cumulative = kernel.cumsum(axis=1)
    path = [int(rng.integers(STATES))]
    for chance in rng.random(steps):
        path.append(min(int(np.searchsorted(cumulative[path[-1]], chance)), STATES - 1))
    counts = np.zeros((STATES, STATES), dtype=np.int64)
    np.add.at(counts, (path[:-1], path[1:]), 1)
    return TransitionCounts.from_dense(counts)


def row_bootstrap(fit: ReversibleFit, rng: np.random.Generator) -> float:
    """Return the p-value of the plain parametric bootstrap."""
    kernel, made = fit.kernel().probabilities.toarray(), fit.exits().astype(int)
    observed, above = fit.deviance().sum(), 0
    for _ in range(ROW_REPLICATES):
        drawn = np.array([rng.multinomial(n, row) for n, row in zip(made, kernel, strict=True)])
        above += fit_reversible(TransitionCounts.from_dense(drawn)).deviance().sum() >= observed
    return (1 + above) / (ROW_REPLICATES + 1)


def rejections(steps: int, drive: float, trials: int, rows: bool) -> str:
    """Return one row of the table: the share of trials rejected at 5%."""
    rejected, shift = np.zeros(3), 0.0
    for seed in range(trials):
        rng = np.random.default_rng([seed, steps])
        counts = walk(rng, draw_chain(rng, drive), steps)
        result = reversibility_test(counts, method="bootstrap", replicates=99, sweeps=3, seed=seed)
        by_law = float(chi2.sf(result.statistic, result.degrees_of_freedom))
        plain = row_bootstrap(result.fit, rng) if rows else np.nan
        rejected += np.array([result.pvalue, plain, by_law]) <= 0.05
        shift += result.small_count_shift
    share = [f"{value:.1%}" for value in rejected / trials]
    if not rows:
        share[1] = ""
    shown = " | ".join(share)
    return f"| {steps:,} | {drive} | {shown} | {shift / trials:.2f} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=200)
    trials = parser.parse_args().trials
    error = np.sqrt(0.05 * 0.95 / trials)
    print(f"{trials} trials; 5% + 3 standard errors = {0.05 + 3 * error:.1%}")
    print("| moves | drive | bootstrap | rows | chi-square | shift |")
    print("|---|---|---|---|---|---|")
    for steps, drive, rows in [
        (10_000, 0.0, False),
        (1_000, 0.0, True),
        (10_000, 0.5, False),
        (1_000, 1.0, False),
    ]:
        print(rejections(steps, drive, trials, rows), flush=True)


if __name__ == "__main__":
    main()
