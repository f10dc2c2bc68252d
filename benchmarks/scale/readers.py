"""Time and memory of the readers on large traces, beside pandas on the same file.

    python -m benchmarks.scale.readers [--steps 1000000] [--trajectories 10000000]

Three tables of steps are written into a temporary folder: one trajectory of many steps, many
trajectories of one step, and as many steps of trajectories that interleave, in no order. Each is
read in a process of its own, whose peak memory is printed.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

READ = """
import resource, sys, time
from detailed_balance.readers import read_transitions
began = time.process_time()
reader = read_transitions(sys.argv[1], state_field="state", step_field="number")
moves = sum(1 for _ in reader)
took = time.process_time() - began
print(moves, reader.read_count, reader.reordered_count, took, resource.getrusage(0).ru_maxrss)
"""
PANDAS = """
import resource, sys, time
import pandas
began = time.process_time()
table = pandas.read_csv(sys.argv[1], dtype={"trajectory": str})
table = table.sort_values(["trajectory", "number"], kind="stable")
target = table.groupby("trajectory", sort=False)["state"].shift(-1)
counts = pandas.crosstab(table["state"], target.fillna("__end__"))
took = time.process_time() - began
print(int(counts.values.sum()), took, resource.getrusage(0).ru_maxrss)
"""


def one_long(steps: int) -> Iterator[str]:
    """Yield the rows of one trajectory."""
    return (f"T,{'abcdefg'[i * i % 7]},{i}\n" for i in range(steps))


def many_short(trajectories: int) -> Iterator[str]:
    """Yield the rows of trajectories of one step."""
    return (f"run-{i},{'abcdefg'[i % 7]},1\n" for i in range(trajectories))


def interleaved(steps: int) -> Iterator[str]:
    """Yield the rows of a thousand trajectories, in no order."""
    places = list(range(steps))
    random.Random(0).shuffle(places)
    return (f"run-{i % 1_000},{'abcdefg'[i * i % 7]},{i // 1_000}\n" for i in places)


def run(code: str, path: Path) -> list[float]:
    """Run code on a file in a process of its own, and return the figures that it prints."""
    command = [sys.executable, "-c", code, str(path)]
    return list(map(float, subprocess.check_output(command, text=True).split()))  # noqa: S603


def main() -> None:
    """Print one line for each table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--trajectories", type=int, default=10_000_000)
    options = parser.parse_args()
    tables = {
        "one trajectory": (one_long, options.steps),
        "interleaved, shuffled": (interleaved, options.steps),
        "trajectories of one step": (many_short, options.trajectories),
    }
    print(f"{'table':26}{'rows':>12}{'seconds':>9}{'MB':>7}{'pandas':>9}{'MB':>7}{'ratio':>7}")
    for name, (rows, number) in tables.items():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "steps.csv"
            with path.open("w") as file:
                file.write("trajectory,state,number\n")
                file.writelines(rows(number))
            _, read, _, took, memory = run(READ, path)
            assert read == number
            _, peer, peer_memory = run(PANDAS, path)
        print(
            f"{name:26}{number:12,}{took:9.1f}{memory / 1024:7.0f}"
            f"{peer:9.1f}{peer_memory / 1024:7.0f}{took / peer:7.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
