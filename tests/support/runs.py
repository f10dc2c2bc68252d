"""Runs of simulated agents with finite paths."""

import itertools

from benchmarks.statistics.agents import draw_lengths, draw_paths, draw_weights, push_loop
from detailed_balance.analyzers import END, START, Trajectory

random_weights, push_round = draw_weights, push_loop


def walk_runs(rng, weights, count, *, success=None, prefix="run", named=True, **options):
    """Runs of 5 to 30 moves from state 0; `success` is the chance that one does its work."""
    paths = draw_paths(rng, weights, draw_lengths(rng, count), **options)
    good = [None if success is None else bool(rng.random() < success) for _ in paths]
    walks = [(START, *map(str, path), END) for path in paths]
    return [
        Trajectory(
            tuple(itertools.pairwise(walk)),
            f"{prefix}-{i:04}" if named else None,
            success=each,
        )
        for i, (walk, each) in enumerate(zip(walks, good, strict=True))
    ]
