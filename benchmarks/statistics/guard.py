"""How many failed runs the guard catches, how many good ones it stops: the table of its docs.

Runs of six models on the same airline tools (docs/how-to/guard.md says where they come from). Half
of the runs of each of 20 random splits fit the guard, the other half tests it. The features and the
ridge of the score were chosen on splits with the seeds 1000 to 1019 of the same runs, which are not
reported; the reported seeds are 0 to 19. A step is a move before END, the score is read before END.

    python -m benchmarks.statistics.guard --data DIR [--first-seed 0]
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from scipy.stats import betabinom, rankdata

from benchmarks.statistics.guard_peers import stop_by_evaluator, stop_by_three_in_a_row
from detailed_balance.analyzers import END, RunGuard, Trajectory
from detailed_balance.analyzers.errors import InsufficientDataError
from detailed_balance.readers import read_transitions

ALPHA = 0.1
SPLITS = 20
Stops = list[int | None]
Runs = list[Trajectory]


def load(folder: Path) -> dict[str, Runs]:
    """Return the runs of each model; a run succeeded where its reward is 1."""
    files = sorted(folder.glob("*.jsonl.gz"))
    return {file.name.removesuffix(".jsonl.gz"): load_file(file) for file in files}


def load_file(file: Path) -> Runs:
    """Return the runs of one file, without the moves to END."""
    moves: dict[str, list[tuple[str, str | None]]] = {}
    rewards: dict[str, float] = {}
    options = {"boundaries": ("start", "end"), "context_fields": ("reward",)}
    for move in read_transitions(file, **options):
        run = moves.setdefault(str(move.trajectory), [])
        rewards[str(move.trajectory)] = float(dict(move.context)["reward"])
        if move.target != END:
            run.append((move.source, move.target))
    return [Trajectory(tuple(run), name, success=rewards[name] == 1) for name, run in moves.items()]


def auc(risks: Sequence[float], failed: np.ndarray) -> float:
    """Return the chance that a failed run has a higher risk than a successful one."""
    ranks, bad = rankdata(risks), failed.sum()
    return float((ranks[failed].sum() - bad * (bad + 1) / 2) / (bad * (~failed).sum()))


def average_precision(risks: Sequence[float], failed: np.ndarray) -> float:
    """Return the area under the precision-recall curve, by steps."""
    order = np.argsort(-np.asarray(risks), kind="stable")
    hits = failed[order]
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    return float(precision[hits].mean())


def risks_of(score, run: Trajectory) -> list[float]:
    """Return the risk after each step."""
    state = score.start()
    return [state.update(*move) for move in run.moves]


def judge(stops: Stops, test: Runs) -> list[float]:
    """Return the shares of failed runs caught, successful runs stopped, failed steps saved."""
    failed = np.array([not run.success for run in test])
    caught = np.array([stop is not None for stop in stops])
    left = [len(run) - stop if stop else 0 for run, stop in zip(test, stops, strict=True)]
    steps = np.array([len(run) for run in test])
    return [
        float(caught[failed].mean()),
        float(caught[~failed].mean()),
        float(np.array(left)[failed].sum() / steps[failed].sum()),
    ]


def areas(score, test: Runs) -> list[float]:
    """Return AUC and AUPRC at the end, and half-way."""
    failed = np.array([not run.success for run in test])
    risks = [risks_of(score, run) for run in test]
    end = [run[-1] for run in risks]
    half = [run[max(len(run) // 2, 1) - 1] for run in risks]
    return [f(at, failed) for at in (end, half) for f in (auc, average_precision)]


def fit(runs: Runs, seed: int) -> RunGuard | None:
    """Fit the guard; where the successes are too few, its score alone; else None."""
    try:
        return RunGuard.fit(runs, ALPHA, seed=seed)
    except InsufficientDataError as error:
        return error.partial


def halves(runs: Runs, seed: int) -> tuple[Runs, Runs]:
    """Split at random, by runs."""
    order = np.random.default_rng(seed).permutation(len(runs))
    middle = len(runs) // 2
    return [runs[i] for i in order[:middle]], [runs[i] for i in order[middle:]]


def excess(stops: int, good: int, m: int) -> tuple[float, float]:
    """Return by how many standard errors a split is over alpha, and the chance of as many stops.

    The tested runs and the m calibration runs are both a sample: the share of one guard is a beta
    variable, so the number of successful runs stopped is beta-binomial.
    """
    above = int(ALPHA * (m + 1) + 1e-9)
    error = np.sqrt(ALPHA * (1 - ALPHA) * (1 / good + 1 / (m + 2)))
    law = betabinom(good, above, m + 1 - above)
    return float((stops / good - ALPHA) / error), float(law.sf(stops - 1))


def report(name: str, splits: Sequence[tuple[Runs, Runs, int]]) -> Iterator[str]:
    """Yield the rows of one set of runs."""
    guards, rules, found, over = [], [], [], []
    for train, test, seed in splits:
        rules.append(judge([stop_by_three_in_a_row(run) for run in test], test))
        guard = fit(train, seed)
        if guard is None:
            continue
        found.append(areas(guard.score, test))
        if guard.threshold is not None:
            guards.append(judge([guard.watch(run.moves).stopped_at for run in test], test))
            good = sum(bool(run.success) for run in test)
            over.append(excess(round(guards[-1][1] * good), good, guard.calibration))
    worst = "{:+.1f}, p = {:.3f}".format(*max(over)) if over else "-"
    yield f"{name} | guard | {cells(guards, 3)} | {cells(found, 4)} | {len(guards)} | {worst}"
    yield f"{name} | same tool three times | {cells(rules, 3)} | - | - | - | - | {len(rules)} | -"


def peer_rows(name: str, splits: Sequence[tuple[Runs, Runs, int]]) -> Iterator[str]:
    """Yield the rows of the package e-valuator, given the same score."""
    for variant in ("Ville", "PAC"):
        rows = []
        for train, test, seed in splits:
            stops = stop_by_evaluator(train, test, variant, ALPHA, seed)
            if stops is not None:
                rows.append(judge(stops, test))
        yield f"{name} | e-valuator {variant} | {cells(rows, 3)} | - | - | - | - | {len(rows)} | -"


def cells(rows: Sequence[Sequence[float]], width: int) -> str:
    """Return the mean and the standard error of each column over the splits."""
    if not rows:
        return " | ".join(["-"] * width)
    table = np.array(rows)
    errors = table.std(axis=0, ddof=1) / np.sqrt(len(table)) if len(table) > 1 else 0 * table[0]
    means = table.mean(axis=0)
    return " | ".join(f"{m:.3f} ({e:.3f})" for m, e in zip(means, errors, strict=True))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--first-seed", type=int, default=0)
    given = parser.parse_args()
    models = load(given.data)
    pooled = [run for runs in models.values() for run in runs]
    seeds = range(given.first_seed, given.first_seed + SPLITS)
    print(
        "runs | method | caught | false stops | steps saved | AUC end | AUPRC end | AUC half | "
        "AUPRC half | splits | worst"
    )
    rows: list[Callable[[], Iterator[str]]] = []
    for name, runs in {**models, "pooled": pooled}.items():
        splits = [(*halves(runs, seed), seed) for seed in seeds]
        rows.append(lambda name=name, splits=splits: report(name, splits))
        if len(runs) >= 200:
            rows.append(lambda name=name, splits=splits: peer_rows(name, splits))
    for name, runs in models.items():
        others = [run for other, all_ in models.items() if other != name for run in all_]
        splits = [(others, runs, seed) for seed in seeds]
        rows.append(lambda name=name, splits=splits: report(f"all but {name} -> {name}", splits))
    for part in rows:
        for row in part():
            print(row, flush=True)


if __name__ == "__main__":
    warnings.filterwarnings("ignore", message="The calibration set has only")
    main()
