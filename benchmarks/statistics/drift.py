"""How often `DriftMartingale` alarms: on one model split in two, and from one model to another.

Run ``python -m benchmarks.statistics.drift --data DIR``. Reads tool-calling runs of several models
on airline tasks, one file for each model (docs/explanation/statistics-measured.md says where they
come from), and prints the tables there. Of the pairs, those of `DEVELOPED` were looked at while the
scores and the bets were chosen; the others were not. The peer is the Kolmogorov-Smirnov test on the
same scores, its p-value times their number.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from math import sqrt
from pathlib import Path
from statistics import median

import numpy as np
from scipy.special import kolmogorov

from detailed_balance import read_runs
from detailed_balance.analyzers import DriftMartingale, Trajectory
from detailed_balance.analyzers.sequential._run_scores import RunScorer
from detailed_balance.analyzers.sequential.drift_martingale import split_baseline

__all__ = ["detections", "false_alarms"]

FILES = {
    "gpt-4o": "gpt-4o",
    "opus": "claude-opus-4-6",
    "gpt-oss": "gpt-oss-120b_langchain",
    "sonnet": "claude-sonnet-4-5",
    "gpt-5.4": "gpt-5.4",
    "tau1 gpt-4o": "tau1_gpt-4o",
}
DEVELOPED = {"gpt-4o", "opus", "gpt-oss"}
ALPHA = 0.05
LARGE = "tau1 gpt-4o"
RUNS = 50

Runs = Mapping[str, Sequence[Trajectory]]


def alarmed_at(baseline: Sequence[Trajectory], new: Sequence[Trajectory], seed: int) -> int | None:
    """Return after how many new runs there was an alarm."""
    drift = DriftMartingale(baseline, ALPHA, seed=seed)
    for run in new:
        drift.update(run)
        if drift.alarm:
            break
    return drift.alarmed_at


def peer_alarms(
    baseline: Sequence[Trajectory], new: Sequence[Trajectory], seed: int, looks: Sequence[int]
) -> bool:
    """Return whether the peer rejects at one of the looks, given as numbers of new runs."""
    fitted, calibration = split_baseline(len(baseline), seed)
    scorer = RunScorer([baseline[i] for i in fitted])
    usual = _table(scorer, [baseline[i] for i in calibration])
    scores = _table(scorer, new)
    columns = range(usual.shape[1])
    least = [min(_kolmogorov(usual[:, k], scores[:look, k]) for k in columns) for look in looks]
    return min(least) * len(columns) <= ALPHA


def _kolmogorov(one: np.ndarray, other: np.ndarray) -> float:
    """Return the p-value of the two-sample test, by its asymptotic law."""
    ends, sizes = np.concatenate([one, other]), (len(one), len(other))
    shares = [np.searchsorted(np.sort(x), ends, side="right") / len(x) for x in (one, other)]
    distance = float(np.abs(shares[0] - shares[1]).max())
    return float(kolmogorov(distance * sqrt(sizes[0] * sizes[1] / sum(sizes))))


def _table(scorer: RunScorer, runs: Sequence[Trajectory]) -> np.ndarray:
    return np.column_stack(list(scorer.score_runs(runs).values()))


def draw(runs: Sequence[Trajectory], count: int, rng: np.random.Generator) -> list[Trajectory]:
    """Return up to `count` of the runs in random order."""
    return [runs[i] for i in rng.permutation(len(runs))[:count]]


def false_alarms(runs: Runs, models: Sequence[str], splits: int) -> Iterator[str]:
    """Yield a row for each model: its runs split in two by chance, a baseline and new runs."""
    yield "| model | baseline, new runs | false alarms | limit | peer, every 5 runs | peer, once |"
    yield "|---|---|---|---|---|---|"
    limit = ALPHA + 3 * sqrt(ALPHA * (1 - ALPHA) / splits)
    for model in models:
        rng, half = np.random.default_rng(1), len(runs[model]) // 2
        new = len(runs[model]) - half
        looks = range(min(10, new), new + 1, 5)
        alarms = np.zeros(3, dtype=np.int64)
        for split in range(splits):
            order = draw(runs[model], len(runs[model]), rng)
            parts = order[:half], order[half:], split
            alarms += [
                alarmed_at(*parts) is not None,
                peer_alarms(*parts, looks),
                peer_alarms(*parts, [new]),
            ]
        ours, often, once = alarms / splits
        assert ours <= limit, f"{ours:.1%} false alarms of {model}"
        sizes = f"{half}, {new}"
        yield f"| {model} | {sizes} | {ours:.1%} | {limit:.1%} | {often:.1%} | {once:.1%} |"


def detections(runs: Runs, rounds: int) -> Iterator[str]:
    """Yield a row for each baseline, with a column for each model that the new runs are of."""
    yield "| baseline | " + " | ".join(runs) + " |"
    yield "|---|" + "---|" * len(runs)
    for baseline, size in [*((name, RUNS) for name in runs), (LARGE, len(runs[LARGE]))]:
        cells = [_cell(runs, baseline, new, size, rounds) for new in runs]
        yield f"| {baseline}, {min(size, len(runs[baseline]))} runs | " + " | ".join(cells) + " |"


def _cell(runs: Runs, baseline: str, new: str, size: int, rounds: int) -> str:
    """Return the share of alarms, that of the peer, and after how many runs the median alarm."""
    if baseline == new:
        return ""
    rng, found, peer = np.random.default_rng(2), [], 0
    for seed in range(rounds):
        parts = draw(runs[baseline], size, rng), draw(runs[new], RUNS, rng)
        found.append(alarmed_at(*parts, seed))
        peer += peer_alarms(*parts, seed, [RUNS])
    times = [when for when in found if when is not None]
    seen = "*" if {baseline, new} <= DEVELOPED else ""
    after = f" at {median(times):.0f}" if 2 * len(times) >= rounds else ""
    return f"{len(times) / rounds:.2f}{seen} ({peer / rounds:.2f}){after}"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--splits", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--data", type=Path, required=True)
    options = parser.parse_args()
    runs = {
        name: read_runs(options.data / f"{file}.jsonl.gz", success_field="reward")
        for name, file in FILES.items()
    }
    for row in false_alarms(runs, ["gpt-4o", "gpt-oss", LARGE], options.splits):
        print(row, flush=True)
    print()
    for row in detections(runs, options.rounds):
        print(row, flush=True)


if __name__ == "__main__":
    main()
