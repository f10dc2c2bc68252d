"""Pairs of states seen one way only, held against the potential (paper eq. 25 and Fig. 10).

Of n attempts none led back: the rate back is below 1 - 0.05^(1/n), about 3/n, and under detailed
balance the potential falls by at least the log of the rate there over that bound. How often this
fails as it stands, and how often the exact test with its correction says so. The counts are those
of Claude-4 that the paper prints; answers drawn from the measured kernel of SmolLM2-135M-Instruct;
and answers of the simulated lexicon model, in detailed balance and driven round ten loops.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from detailed_balance.analyzers import TransitionCounts, check_one_way
from examples.paper.agent.console import make_parser, show_table
from examples.paper.chains import sample, smollm2
from examples.paper.words.lexicon import LexiconChatModel
from examples.paper.words.tables import WordTable

__all__ = ["main", "sampled_counts"]

AFFINITY = 24.0
"""Of each driven loop, in nats: the way back is slower by exp(-8) at each step."""


def show_claude() -> None:
    """Print what the paper's table says of the pairs that Claude-4 seen in one direction only."""
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


def main(arguments: Sequence[str] | None = None) -> None:
    """Print both tables."""
    parser = make_parser("one_way", __doc__)
    parser.add_argument("--attempts", type=int, default=200, help="from each state (default: 200)")
    chosen = parser.parse_args(arguments)
    show_claude()
    print()
    rows = []
    for name, counts in sampled_counts(chosen.attempts, chosen.seed).items():
        check = check_one_way(counts)
        fails = int(np.count_nonzero(~check.holds))
        below = int(np.count_nonzero(check.pvalue <= check.alpha))
        rows.append((name, check.pairs_tested, len(check), fails, below, len(check.violations)))
    show_table(
        f"{chosen.attempts} attempts from each state; V fitted to the same counts",
        ["counts", "linked", "one way", "(25) fails", "p < 5%", "violations"],
        rows,
    )
