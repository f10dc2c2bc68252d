"""Bias and coverage of the estimated entropy production, over chains taken again.

Each row draws one chain of n states, all linked, driven round a ring, and walks it `--trials`
times in runs. Run `python -m benchmarks.statistics.entropy`.
"""

from __future__ import annotations

import argparse
from itertools import pairwise

import numpy as np

from detailed_balance.analyzers import Trajectory, TransitionCounts, entropy_production


def draw_chain(rng: np.random.Generator, n: int, drive: float) -> np.ndarray:
    """Return a kernel with self-loops; `drive` pushes it round the ring of its states."""
    links = np.triu(rng.gamma(2.0, size=(n, n)))
    links = links + links.T
    ring = np.arange(n), (np.arange(n) + 1) % n
    links[ring] *= np.exp(drive)
    links[ring[::-1]] *= np.exp(-drive)
    return links / links.sum(axis=1, keepdims=True)


def walk(rng: np.random.Generator, kernel: np.ndarray, runs: int, moves: int) -> list[Trajectory]:
    """Walk the chain in so many runs."""
    state = rng.integers(len(kernel), size=runs)
    path = [state]
    for _ in range(moves):
        chance = rng.random(runs)[:, None]
        state = np.minimum((kernel.cumsum(axis=1)[state] < chance).sum(axis=1), len(kernel) - 1)
        path.append(state)
    return [Trajectory(tuple(pairwise(run))) for run in np.array(path).T.astype(str).tolist()]


def row(n: int, drive: float, runs: int, moves: int, trials: int) -> str:
    """Return one row of the table."""
    rng = np.random.default_rng([n, runs])
    kernel = draw_chain(rng, n, drive)
    true, found = entropy_production(kernel).value, []
    for seed in range(trials):
        walked = walk(rng, kernel, runs, moves)
        counts = TransitionCounts.from_edges((s, t, 1) for run in walked for s, t in run.moves)
        by_runs = entropy_production(walked, replicates=200, seed=seed)
        by_rows = entropy_production(counts, replicates=200, seed=seed)
        covered = [e.interval[0] <= true <= e.interval[1] for e in (by_runs, by_rows)]
        found.append([by_runs.value - true, by_runs.corrected - true, *covered])
    plain, corrected, runs_cover, rows_cover = np.mean(found, axis=0)
    return (
        f"| {n} | {drive} | {runs} x {moves} | {true:.4f} | {plain:+.4f} | {corrected:+.4f} | "
        f"{runs_cover:.1%} | {rows_cover:.1%} |"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=300)
    trials = parser.parse_args().trials
    print(f"{trials} trials; 95% +- {1.96 * np.sqrt(0.95 * 0.05 / trials):.1%} by chance")
    print("| states | drive | runs | true | bias | corrected | runs cover | rows cover |")
    print("|---|---|---|---|---|---|---|---|")
    for n, drive, runs, moves in [
        (4, 0.5, 50, 20),
        (6, 0.5, 60, 30),
        (6, 0.1, 60, 30),
        (6, 1.0, 30, 20),
        (8, 0.5, 30, 20),
    ]:
        print(row(n, drive, runs, moves, trials), flush=True)


if __name__ == "__main__":
    main()
