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

SIZES = (30, 100, 400)
FAILED = 0.3
LIMIT = 40
TOOLS = ("search", "read", "write")

ENDED, FAILED_OUTCOME, STOPPED = Outcome.ENDED, Outcome.FAILED, Outcome.RECURSION_LIMIT


def edit_and_test(rng: np.random.Generator, n: int) -> list[Walk]:
    """Six to fifteen rounds of edit, run and test; failures at random."""
    return [_end(["edit", "run", "test"] * rng.integers(6, 16), rng) for _ in range(n)]


def edit_and_test_two(rng: np.random.Generator, n: int) -> list[Walk]:
    """Six to fifteen rounds of edit and test; failures at random."""
    return [_end(["plan", *["edit", "test"] * rng.integers(6, 16)], rng) for _ in range(n)]


def twelve_reads(rng: np.random.Generator, n: int) -> list[Walk]:
    """Twelve reads in a row in each run; failures at random."""
    return [_end(["plan", *["read"] * 12, "answer"], rng) for _ in range(n)]


def many_reads(rng: np.random.Generator, n: int) -> list[Walk]:
    """Reads in a row, as many as the work needs; failures at random."""
    return [_end(["plan", *["read"] * rng.geometric(0.1), "answer"], rng) for _ in range(n)]


def at_random(rng: np.random.Generator, n: int) -> list[Walk]:
    """Three tools at random, 5 to 30 moves; failures at random."""
    return [_end(_draw(rng, int(rng.integers(5, 31))), rng) for _ in range(n)]


def stopped_at_random(rng: np.random.Generator, n: int) -> list[Walk]:
    """Three tools at random, of geometric length, stopped at 40 moves; failures at random."""
    return [_stop(_draw(rng, int(rng.geometric(1 / 25))), rng) for _ in range(n)]


def stopped_cycles(rng: np.random.Generator, n: int) -> list[Walk]:
    """Rounds of edit, run and test, stopped at 40 moves; failures at random."""
    return [_stop(["edit", "run", "test"] * rng.geometric(1 / 8), rng) for _ in range(n)]


def long_ones_fail(rng: np.random.Generator, n: int) -> list[Walk]:
    """Three tools at random, and the longest 30% fail: no repetition of their own."""
    lengths = rng.integers(5, 31, size=n)
    longest = np.sort(lengths)[int((1 - FAILED) * n)]
    return [(_draw(rng, int(length)), bool(length < longest), ENDED) for length in lengths.tolist()]


def by_task(rng: np.random.Generator, n: int) -> list[Walk]:
    """Tasks of ten runs: hard ones take more rounds and fail more often; given `block=`."""
    walks = []
    for _ in range(n // 10):
        hard = rng.random()
        for _ in range(10):
            rounds = rng.poisson(2 + 10 * hard)
            walks.append((["edit", "run", "test"] * max(rounds, 1), rng.random() > hard, ENDED))
    return walks


def shuttling(share: float, fail: float) -> Callable[[np.random.Generator, int], list[Walk]]:
    """A share of the runs changes 10 to 40 times between two tools and fails; others at random."""

    def make(rng: np.random.Generator, n: int) -> list[Walk]:
        walks = at_random_failing(rng, n, fail)
        for i in range(round(share * n)):
            walks[i] = (["plan", *_pairs(int(rng.integers(10, 41)))], False, ENDED)
        return walks

    return make


def at_random_failing(rng: np.random.Generator, n: int, fail: float) -> list[Walk]:
    """Three tools at random, 5 to 30 moves; a share fails at random."""
    lengths = rng.integers(5, 31, size=n).tolist()
    return [(_draw(rng, length), bool(rng.random() > fail), ENDED) for length in lengths]


def stuck_at_limit(rng: np.random.Generator, n: int) -> list[Walk]:
    """Three runs of 100 read until they are stopped, the same call with the same answer."""
    walks = at_random_failing(rng, n, 0.1)
    for i in range(max(1, round(0.03 * n))):
        walks[i] = (["plan", *["read"] * (LIMIT - 1)], False, STOPPED)
    return walks


def _draw(rng: np.random.Generator, n: int) -> list[str]:
    return [TOOLS[i] for i in rng.integers(3, size=n).tolist()]


def _pairs(changes: int) -> list[str]:
    return [("search", "read")[i % 2] for i in range(changes + 1)]


def _end(states: list[str], rng: np.random.Generator) -> Walk:
    return states, bool(rng.random() > FAILED), ENDED


def _stop(states: list[str], rng: np.random.Generator) -> Walk:
    if len(states) <= LIMIT:
        return _end(states, rng)
    return states[:LIMIT], False, STOPPED


HEALTHY = (
    edit_and_test,
    edit_and_test_two,
    twelve_reads,
    many_reads,
    at_random,
    stopped_at_random,
    stopped_cycles,
    by_task,
    long_ones_fail,
)
FAULTY = {
    "10% shuttle, no other run fails": shuttling(0.1, 0.0),
    "10% shuttle, 20% of the others fail": shuttling(0.1, 0.2),
    "30% shuttle, 20% of the others fail": shuttling(0.3, 0.2),
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


def measure(make: Callable[[np.random.Generator, int], list[Walk]], name: str, records: int) -> str:
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
        cell = f"{share:.1%} ± {error:.1%}"
        cells.append(
            cell if make is not stuck_at_limit else f"{cell} (fact: {limits / records:.0%})"
        )
    return f"| {name} | {' | '.join(cells)} |"


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="?", default="")
    parser.add_argument("--records", type=int, default=400)
    asked = parser.parse_args()
    healthy = {
        (make.__doc__ or "").split(";")[0].split(":")[0].rstrip("."): make for make in HEALTHY
    }
    settings = {"level": healthy, "power": FAULTY}
    chosen = settings.get(asked.what, {**healthy, **FAULTY})
    print(f"| setting | {' | '.join(f'{n} runs' for n in SIZES)} |")
    print("|---" * (1 + len(SIZES)) + "|")
    for name, make in chosen.items():
        if asked.what in settings or asked.what in name:
            print(measure(make, name, asked.records), flush=True)


if __name__ == "__main__":
    main()
