"""What users of simulated agents are told: `python -m benchmarks.statistics.verdicts`.

Each record is analysed as a user would, by `analyze`. Agents have 6 tools unless said otherwise,
and runs of 5 to 30 moves from one tool; where it is said so, runs end from one tool only, and go on
until they are there. A push is in nats a step of the triangle of the first three tools: the log of
forward over backward weight. 30% of the runs fail, at random unless said otherwise.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.statistics.agents import (
    draw_lengths,
    draw_paths,
    draw_weights,
    make_runs,
    push_loop,
)
from detailed_balance import analyze
from detailed_balance.analyzers import END, START, Outcome, RunTable, Trajectory, mixture_test

if TYPE_CHECKING:
    from numpy.typing import NDArray

LOOP = (0, 1, 2)
FAILED = 0.3
LAST = 3
FIELDS = {"trajectory_field": "run", "state_field": "state", "time_field": "time"}
FIELDS |= {"success_field": "success"}

Make = Callable[[np.random.Generator], RunTable]
Measure = Callable[[RunTable], dict[str, bool]]


@dataclass(frozen=True)
class Setting:
    """A kind of record, what is counted of it, and what is wanted: at most, or at least."""

    name: str
    make: Make
    measure: Measure
    wanted: dict[str, str]


def tell(table: RunTable) -> dict[str, bool]:
    """Return what a user is told of a record."""
    report = analyze(table)
    verdict = report.verdict
    return {
        "PROBLEM": verdict.outcome == "problem",
        "suspect": any(
            "driven" in finding.kinds and finding.severity == "problem"
            for finding in report.findings
        ),
        "driven inside runs": report.balance is not None and bool(report.balance.driven),
        "limit said": "hit the recursion limit" in verdict.headline,
        "two-phase words": "runs change as they go on" in str(verdict),
    }


def tell_mixture(table: RunTable) -> dict[str, bool]:
    """Return the same, and what the test of a mixture says."""
    return {**tell(table), "mixture": mixture_test(table).rejected}


def succeed(rng: np.random.Generator, runs: int) -> NDArray[np.bool_]:
    """Return which of so many runs succeed, at random."""
    return np.asarray(rng.random(runs) >= FAILED)


def one_kernel(tools: int, runs: int, push: float = 0.0, end: int | None = None) -> Make:
    """Return a maker of runs of one kernel."""

    def make(rng: np.random.Generator) -> RunTable:
        weights = push_loop(draw_weights(rng, tools), LOOP, push)
        paths = draw_paths(rng, weights, draw_lengths(rng, runs), end=end)
        return make_runs(paths, succeed(rng, runs))

    return make


def long_runs_fail(runs: int, *, limit: bool, end: int | None) -> Make:
    """Return a maker of a work-flow whose longest runs fail, or are stopped by a limit."""

    def make(rng: np.random.Generator) -> RunTable:
        weights = push_loop(draw_weights(rng, 6), LOOP, 3.0)
        paths = draw_paths(rng, weights, draw_lengths(rng, runs), end=end)
        lengths = np.array([len(path) for path in paths])
        most = int(np.quantile(lengths, 1 - FAILED))
        if not limit:
            return make_runs(paths, lengths < most)
        stopped = lengths >= most
        paths = [path[:most] for path in paths]
        others = succeed(rng, runs) | (rng.random(runs) < 0.7)
        return make_runs(paths, others, limited=stopped)

    return make


def two_kernels(runs: int, *, own_start: bool = False, versions: bool = False) -> Make:
    """Return a maker of two types of tasks, or two versions in turn, each reversible."""

    def make(rng: np.random.Generator) -> RunTable:
        half, paths = runs // 2, []
        for start in (0, LAST if own_start else 0):
            weights = draw_weights(rng, 6)
            paths += draw_paths(rng, weights, draw_lengths(rng, half), start=start)
        started = 1.7e9 + 60 * np.arange(len(paths))
        return make_runs(paths, succeed(rng, len(paths)), started=started if versions else None)

    return make


def two_phases(runs: int) -> Make:
    """Return a maker of runs that plan first and execute then, each phase reversible."""

    def make(rng: np.random.Generator) -> RunTable:
        plan, act = draw_weights(rng, 6), draw_weights(rng, 6)
        first = draw_paths(rng, plan, draw_lengths(rng, runs) // 2)
        paths = [
            path + draw_paths(rng, act, draw_lengths(rng, 1) // 2, start=path[-1])[0][1:]
            for path in first
        ]
        return make_runs(paths, succeed(rng, runs))

    return make


def failed_are_pushed(runs: int, more: float, push: float) -> Make:
    """Return a maker of runs of which the failed ones are pushed more."""

    def make(rng: np.random.Generator) -> RunTable:
        weights, bad = draw_weights(rng, 6), round(FAILED * runs)
        good = draw_paths(rng, push_loop(weights, LOOP, push), draw_lengths(rng, runs - bad))
        worse = draw_paths(rng, push_loop(weights, LOOP, push + more), draw_lengths(rng, bad))
        return make_runs(good + worse, np.arange(runs) < runs - bad)

    return make


def errors_stop_runs(runs: int, anywhere: float, at_first: float = 0.0) -> Make:
    """Return a maker of runs, one a minute, that an error may stop after each step.

    Its probability is the same after each tool, and another one after the first.
    """

    def make(rng: np.random.Generator) -> RunTable:
        paths = draw_paths(rng, draw_weights(rng, 6), draw_lengths(rng, runs))
        made = []
        for i, path in enumerate(paths):
            risk = np.where(np.array(path) == 0, anywhere + at_first, anywhere)
            wrong = np.flatnonzero(rng.random(len(path)) < risk)
            names = [f"tool_{state}" for state in path[: wrong[0] + 1 if wrong.size else None]]
            moves = [*pairwise((START, *names)), (names[-1], None if wrong.size else END)]
            outcome = Outcome.FAILED if wrong.size else Outcome.ENDED
            about = (f"run {i}", outcome, not wrong.size)
            made.append(Trajectory(tuple(moves), *about, started=60.0 * i))
        return RunTable.of(made)

    return make


def list_settings() -> Iterator[Setting]:
    """Yield the settings."""
    for runs in (100, 400):
        name = f"errors at random, {runs} runs"
        yield Setting(name, errors_stop_runs(runs, 0.02), tell, {"PROBLEM": "<= 5%"})
    for runs in (40, 100):
        name = f"errors after one tool in 25% of its steps, {runs} runs"
        yield Setting(name, errors_stop_runs(runs, 0.0, 0.25), tell, {"PROBLEM": ">= 90%"})
    for tools in (4, 6, 12):
        for runs in (50, 100, 400):
            name = f"reversible, {tools} tools, {runs} runs"
            yield Setting(name, one_kernel(tools, runs), tell, {"PROBLEM": "<= 5%"})
    for end, where in ((None, ""), (LAST, ", ends at one tool")):
        for runs in (100, 400):
            make = one_kernel(6, runs, push=3.0, end=end)
            name = f"work-flow, failures at random, {runs} runs{where}"
            yield Setting(name, make, tell, {"PROBLEM": "<= 5%"})
        for limit, what in ((False, "the longer runs fail"), (True, "the longer runs hit a limit")):
            for runs in (100, 400):
                wanted = {"suspect": "<= 7%"} | ({"limit said": "100%"} if limit else {})
                make = long_runs_fail(runs, limit=limit, end=end)
                yield Setting(f"work-flow, {what}, {runs} runs{where}", make, tell, wanted)
    mixed = {"driven inside runs": "<= 7%"}
    for runs in (100, 200, 400):
        for own in (False, True):
            starts = "own starts" if own else "same start"
            wanted = mixed | ({"mixture": ">= 80%"} if runs == 400 else {})
            make = two_kernels(runs, own_start=own)
            yield Setting(f"two task types, {starts}, {runs} runs", make, tell_mixture, wanted)
        wanted = mixed | ({"mixture": ">= 80%"} if runs == 400 else {})
        make = two_kernels(runs, versions=True)
        yield Setting(f"a change of version, {runs} runs", make, tell_mixture, wanted)
    for runs in (100, 400):
        make = one_kernel(6, runs)
        yield Setting(f"one kernel, {runs} runs", make, tell_mixture, {"mixture": "<= 5%"})
        yield Setting(f"two phases, {runs} runs", two_phases(runs), tell, {})
    for push, base in ((0.0, "reversible"), (3.0, "work-flow")):
        for more, least in ((1.0, 70), (2.0, 95), (3.0, 99)):
            name = f"failed runs pushed {more:g} nats more, {base}, 100 runs"
            make = failed_are_pushed(100, more, push)
            yield Setting(name, make, tell, {"suspect": f">= {least}%"})
        name = f"failed runs pushed 3 nats more, {base}, 40 runs"
        yield Setting(name, failed_are_pushed(40, 3.0, push), tell, {"suspect": ">= 90%"})


def run(setting: Setting, records: int, seed: int) -> str:
    """Return the row of a setting: shares of records with their binomial standard errors."""
    seen: Counter[str] = Counter()
    name = [ord(letter) for letter in setting.name]
    for record in range(records):
        rng = np.random.default_rng((seed, record, *name))
        seen.update(key for key, told in setting.measure(setting.make(rng)).items() if told)
    cells = []
    for key in ("PROBLEM", "suspect", "driven inside runs", "mixture", "limit said"):
        share = seen[key] / records
        error = sqrt(share * (1 - share) / records)
        shown = f"{key} {share:.1%} ± {error:.1%}"
        if key in setting.wanted:
            cells.append(f"**{shown}** (wanted {setting.wanted[key]})")
        elif seen[key]:
            cells.append(shown)
    if "phases" in setting.name:
        cells.append(f"words {seen['two-phase words'] / max(seen['driven inside runs'], 1):.0%}")
    return f"| {setting.name} | {'; '.join(cells)} |"


def shuffle(records: int, shuffles: int, seed: int) -> str:
    """Return how many shuffles of the rows of a file change the verdict, or any of its words."""
    other_words = other_outcome = 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "steps.csv")
        for record in range(records):
            rng = np.random.default_rng((seed, record))
            make = failed_are_pushed(60, 0.6, 0.3) if record % 2 else two_kernels(60)
            rows = list(_rows(make(rng), rng))
            told = set()
            for _ in range(shuffles):
                path.write_text("\n".join(["run,state,time,success", *rows]) + "\n")
                verdict = analyze(path, **FIELDS).verdict
                told.add((verdict.outcome, str(verdict)))
                rows = [rows[i] for i in rng.permutation(len(rows))]
            other_words += len(told) > 1
            other_outcome += len({outcome for outcome, _ in told}) > 1
    return (
        f"| {shuffles} shuffles of the rows of {records} files | other outcome in {other_outcome}, "
        f"other words in {other_words} (wanted 0) |"
    )


def _rows(table: RunTable, rng: np.random.Generator) -> Iterator[str]:
    for i, each in enumerate(table):
        start = 1.7e9 + 1000 * i + float(rng.random())
        for k, state in enumerate(each.states):
            yield f"{each.name},{state},{start + k},{str(bool(each.success)).lower()}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=400)
    parser.add_argument("--only", default="", help="settings that hold this text")
    parser.add_argument("--shuffles", type=int, default=0, help="shuffle files so often instead")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if given.shuffles:
        print(shuffle(given.records, given.shuffles, given.seed))
        return
    print("| record | told |\n|---|---|")
    for setting in list_settings():
        if given.only in setting.name:
            began = time.perf_counter()
            row = run(setting, given.records, given.seed)
            print(f"{row}  <!-- {time.perf_counter() - began:.0f} s -->", flush=True)


if __name__ == "__main__":
    main()
