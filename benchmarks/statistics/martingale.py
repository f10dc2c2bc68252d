"""How often `BalanceMartingale` raises a false alarm, what it finds, and how fast it is.

Run ``python -m benchmarks.statistics.martingale`` with one of: null, naive, power, rules,
speed, picture; `--runs` sets the runs of each row. Runs by the thousand go through the same
test in C (martingale.c, needs a C compiler), which is first checked against the library.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from itertools import pairwise
from math import log
from pathlib import Path
from time import process_time

import numpy as np
from scipy.stats import chi2

from benchmarks.statistics.compiled import Compiled
from benchmarks.statistics.random_chains import SHAPES, draw_chain
from benchmarks.statistics.rules import FixedWeights, KeptPath
from detailed_balance.analyzers import BalanceMartingale

ALPHA = 0.05
FORCES = (0.1, 0.3, 0.6)


def null_table(runs: int) -> None:
    """Print the false alarms of reversible chains, one chain for all runs of a row."""
    plan = [(shape, 10_000, 1, runs) for shape in SHAPES]
    plan += [
        (s, 10_000, k, runs) for s in ("three triangles", "8 states, dense") for k in (10, 100)
    ]
    plan += [
        (shape, 100_000, 1, runs // 2)
        for shape in ("three triangles", "8 states, dense", "30 states, sparse")
    ]
    compiled = Compiled()
    print("| chain | steps | trajectories | runs | loops in a run | false alarms | bound |")
    print("|---|---|---|---|---|---|---|")
    for row, (shape, steps, k, many) in enumerate(plan):
        rng = np.random.default_rng([1, row])
        kernel = draw_chain(shape, 0.0, np.random.default_rng(list(SHAPES).index(shape)))
        compiled.check(kernel, 3_000 // k, k, seed=row)
        results = []
        for _ in range(many):
            walks = [compiled.walk(kernel, steps // k, rng) for _ in range(k)]
            results.append(compiled.run(np.array(walks), len(kernel), ALPHA))
        rate = np.mean([alarm >= 0 for alarm, _, _ in results])
        bound = ALPHA + 3 * (ALPHA * (1 - ALPHA) / many) ** 0.5
        size = f"{many:,} | {np.median([loops for _, _, loops in results]):,.0f}"
        print(f"| {shape} | {steps:,} | {k} | {size} | {rate:.1%} | {bound:.1%} |", flush=True)


def power_table(runs: int) -> None:
    """Print what is detected, and when, of driven chains; another chain for each run.

    Beside it the likelihood ratio test, asked once after the last step of the first 200 runs.
    """
    compiled = Compiled()
    print("| chain | push, nats | runs | detected | median delay, steps | likelihood ratio, once |")
    print("|---|---|---|---|---|---|")
    for shape in SHAPES:
        for force in FORCES:
            rng = np.random.default_rng([2, list(SHAPES).index(shape), int(10 * force)])
            delays, walks = [], []
            for run in range(runs):
                kernel = draw_chain(shape, force, rng)
                if run == 0:
                    compiled.check(kernel, 3_000, 1, seed=run)
                walk = compiled.walk(kernel, 10_000, rng)
                alarm, _, _ = compiled.run(walk[None], len(kernel), ALPHA)
                delays.append(alarm if alarm >= 0 else np.inf)
                walks.append(walk)
            shown = f"{np.median(delays):,.0f}" if np.isfinite(np.median(delays)) else "-"
            rate = np.mean(np.isfinite(delays))
            once = np.mean(likelihood_ratio(np.array(walks[:200]), len(kernel)) < ALPHA)
            row = f"{shape} | {force} | {runs} | {rate:.0%} | {shown} | {once:.0%}"
            print(f"| {row} |", flush=True)


def rules_table(runs: int) -> None:
    """Print what other rules for paths and bets detect of the same walks, in Python."""
    compiled = Compiled()
    tests = (BalanceMartingale, FixedWeights, KeptPath)
    shapes = [("8 states, dense", 0.1), ("8 states, sparse", 0.3), ("30 states, dense", 0.3)]
    print("| chain | push, nats | " + " | ".join(test.__name__ for test in tests) + " |")
    print("|---|---|" + "---|" * len(tests))
    for shape, force in shapes:
        rng = np.random.default_rng([3, list(SHAPES).index(shape)])
        found = []
        for _ in range(runs):
            walk = compiled.walk(draw_chain(shape, force, rng), 10_000, rng).astype(str)
            found.append([feed(test(ALPHA), walk.tolist()) for test in tests])
        rates = [
            f"{np.mean([live.alarm for live in lives]):.0%}, "
            f"{np.mean([live.max_log_e_value for live in lives]):.1f} nats"
            for lives in zip(*found, strict=True)
        ]
        print(f"| {shape} | {force} | {' | '.join(rates)} |", flush=True)


def feed(live: BalanceMartingale, walk: list[str]) -> BalanceMartingale:
    """Let one trajectory walk."""
    for source, target in pairwise(walk):
        live.update("run", source, target)
    return live


def naive_table(runs: int, looks: int = 20, steps: int = 10_000) -> None:
    """Print the false alarms of the likelihood ratio test asked again and again."""
    compiled = Compiled()
    print("| chain | runs | at the last look | at any of 20 looks |\n|---|---|---|---|")
    for number, shape in enumerate(SHAPES):
        kernel = draw_chain(shape, 0.0, np.random.default_rng(number))
        rng = np.random.default_rng([4, number])
        walk = np.array([compiled.walk(kernel, steps, rng) for _ in range(runs)])
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
    compiled = Compiled()
    print("| states | a step | counting alone | ratio | steps/s of CPU |\n|---|---|---|---|---|")
    for n, density in [(3, 1.0), (8, 1.0), (30, 1.0), (100, 1.0), (100, 0.1)]:
        SHAPES["speed"] = (n, density)
        rng = np.random.default_rng(1)
        walk = compiled.walk(draw_chain("speed", 0.0, rng), steps, rng)
        moves = list(pairwise([f"state {state}" for state in walk.tolist()]))
        live, peer = np.median([one_round(moves) for _ in range(rounds)], axis=0) / steps
        row = f"{n}, {'dense' if density == 1 else 'sparse'} | {live * 1e6:.2f} us"
        row = f"{row} | {peer * 1e6:.2f} us | {live / peer:.1f} | {1 / live:,.0f}"
        print(f"| {row} |", flush=True)


def one_round(moves: list[tuple[str, str]]) -> tuple[float, float]:
    """Return the CPU seconds of the test, and of a dict that counts the moves."""
    live, counts = BalanceMartingale(), {}

    def count(_: str, source: str, target: str) -> None:
        counts[source, target] = counts.get((source, target), 0) + 1

    return cpu_seconds(live.update, moves), cpu_seconds(count, moves)


def cpu_seconds(take: Callable[[str, str, str], None], moves: list[tuple[str, str]]) -> float:
    """Return the CPU time of feeding all moves."""
    start = process_time()
    for source, target in moves:
        take("run", source, target)
    return process_time() - start


def picture(
    path: Path = Path("docs/images/martingale.png"), runs: int = 8, steps: int = 10_000
) -> None:
    """Draw the log e-value over time of reversible and driven chains."""
    from matplotlib.figure import Figure

    compiled = Compiled()
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot(
        xlabel="transitions", ylabel="log e-value, nats", xlim=(0, steps), ylim=(-12, 30)
    )
    for force, colour in [(0.0, "#4c78a8"), (0.3, "#e45756")]:
        rng = np.random.default_rng(7)
        kernels = [draw_chain("8 states, dense", force, rng) for _ in range(runs)]
        for kernel in kernels:
            live = feed(
                BalanceMartingale(ALPHA), compiled.walk(kernel, steps, rng).astype(str).tolist()
            )
            label = "reversible" if force == 0 else f"driven, {force} nats a pair"
            axes.plot(*zip(*live.history, strict=True), color=colour, lw=1, label=label)
    axes.axhline(-log(ALPHA), color="black", ls="--", lw=1, label="alarm: log 20")
    handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    axes.legend(handles.values(), handles.keys(), loc="lower left", ncols=3)
    figure.savefig(path, dpi=120)


def main() -> None:
    """Print what was asked for."""
    tables: dict[str, tuple[Callable[[int], None], int]] = {
        "null": (null_table, 4_000),
        "naive": (naive_table, 400),
        "power": (power_table, 500),
        "rules": (rules_table, 100),
        "speed": (lambda runs: speed_table(rounds=runs), 5),
        "picture": (lambda runs: picture(runs=runs), 8),
    }
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=tables)
    parser.add_argument("--runs", type=int)
    given = parser.parse_args()
    show, runs = tables[given.what]
    show(given.runs or runs)


if __name__ == "__main__":
    main()
