"""How often 95% intervals hold the truth where runs differ: by runs, and by moves beside.

Each run has its own kernel: a common reversible one, each link of which is multiplied by a
log-normal weight (0.7) and each height shifted by a normal number (0.4); for the entropy production
and the gradient share a push round a triangle is added. Six tools, runs begin at the first and end
anywhere, after 5 to 30 moves. The truth is that of endless runs: expected counts, summed exactly
over lengths and averaged over 100,000 kernels. Run `python -m benchmarks.statistics.coverage`.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from detailed_balance.analyzers import (
    END,
    START,
    RunTable,
    entropy_production,
    estimate_potential,
    find_traps,
    forecast_outcome,
    hodge_decomposition,
)
from detailed_balance.analyzers.counts import TransitionCounts
from detailed_balance.analyzers.kernel import Kernel
from detailed_balance.analyzers.runs.columns import RunColumns

N, SHORTEST, LONGEST, WORLDS = 6, 5, 30, 4
TOOLS = tuple("abcdef")
PUSHED = [(2, 3), (3, 4), (4, 2)]


@dataclass(frozen=True)
class World:
    """What runs have in common; `push` is in nats for each step of a triangle."""

    links: np.ndarray
    heights: np.ndarray
    success: np.ndarray
    push: float = 0.0

    @classmethod
    def draw(cls, seed: int, *, push: float = 0.0, trap: bool = False) -> World:
        """Draw one; in a trap the first two tools lead to each other."""
        rng = np.random.default_rng([seed, 7])
        links = np.triu(rng.gamma(2.0, size=(N, N)) + 0.2, 1)
        if trap:
            links[:2, 2:] *= 0.1
            links[0, 1] = 8.0
        return cls(links, 0.5 * rng.normal(size=N), rng.uniform(0.3, 0.9, size=N), push)

    def kernels(self, rng: np.random.Generator, runs: int) -> np.ndarray:
        """Return (runs, N, N) kernels, one of each run."""
        links = self.links * np.exp(0.7 * rng.normal(size=(runs, N, N)))
        heights = self.heights + 0.4 * rng.normal(size=(runs, N))
        push = np.zeros((N, N))
        for f, g in PUSHED:
            push[f, g], push[g, f] = self.push, -self.push
        links = links + links.transpose(0, 2, 1)
        drop = heights[:, :, None] - heights[:, None, :]
        kernels = links * np.exp((drop + push) / 2)
        return kernels / kernels.sum(axis=2, keepdims=True)

    def expected(self, runs: int = 100_000) -> tuple[np.ndarray, np.ndarray]:
        """Return (N, N) moves between tools and (N,) ends to expect of a run."""
        rng, lengths = np.random.default_rng(1), np.arange(SHORTEST, LONGEST + 1)
        moves, ends = np.zeros((N, N)), np.zeros(N)
        for _ in range(runs // 20_000):
            kernels = self.kernels(rng, 20_000)
            here = np.eye(N)[np.zeros(20_000, dtype=int)]
            for step in range(LONGEST + 1):
                moves += np.mean(lengths > step) * np.einsum("ri,rij->ij", here, kernels)
                ends += np.mean(lengths == step) * here.sum(axis=0)
                here = np.einsum("ri,rij->rj", here, kernels)
        return moves / runs, ends / runs

    def record(self, rng: np.random.Generator, runs: int) -> RunTable:
        """Walk so many runs."""
        rows = self.kernels(rng, runs).cumsum(axis=2)
        lengths = rng.integers(SHORTEST, LONGEST + 1, size=runs)
        path = np.zeros((runs, LONGEST + 1), dtype=np.int64)
        for step in range(LONGEST):
            chance = rng.random(runs)[:, None]
            passed = (rows[np.arange(runs), path[:, step]] < chance).sum(axis=1)
            path[:, step + 1] = np.minimum(passed, N - 1)
        last = path[np.arange(runs), lengths]
        there = np.arange(LONGEST + 1) <= lengths[:, None]
        start = np.full((runs, 1), N)
        after = np.where(np.arange(LONGEST + 1) == lengths[:, None], N + 1, np.roll(path, -1, 1))
        kept = np.hstack([np.ones_like(start, dtype=bool), there])
        source = np.hstack([start, path])[kept]
        target = np.hstack([path[:, :1], after])[kept]
        good = (rng.random(runs) < self.success[last]).astype(np.int8)
        names = np.array([f"{i:06d}" for i in range(runs)], dtype=object)
        offsets = np.concatenate([[0], np.cumsum(lengths + 2)])
        columns = RunColumns.unknown(runs, name=names, success=good)
        return RunTable.from_codes((*TOOLS, START, END), source, target, offsets, columns)


def expect(world: World) -> dict[str, np.ndarray]:
    """Return what endless runs would show; V and forecasts by tool."""
    moves, ends = world.expected()
    attempts = moves.sum(axis=1) + ends
    kernel = moves / attempts[:, None]
    onward = np.linalg.inv(np.eye(N) - kernel)
    values = estimate_potential(Kernel.from_matrix(kernel, TOOLS)).values
    many = TransitionCounts.from_dense(np.rint(1e9 * moves).astype(np.int64))
    return {
        "V": values - values[0],
        "stay": 1 / (1 - np.linalg.eigvals(kernel[:2, :2]).real.max()),
        "entropy": entropy_production(moves / moves.sum(axis=1, keepdims=True)).value,
        "share": hodge_decomposition(many).gradient_share,
        "success": onward @ (ends / attempts * world.success),
        "steps": onward.sum(axis=1),
    }


Found: TypeAlias = "list[tuple[str, tuple[float, float], float]]"
"""What was measured, its interval and the truth."""


def find_potential(source: RunTable | TransitionCounts, truth: dict[str, np.ndarray]) -> Found:
    """Return the intervals of V against the first tool."""
    potential = estimate_potential(source)
    ends = [potential.confidence_interval(tool, TOOLS[0]) for tool in TOOLS[1:]]
    return [("V, difference", end, v) for end, v in zip(ends, truth["V"][1:], strict=True)]


def find_stay(source: RunTable | TransitionCounts, truth: dict[str, np.ndarray]) -> Found:
    """Return the interval of the stay in the first two tools, where they show as a trap."""
    traps = find_traps(source, min_visits=1.01).traps
    stays = [trap.interval for trap in traps if trap.states == TOOLS[:2]]
    return [("trap, stay", interval, truth["stay"]) for interval in stays]


def find_entropy(source: RunTable | TransitionCounts, truth: dict[str, np.ndarray]) -> Found:
    """Return the interval of the entropy production."""
    return [("entropy production", entropy_production(source).interval, truth["entropy"])]


def find_share(source: RunTable | TransitionCounts, truth: dict[str, np.ndarray]) -> Found:
    """Return the interval of the gradient share."""
    return [("gradient share", hodge_decomposition(source).gradient_interval, truth["share"])]


@dataclass(frozen=True)
class ByMoves:
    """Runs of which each move is to be taken for independent."""

    runs: RunTable


def find_forecast(source: RunTable | ByMoves, truth: dict[str, np.ndarray]) -> Found:
    """Return the intervals of what becomes of a run at two of the tools; `ByMoves` by moves."""
    runs, kind = (
        (source.runs, "dirichlet") if isinstance(source, ByMoves) else (source, "bootstrap")
    )
    forecast = forecast_outcome(runs, intervals=kind, replicates=200, fit_replicates=0)
    found: Found = []
    for place in (0, 3):
        after = forecast.after(TOOLS[place])
        found.append(("forecast, success", after.success_interval, truth["success"][place]))
        found.append(("forecast, moves left", after.steps_interval, truth["steps"][place]))
    return found


CASES = (
    ("", find_potential, {}),
    ("", find_stay, {"trap": True}),
    (", push of 1 nat", find_entropy, {"push": 1.0}),
    (", push of 2 nats", find_entropy, {"push": 2.0}),
    (", push of 1 nat", find_share, {"push": 1.0}),
    (", push of 2 nats", find_share, {"push": 2.0}),
    ("", find_forecast, {}),
)


def measure(runs: int, records: int) -> Iterator[str]:
    """Yield a row for each quantity."""
    for number, (suffix, find, settings) in enumerate(CASES):
        hits: dict[tuple[str, str], list[float]] = defaultdict(list)
        for seed in range(WORLDS):
            world = World.draw(seed, **settings)
            truth, rng = expect(world), np.random.default_rng([seed, runs, number])
            for _ in range(records // WORLDS):
                table = world.record(rng, runs)
                counts = ByMoves(table) if find is find_forecast else table.counts()
                for unit, source in (("runs", table), ("moves", counts)):
                    covered: dict[str, list[bool]] = defaultdict(list)
                    for name, (low, high), true in find(source, truth):
                        covered[name].append(bool(low <= true <= high))  # no interval holds nothing
                    for name, inside in covered.items():
                        hits[name, unit].append(float(np.mean(inside)))
        for name in dict.fromkeys(name for name, _ in hits):
            by_runs, by_moves = hits[name, "runs"], hits[name, "moves"]
            beside = show(by_moves) if any(by_moves) else "none"
            yield f"| {name}{suffix} | {runs} | {len(by_runs)} | {show(by_runs)} | {beside} |"


def show(covered: list[float]) -> str:
    """Write a share with its binomial error."""
    share = float(np.mean(covered))
    return f"{share:.1%} ± {np.sqrt(share * (1 - share) / len(covered)):.1%}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=400)
    parser.add_argument("--runs", type=int, nargs="*", default=[30, 100])
    options = parser.parse_args()
    print("| 95% interval of | runs | records | by runs | by moves |")
    print("|---|---|---|---|---|")
    for runs in options.runs:
        for line in measure(runs, options.records):
            print(line, flush=True)


if __name__ == "__main__":
    main()
