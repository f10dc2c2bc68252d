"""What the triplet statistic is in detailed balance, and how often its null is rejected there.

Run it with ``python -m benchmarks.statistics.triplets_null [--records 300]``.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from detailed_balance.analyzers import TransitionCounts, calibrate_triplets
from detailed_balance.analyzers.errors import InsufficientDataError

SETTINGS = ((25, 100), (10, 120))  # states, and attempts of each


def draw_counts(rng: np.random.Generator, states: int, attempts: int) -> TransitionCounts:
    """Return counts of a reversible chain whose links are of unequal weight."""
    links: Any = np.triu(rng.exponential(size=(states, states)) ** 3, 1)
    weights = links + links.T
    kernel = weights / weights.sum(axis=1, keepdims=True)
    return TransitionCounts.from_dense(np.array([rng.multinomial(attempts, row) for row in kernel]))


def main() -> None:
    """Print the means of the statistic and of its null, and the share of p-values up to 0.05."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=300)
    parser.add_argument("--replicates", type=int, default=19)
    chosen = parser.parse_args()
    for states, attempts in SETTINGS:
        rng, found = np.random.default_rng(1), []
        for number in range(chosen.records):
            counts = draw_counts(rng, states, attempts)
            try:
                null = calibrate_triplets(counts, replicates=chosen.replicates, seed=number)
            except InsufficientDataError:
                continue
            found.append((null.observed, null.mean, null.pvalue <= 0.05))
        observed, mean, rejected = np.array(found, dtype=float).T
        print(
            f"{states} states, {attempts} attempts each: statistic {observed.mean():.2f}, null "
            f"{mean.mean():.2f}; {rejected.sum():.0f} of {len(found):,} records have p <= 0.05",
            flush=True,
        )


if __name__ == "__main__":
    main()
