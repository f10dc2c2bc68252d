"""What the tests say of real agents: six models on the airline tools of tau-bench.

python -m benchmarks.statistics.airline --data DIR > airline.md

DIR holds the runs of each model as JSON Lines (docs/explanation/statistics-measured.md says where
they come from).
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import mannwhitneyu

from detailed_balance import RunTable, TransitionCounts, analyze, read_runs
from detailed_balance.analyzers import (
    Forecast,
    Trajectory,
    Violation,
    check_balance,
    compare_kernels,
    compare_potentials,
    find_traps,
    forecast_outcome,
    markov_order_test,
)

Runs = Mapping[str, Sequence[Trajectory]]


def read(folder: Path) -> dict[str, list[Trajectory]]:
    """Return the runs of each model."""
    files = sorted(folder.glob("*.jsonl.gz"))
    options: dict[str, Any] = {"success_field": "reward", "boundaries": ("start", "end")}
    names = [file.name.removesuffix(".jsonl.gz") for file in files]
    return {
        name: [with_task(run, name) for run in read_runs(file, **options)]
        for name, file in zip(names, files, strict=True)
    }


def with_task(run: Trajectory, model: str) -> Trajectory:
    """Label a run with its task, the first number of its name, and its model."""
    task = (run.name or "").split("-")[0].removeprefix("t")
    return replace(run, name=f"{model}/{run.name}", context=(("model", model), ("task", task)))


def counts_of(runs: Sequence[Trajectory]) -> TransitionCounts:
    """Count the moves of runs."""
    moves = Counter(move for run in runs for move in run.moves)
    return TransitionCounts.from_edges((f, g, n) for (f, g), n in moves.items())


def table(title: str, head: str, rows: Iterable[str]) -> None:
    """Print a Markdown table."""
    print(f"\n### {title}\n\n| {head} |\n|{'---|' * (head.count('|') + 1)}")
    for row in rows:
        print(f"| {row} |", flush=True)


def orders(runs: Runs, replicates: int) -> Iterator[str]:
    """Test whether the chain of tools is of order 1."""
    for model, some in runs.items():
        found = markov_order_test(some, replicates=replicates)
        worst = found.to_table()
        states = [s for s, p in zip(worst["state"], worst["adjusted"], strict=True) if p <= 0.05]
        yield (
            f"{model} | {len(some)} | {found.moves} | {found.gain:.3f} | {found.pvalue:.3g} | "
            f"{', '.join(f'`{state}`' for state in states) or 'none'}"
        )


def balance(runs: Runs) -> Iterator[str]:
    """Tell what breaks balance, at the level of causes, by runs and tasks."""
    tau2 = [run for model, some in runs.items() if not model.startswith("tau1") for run in some]
    for model, some in {**runs, "the five of tau2 together": tau2}.items():
        table = RunTable.of(some).with_blocks("task")
        report = check_balance(table.counts(), runs=table)
        if not report.violations:
            yield f"{model} | {len(some)} | none | | | | "
        for v in report.violations:
            low, high = v.interval()
            inside = f"{v.closed[0]} : {v.closed[1]}, p {v.run_pvalue:.2g}"
            yield (
                f"{model} | {len(some)} | `{v.loop.name()}` | {v.affinity:.1f} ({low:.1f} to "
                f"{high:.1f}) | {1 + len(v.explains)} | {inside} | {v.kind}: {tell_odds(v)}"
            )


def tell_odds(violation: Violation) -> str:
    """Return the odds ratio with its interval, and what would have been found."""
    if isnan(violation.odds_ratio):
        return violation.evidence or "not tested"
    low, high = violation.odds_interval
    odds = f"odds {violation.odds_ratio:.2g} ({low:.2g} to {high:.2g})"
    shown = f"{violation.detectable_odds:.2g} would have been found"
    return f"{odds}, p {violation.odds_pvalue:.2g}; {shown}"


def verdicts(runs: Runs) -> Iterator[str]:
    """Tell the first line of the report on each model."""
    for model, some in runs.items():
        verdict = analyze(RunTable.of(some), block="task").verdict
        failed = sum(run.success is False for run in some)
        yield f"{model} | {failed} of {len(some)} | {verdict.headline}"


def traps(runs: Runs) -> Iterator[str]:
    """Tell where agents stay."""
    for model, some in runs.items():
        # An agent that answers and answers again is not a trap at 10 visits; at 3 it shows.
        for visits in (10.0, 3.0):
            found = find_traps(counts_of(some), min_visits=visits).traps
            described = "; ".join(trap.describe() for trap in found) or "none"
            yield f"{model} | {visits:g} | {described}"


def contexts(runs: Runs, replicates: int) -> None:
    """Test whether the models share one kernel, and one potential."""
    counts = {model: counts_of(some) for model, some in runs.items()}
    tables = {model: RunTable.of(some).with_blocks("task") for model, some in runs.items()}
    exits = compare_kernels(counts, replicates=replicates)
    whole = compare_kernels(tables, replicates=replicates)
    valley = compare_potentials(tables, replicates=99)
    moves = compare_potentials(counts)
    print(f"\nKernels, exits permuted: {exits.describe()}.")
    different, moved = ", ".join(whole.different), ", ".join(valley.moved)
    print(f"Kernels, runs permuted inside tasks: {whole.describe()}; different: {different}.")
    print(f"Potentials, errors by moves: {moves.describe()}; moved: {', '.join(moves.moved)}.")
    print(f"Potentials, runs permuted inside tasks: {valley.describe()}; moved: {moved}.")
    table(
        "One model against itself: halves of the runs of `tau1_gpt-4o`, how often 5% rejects",
        "kernels, by moves | kernels, runs permuted | potentials, by moves | potentials, by runs",
        [" | ".join(f"{share:.0%}" for share in halves(runs["tau1_gpt-4o"]))],
    )
    rows = zip(
        *list(whole.distance_table().values()),
        *list(valley.distance_table().values())[2:],
        list(moves.distance_table().values())[3],
        strict=True,
    )
    table(
        "Pairs of models",
        "first | second | kernel, nats per move | adjusted p (runs) | potential, 1/beta | "
        "adjusted p (runs permuted) | adjusted p (moves)",
        [
            f"{a} | {b} | {d:.3f} | {p:.2g} | {v:.2f} | {q:.2g} | {r:.2g}"
            for a, b, d, p, v, q, r in rows
        ],
    )


def halves(runs: Sequence[Trajectory], trials: int = 100) -> np.ndarray:
    """Return how often two random halves of the same runs are found to differ."""
    rng, half, found = np.random.default_rng(0), len(runs) // 2, []
    for seed in range(trials):
        order = rng.permutation(len(runs))
        pair = [[runs[i] for i in part] for part in (order[:half], order[half:])]
        counts = [counts_of(part) for part in pair]
        kernels = [
            compare_kernels(*pair, unit=unit, replicates=99, seed=seed).total_pvalue
            for unit in ("exits", "runs")
        ]
        found.append(
            [*kernels, compare_potentials(*counts).pvalue, compare_potentials(*pair).pvalue]
        )
    return np.asarray((np.array(found) <= 0.05).mean(axis=0))


def fits(runs: Runs) -> Iterator[str]:
    """Forecast before the first move, and tell whether to believe it."""
    for model, some in runs.items():
        found = forecast_outcome(some, replicates=500)
        now, fit = found.after(), found.fit
        assert fit is not None
        low, high = now.success_interval
        yield (
            f"{model} | {now.success:.0%} ({low:.0%} to {high:.0%}) | {now.steps:.1f} "
            f"({now.steps_interval[0]:.1f} to {now.steps_interval[1]:.1f}) | {fit.distance:.2f} | "
            f"{fit.pvalue:.3g} | {'yes' if fit.trusted else 'no'}"
        )


def left_out(runs: Runs) -> Iterator[str]:
    """Forecast the success of each model from the others, after each state of its runs."""
    for model, some in runs.items():
        forecast = _from_others(runs, model)
        good = np.array([bool(run.success) for run in some])
        along = [_along(forecast, run) for run in some]
        half = np.array([path[len(path) // 2] for path in along])
        last = np.array([path[-1] for path in along])
        each, ends = np.concatenate(along), np.repeat(good, [len(path) for path in along])
        rate = good.mean()
        yield (
            f"{model} | {forecast.after().success:.0%} | {rate:.0%} | {_auc(half, good):.2f} | "
            f"{_auc(last, good):.2f} | {_auc(each, ends):.2f} | "
            f"{np.mean((half - good) ** 2):.3f} | {rate * (1 - rate):.3f}"
        )


def calibration(runs: Runs) -> Iterator[str]:
    """Put the forecasts half-way, from the other models, into bins of equal size."""
    pairs = []
    for model, some in runs.items():
        forecast = _from_others(runs, model)
        paths = [(_along(forecast, run), bool(run.success)) for run in some]
        pairs += [(path[len(path) // 2], good) for path, good in paths]
    for part in np.array_split(np.array(sorted(pairs)), 5):
        said, seen = part.mean(axis=0)
        yield f"{len(part)} | {part[0, 0]:.2f} to {part[-1, 0]:.2f} | {said:.2f} | {seen:.2f}"


def _from_others(runs: Runs, model: str) -> Forecast:
    others = [run for name, some in runs.items() if name != model for run in some]
    return forecast_outcome(others, replicates=0, fit_replicates=0)


def _along(forecast: Forecast, run: Trajectory) -> list[float]:
    """Return the chance of success after each state that the forecast knows."""
    return [forecast.after(s).success for s in run.states if s in forecast.states]


def _auc(score: np.ndarray, good: np.ndarray) -> float:
    wins = mannwhitneyu(score[good], score[~good]).statistic
    return float(wins / (good.sum() * (~good).sum()))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--replicates", type=int, default=999)
    given = parser.parse_args()
    runs = read(given.data)
    table(
        "Is the chain of tools of order 1?",
        "model | runs | moves with a state before | gain, nats per move | p | "
        "states that need their history",
        orders(runs, given.replicates),
    )
    table(
        "What breaks detailed balance",
        "model | runs | cause | affinity, nats (95%, by runs) | loops it explains | closed inside "
        "runs, in this direction and in reverse | failed against successful runs",
        balance(runs),
    )
    table("The first line of each report", "model | runs that failed | verdict", verdicts(runs))
    table("Traps", "model | visits asked for | found", traps(runs))
    contexts(runs, given.replicates)
    table(
        "Forecast before the first move, and its fit",
        "model | success | moves to the end | KS distance | p | trusted",
        fits(runs),
    )
    table(
        "Success forecast from the other models",
        "model left out | forecast at the start | what happened | AUC half-way | AUC at the end | "
        "AUC over all states | Brier score half-way | of the own base rate",
        left_out(runs),
    )
    table(
        "Calibration half-way, models left out in turn",
        "runs | forecast | mean forecast | share that succeeded",
        calibration(runs),
    )


if __name__ == "__main__":
    main()
