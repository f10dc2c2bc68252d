"""The order of states and of moves changes no result."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from detailed_balance import analyze
from detailed_balance.analyzers import (
    TransitionCounts,
    check_balance,
    check_one_way,
    entropy_production,
    find_attractors,
    find_traps,
    reversibility_test,
)

RINGS = ["ab", "bc", "ca", "de", "ef", "fd"]
TIES = TransitionCounts.from_edges(  # two driven rings that are the same but for their names
    [
        *((f, g, 40) for f, g in RINGS),
        *((g, f, 10) for f, g in RINGS),
        *(("c", "d", 5), ("d", "c", 5), ("a", None, 3)),
    ]
)


def random_counts(n: int = 25) -> TransitionCounts:
    """Return counts both ways, one way, and of escapes, as few as they often are."""
    rng = np.random.default_rng(5)
    table = rng.poisson(rng.exponential(6.0, (n, n)) * (rng.random((n, n)) < 0.25))
    edges = [(f"s{i}", f"s{j}", int(table[i, j])) for i, j in zip(*table.nonzero(), strict=True)]
    return TransitionCounts.from_edges([*edges, *((f"s{i}", None, 2) for i in range(0, n, 3))])


def permutations(counts: TransitionCounts, number: int) -> Iterator[TransitionCounts]:
    moves = counts.counts.tocoo()
    rows = zip(moves.row.tolist(), moves.col.tolist(), moves.data.tolist(), strict=True)
    edges = [(counts.states[i], counts.states[j], int(n)) for i, j, n in rows]
    states = zip(counts.states, counts.escapes.tolist(), strict=True)
    edges += [(state, None, n) for state, n in states if n]
    for seed in range(number):
        order = np.random.default_rng(seed).permutation(len(edges))
        yield TransitionCounts.from_edges(edges[i] for i in order)  # type: ignore[misc]


def loops(counts: TransitionCounts) -> object:
    report = check_balance(counts)
    return report.violations, report.loops.to_dict(), report.mean_square, report.to_dict()


CALLS: list[Callable[[TransitionCounts], object]] = [
    loops,
    lambda counts: check_one_way(counts).to_dict(),
    lambda counts: find_traps(counts).to_dict(),
    lambda counts: find_attractors(counts).to_dict(),
    lambda counts: reversibility_test(counts, method="bootstrap", replicates=39, sweeps=1).pvalue,
    lambda counts: entropy_production(counts, replicates=20).interval,
    lambda counts: str(analyze(counts)),
]
NAMES = ["balance", "one_way", "traps", "attractors", "reversibility", "entropy", "report"]


@pytest.mark.parametrize("counts", [TIES, random_counts()], ids=["ties", "random"])
@pytest.mark.parametrize("call", CALLS, ids=NAMES)
def test_permuted_counts_give_the_same(
    call: Callable[[TransitionCounts], object], counts: TransitionCounts
) -> None:
    number = 8 if counts is TIES else 4
    one, *others = (repr(call(each)) for each in permutations(counts, number))
    assert all(other == one for other in others)


def test_a_loop_begins_with_its_first_state_and_ties_go_by_name() -> None:
    for counts in permutations(TIES, 5):
        found = [violation.loop for violation in check_balance(counts).violations]
        assert found == [("a", "b", "c"), ("d", "e", "f")]
