"""How often healthy runs are said to repeat themselves, and how often runs that do are found.

Run ``python -m benchmarks.statistics.repetition`` with one of: level, power, or a part of the name
of a setting; `--records` sets the records of each row.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from zlib import crc32

import numpy as np

from detailed_balance.analyzers import Outcome, RunTable, Trajectory, find_repetition

Walk = tuple[list[str], bool, Outcome]
"""States, success and outcome of a run."""

Make = Callable[[np.random.Generator, int], list[Walk]]
"""Draws a record of so many runs."""

SIZES = (30, 100, 400)
FAILED = 0.3
LIMIT = 40
TOOLS = ("search", "read", "write")

CYCLE = ["edit", "run", "test"]
ENDED, STOPPED = Outcome.ENDED, Outcome.RECURSION_LIMIT


def ends(walk: Callable[[np.random.Generator], list[str]]) -> Make:
    """Return runs that end as they like; failures at random."""
    return lambda rng, n: [_end(walk(rng), rng) for _ in range(n)]


def stops(walk: Callable[[np.random.Generator], list[str]]) -> Make:
    """Return runs that are stopped at the limit; failures at random among the others."""
    return lambda rng, n: [_stop(walk(rng), rng) for _ in range(n)]


def cycles(fewest: int, most: int) -> Callable[[np.random.Generator], list[str]]:
    """Return walks of so many rounds of edit, run and test."""
    return lambda rng: CYCLE * rng.integers(fewest, most + 1)


def wander(rng: np.random.Generator) -> list[str]:
    """Go to three tools at random, 5 to 30 moves."""
    return _draw(rng, int(rng.integers(5, 31)))


def long_ones_fail(rng: np.random.Generator, n: int) -> list[Walk]:
    """Let the longest of the runs that wander fail, which repeat nothing of their own."""
    lengths = rng.integers(5, 31, size=n)
    longest = np.sort(lengths)[int((1 - FAILED) * n)]
    return [(_draw(rng, int(length)), bool(length < longest), ENDED) for length in lengths.tolist()]


def long_cycles_fail(rng: np.random.Generator, n: int) -> list[Walk]:
    """Let runs of 6 to 15 rounds fail the more probably the longer they are."""
    rounds = rng.integers(6, 16, size=n).tolist()
    return [(CYCLE * k, bool(rng.random() > (k - 5) / 15), ENDED) for k in rounds]


def by_task(rng: np.random.Generator, n: int) -> list[Walk]:
    """Make tasks of ten runs, of which the hard ones take more rounds and fail more often."""
    walks = []
    for _ in range(n // 10):
        hard = rng.random()
        for _ in range(10):
            rounds = max(int(rng.poisson(2 + 10 * hard)), 1)
            walks.append((CYCLE * rounds, bool(rng.random() > hard), ENDED))
    return walks


def shuttling(share: float, fail: float) -> Make:
    """Let a share of the runs change 10 to 40 times between two tools and fail."""

    def make(rng: np.random.Generator, n: int) -> list[Walk]:
        walks = _wander_failing(rng, n, fail)
        for i in range(round(share * n)):
            walks[i] = (["plan", *_pairs(int(rng.integers(10, 41)))], False, ENDED)
        return walks

    return make


def going_round(rng: np.random.Generator, n: int) -> list[Walk]:
    """Let 10% of the runs go round 8 to 20 times and fail, and others 1 to 4 times; 20% fail."""
    walks = [(CYCLE * rng.integers(1, 5), bool(rng.random() > 0.2), ENDED) for _ in range(n)]
    for i in range(n // 10):
        walks[i] = (CYCLE * rng.integers(8, 21), False, ENDED)
    return walks


def stuck_at_limit(rng: np.random.Generator, n: int) -> list[Walk]:
    """Let three runs of 100 read until they are stopped."""
    walks = _wander_failing(rng, n, 0.1)
    for i in range(max(1, round(0.03 * n))):
        walks[i] = (["plan", *["read"] * (LIMIT - 1)], False, STOPPED)
    return walks


def _wander_failing(rng: np.random.Generator, n: int, fail: float) -> list[Walk]:
    return [(wander(rng), bool(rng.random() > fail), ENDED) for _ in range(n)]


def _draw(rng: np.random.Generator, n: int) -> list[str]:
    return [TOOLS[i] for i in rng.integers(3, size=int(n)).tolist()]


def _pairs(changes: int) -> list[str]:
    return [("search", "read")[i % 2] for i in range(changes + 1)]


def _end(states: list[str], rng: np.random.Generator) -> Walk:
    return states, bool(rng.random() > FAILED), ENDED


def _stop(states: list[str], rng: np.random.Generator) -> Walk:
    if len(states) <= LIMIT:
        return _end(states, rng)
    return states[:LIMIT], False, STOPPED


HEALTHY: dict[str, Make] = {
    "6 to 15 rounds of edit, run, test": ends(cycles(6, 15)),
    "6 to 15 rounds of edit, test": ends(lambda rng: ["edit", "test"] * rng.integers(6, 16)),
    "12 reads in a row in each run": ends(lambda _: ["plan", *["read"] * 12, "answer"]),
    "reads in a row, 10 in the mean": ends(lambda rng: ["plan", *["read"] * rng.geometric(0.1)]),
    "three tools at random": ends(wander),
    "the same, geometric length, limit 40": stops(lambda rng: _draw(rng, rng.geometric(1 / 25))),
    "rounds of edit, run, test, limit 40": stops(lambda rng: CYCLE * rng.geometric(1 / 8)),
    "hard tasks: more rounds, more failures; block=": by_task,
    "three tools at random, the longest 30% fail": long_ones_fail,
    "6 to 15 rounds, the more the more fail": long_cycles_fail,
}
FAULTY: dict[str, Make] = {
    "10% shuttle, no other run fails": shuttling(0.1, 0.0),
    "10% shuttle, 20% of the others fail": shuttling(0.1, 0.2),
    "30% shuttle, 20% of the others fail": shuttling(0.3, 0.2),
    "10% go round 8 to 20 times, successful runs 1 to 4": going_round,
    "3% read on until the limit": stuck_at_limit,
}


def make_table(walks: list[Walk], block: int = 0) -> RunTable:
    """Return runs as a table, in blocks of so many, if any."""
    runs = []
    for number, (states, success, outcome) in enumerate(walks):
        moves = tuple(zip(["__start__", *states], [*states, "__end__"], strict=True))
        if outcome is STOPPED:
            moves = moves[:-1]
        context = (("task", f"t{number // block}"),) if block else ()
        name = f"run {number}"
        runs.append(Trajectory(moves, name, outcome, success=success, context=context))
    return RunTable.of(runs)


def measure(make: Make, name: str, records: int) -> str:
    """Return a row: the shares of records with a finding, and with limits that name the fault."""
    cells = []
    for n in SIZES:
        found = limits = 0
        for record in range(records):
            rng = np.random.default_rng([crc32(name.encode()), n, record])
            blocks = 10 if make is by_task else 0
            table = make_table(make(rng, n), blocks)
            report = find_repetition(table, block="task" if blocks else None)
            found += bool(report.findings)
            limits += any(run.kind == "stay" for run in report.limits)
        share = found / records
        error = (share * (1 - share) / records) ** 0.5
        fact = f" (fact: {limits / records:.0%})" if make is stuck_at_limit else ""
        cells.append(f"{share:.1%} ± {error:.1%}{fact}")
    return f"| {name} | {' | '.join(cells)} |"


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="?", default="")
    parser.add_argument("--records", type=int, default=400)
    asked = parser.parse_args()
    settings = {"level": HEALTHY, "power": FAULTY}
    chosen = settings.get(asked.what, {**HEALTHY, **FAULTY})
    print(f"| setting | {' | '.join(f'{n} runs' for n in SIZES)} |")
    print("|---" * (1 + len(SIZES)) + "|")
    for name, make in chosen.items():
        if asked.what in settings or asked.what in name:
            print(measure(make, name, asked.records), flush=True)


if __name__ == "__main__":
    main()
