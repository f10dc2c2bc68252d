"""How often `BalanceMartingale` raises a false alarm, what it finds, and how fast it is.

Run ``python benchmarks/martingale.py`` with one of: null, naive, power, rules, speed, picture.
`--runs` sets the runs of each row, `--minutes` when to begin no more rows.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from math import log
from multiprocessing import Pool
from pathlib import Path

import numpy as np
from rules import FixedWeights, KeptPath
from scipy.stats import chi2
from walks import SHAPES, draw_chain, walk_chains

from detailed_balance.analyzers import BalanceMartingale

ALPHA = 0.05
BATCH = 50
STRIDE = 20
FORCES = (0.1, 0.3, 0.6)

Job = tuple[type[BalanceMartingale], str, float, int, int, int, int, bool]


def first_alarm(test: type[BalanceMartingale], paths: list[list[str]]) -> tuple[int | None, int]:
    """Interleave trajectories step by step; return when it alarmed, and the loops up to there.

    The alarm is latched, so that asking every 20 steps misses none.
    """
    live, steps = test(ALPHA), 0
    names = [str(i) for i in range(len(paths))]
    moves = zip(*(pairwise(path) for path in paths), strict=True)
    for step in moves:
        for name, (source, target) in zip(names, step, strict=True):
            live.update(name, source, target)
        steps += len(paths)
        if steps % STRIDE < len(paths) and live.alarm:
            return steps, live.completed
    return (steps if live.alarm else None), live.completed


def run_batch(job: Job) -> list[tuple[int | None, int]]:
    """Run some chains with one seed; each of one chain for all, or of a chain for each."""
    test, shape, force, steps, trajectories, seed, runs, same = job
    rng = np.random.default_rng([list(SHAPES).index(shape), int(force * 10), seed])
    draw = np.random.default_rng(list(SHAPES).index(shape)) if same else rng
    kernels = [draw_chain(shape, force, draw) for _ in range(1 if same else runs)]
    kernels = np.repeat(kernels, runs * trajectories // len(kernels), axis=0)
    walks = walk_chains(kernels, steps // trajectories, rng)
    names = [f"state {i}" for i in range(kernels.shape[1])]
    paths = [[names[state] for state in walk] for walk in walks.tolist()]
    return [
        first_alarm(test, paths[i : i + trajectories]) for i in range(0, len(paths), trajectories)
    ]


def rows_of(
    jobs: dict[tuple[str, ...], tuple[Job, int]], minutes: float
) -> Iterator[tuple[tuple[str, ...], list[tuple[int | None, int]]]]:
    """Run each job so often, on two processes; yield its name and results."""
    start = time.monotonic()
    with Pool(2) as pool:
        for name, (job, runs) in jobs.items():
            if time.monotonic() - start > 60 * minutes:
                print(f"no time for {name}")
                continue
            batches = [(*job[:5], seed, BATCH, job[7]) for seed in range(-(-runs // BATCH))]
            yield name, [result for batch in pool.imap(run_batch, batches) for result in batch]


def null_table(runs: int, minutes: float) -> None:
    """Print the false alarms of reversible chains."""
    plan = [(shape, 10_000, 1, runs) for shape in SHAPES]
    plan += [("three triangles", 10_000, k, runs) for k in (10, 100)]
    plan += [("8 states, dense", 10_000, k, runs) for k in (10, 100)]
    plan += [(shape, 100_000, 1, runs // 10) for shape in ("three triangles", "8 states, dense")]
    jobs = {
        (shape, f"{steps:,}", str(k)): (
            (BalanceMartingale, shape, 0.0, steps, k, 0, 0, True),
            many,
        )
        for shape, steps, k, many in plan
    }
    print("| chain | steps | trajectories | runs | loops in a run | false alarms | bound |")
    print("|---|---|---|---|---|---|---|")
    for (shape, steps, k), results in rows_of(jobs, minutes):
        rate = np.mean([alarm is not None for alarm, _ in results])
        bound = ALPHA + 3 * (ALPHA * (1 - ALPHA) / len(results)) ** 0.5
        loops = int(np.median([loops for _, loops in results]))
        size = f"{len(results):,} | {loops:,}"
        print(f"| {shape} | {steps} | {k} | {size} | {rate:.1%} | {bound:.1%} |", flush=True)


def power_table(runs: int, minutes: float) -> None:
    """Print what is detected, and when, of driven chains."""
    jobs = {
        (shape, str(force)): ((BalanceMartingale, shape, force, 10_000, 1, 0, 0, False), runs)
        for shape in SHAPES
        for force in FORCES
    }
    print("| chain | push, nats | runs | detected | median delay, steps |")
    print("|---|---|---|---|---|")
    for (shape, force), results in rows_of(jobs, minutes):
        delays = [np.inf if alarm is None else alarm for alarm, _ in results]
        rate, delay = np.mean(np.isfinite(delays)), np.median(delays)
        shown = f"{delay:,.0f}" if np.isfinite(delay) else "-"
        print(f"| {shape} | {force} | {len(results)} | {rate:.0%} | {shown} |", flush=True)


def rules_table(runs: int, minutes: float) -> None:
    """Print what other rules for paths and bets detect of the same chains."""
    tests = (BalanceMartingale, FixedWeights, KeptPath)
    shapes = [("8 states, dense", 0.1), ("8 states, sparse", 0.3), ("30 states, dense", 0.3)]
    jobs = {
        (shape, str(force), test.__name__): ((test, shape, force, 10_000, 1, 0, 0, False), runs)
        for shape, force in [*shapes, ("30 states, sparse", 0.3)]
        for test in tests
    }
    print("| chain | push | test | detected |\n|---|---|---|---|")
    for (shape, force, test), results in rows_of(jobs, minutes):
        rate = np.mean([alarm is not None for alarm, _ in results])
        print(f"| {shape} | {force} | {test} | {rate:.0%} |", flush=True)


def naive_table(runs: int, looks: int = 20, steps: int = 10_000) -> None:
    """Print the false alarms of the likelihood ratio test asked again and again."""
    print("| chain | runs | at the last look | at any of 20 looks |\n|---|---|---|---|")
    for number, shape in enumerate(SHAPES):
        kernel = draw_chain(shape, 0.0, np.random.default_rng(number))
        walk = walk_chains(np.repeat([kernel], runs, axis=0), steps, np.random.default_rng(9))
        ends = np.linspace(0, steps, looks + 1).astype(int)[1:]
        pvalues = np.array([likelihood_ratio(walk[:, : end + 1], len(kernel)) for end in ends])
        last, ever = np.mean(pvalues[-1] < ALPHA), np.mean((pvalues < ALPHA).any(axis=0))
        print(f"| {shape} | {runs} | {last:.1%} | {ever:.1%} |", flush=True)


def likelihood_ratio(walks: np.ndarray, n: int) -> np.ndarray:
    """Return the p-values of the likelihood ratio test of (r, t) walks, by the chi-square law."""
    runs = len(walks)
    cell = walks[:, :-1].astype(np.int64) * n + walks[:, 1:] + np.arange(runs)[:, None] * n * n
    counts = np.bincount(cell.ravel(), minlength=runs * n * n).reshape(runs, n, n).astype(float)
    both, out = counts + counts.transpose(0, 2, 1), counts.sum(axis=2)
    weight, ratio = both / both.sum(axis=(1, 2), keepdims=True), np.full(runs, np.inf)
    for _ in range(200):
        for _ in range(50):
            share = out / np.maximum(weight.sum(axis=2), 1e-300)
            weight = both / np.maximum(share[:, :, None] + share[:, None, :], 1e-300)
        rows = np.maximum(weight.sum(axis=2), 1e-300)
        seen = np.where(counts > 0, counts, 1.0)
        fitted = np.where(counts > 0, weight / rows[:, :, None], 1.0)
        free = seen / np.where(out > 0, out, 1.0)[:, :, None]
        terms = np.where(counts > 0, counts * (np.log(free) - np.log(fitted)), 0)
        before, ratio = ratio, 2 * terms.sum(axis=(1, 2))
        if np.abs(before - ratio).max() < 1e-3:
            break
    visited = (both.sum(axis=2) > 0).sum(axis=1)
    freedom = (np.triu(both > 0, 1)).sum(axis=(1, 2)) - visited + 1
    return np.where(freedom > 0, chi2.sf(ratio, np.maximum(freedom, 1)), 1.0)


def speed_table(steps: int = 200_000, rounds: int = 5) -> None:
    """Print the steps for a second of CPU time, against counting alone; the median of rounds."""
    print("| states | a step | counting alone | ratio | steps/s of CPU |\n|---|---|---|---|---|")
    for n, density in [(3, 1.0), (8, 1.0), (30, 1.0), (100, 1.0), (100, 0.1)]:
        SHAPES["speed"] = (n, density)
        rng = np.random.default_rng(1)
        walk = walk_chains(draw_chain("speed", 0.0, rng)[None], steps, rng)[0]
        moves = list(pairwise([f"state {state}" for state in walk.tolist()]))
        live, peer = np.median([one_round(moves) for _ in range(rounds)], axis=0) / steps
        label = f"{n}, {'dense' if density == 1 else 'sparse'}"
        print(
            f"| {label} | {live * 1e6:.2f} us | {peer * 1e6:.2f} us | {live / peer:.1f} "
            f"| {1 / live:,.0f} |",
            flush=True,
        )


def one_round(moves: list[tuple[str, str]]) -> tuple[float, float]:
    """Return the CPU seconds of the test, and of a dict that counts the moves."""
    live, counts = BalanceMartingale(), {}

    def count(_: str, source: str, target: str) -> None:
        counts[source, target] = counts.get((source, target), 0) + 1

    return cpu_seconds(live.update, moves), cpu_seconds(count, moves)


def cpu_seconds(take: Callable[[str, str, str], None], moves: list[tuple[str, str]]) -> float:
    """Return the CPU time of feeding all moves."""
    start = time.process_time()
    for source, target in moves:
        take("run", source, target)
    return time.process_time() - start


def picture(path: Path = Path("docs/martingale.png"), runs: int = 8, steps: int = 10_000) -> None:
    """Draw the log e-value over time of reversible and driven chains."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot(
        xlabel="transitions", ylabel="log e-value, nats", xlim=(0, steps), ylim=(-12, 30)
    )
    for force, colour in [(0.0, "#4c78a8"), (0.3, "#e45756")]:
        rng = np.random.default_rng(7)
        kernels = np.array([draw_chain("8 states, dense", force, rng) for _ in range(runs)])
        for walk in walk_chains(kernels, steps, rng).tolist():
            live = BalanceMartingale(ALPHA)
            for source, target in pairwise(map(str, walk)):
                live.update("run", source, target)
            label = "reversible" if force == 0 else f"driven, {force} nats a pair"
            axes.plot(*zip(*live.history, strict=True), color=colour, lw=1, label=label)
    axes.axhline(-log(ALPHA), color="black", ls="--", lw=1, label="alarm: log 20")
    handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    axes.legend(handles.values(), handles.keys(), loc="upper right")
    figure.savefig(path, dpi=120)


def main() -> None:
    """Print what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["null", "naive", "power", "rules", "speed", "picture"])
    parser.add_argument("--runs", type=int)
    parser.add_argument("--minutes", type=float, default=20)
    given = parser.parse_args()
    tables: dict[str, Callable[[], None]] = {
        "null": lambda: null_table(given.runs or 2_000, given.minutes),
        "naive": lambda: naive_table(given.runs or 400),
        "power": lambda: power_table(given.runs or 200, given.minutes),
        "rules": lambda: rules_table(given.runs or 200, given.minutes),
        "speed": speed_table,
        "picture": picture,
    }
    tables[given.what]()


if __name__ == "__main__":
    main()
