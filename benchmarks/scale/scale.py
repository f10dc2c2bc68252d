"""Counting events in Parquet by `count_table` and by plain DuckDB SQL.

    python -m benchmarks.scale.scale [--events 5000000 20000000] [--repeats 2] [--folder FOLDER]

DuckDB writes the events, steps of runs of 20, into a temporary folder that is deleted at the end.
Each measurement is a process of its own with the same 2 GB for DuckDB, and the best of its repeats
is shown. Two times are printed, that of the clock and that of the processors, since other programs
disturb the first. The plain SQL counts the moves between steps alone; `count_table` adds START and
END and checks that every step has a place of its own. The line through the first two sizes is
compared with the others, and drawn on to 1e9 events.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import duckdb

STEPS = 20
EVENTS = """
COPY (
    SELECT 'run-' || (i % {runs}) AS run, i // {runs} AS step,
        'state-' || CAST(floor(300 * power(random(), 2)) AS INT) AS tool
    FROM range({events}) AS t(i)
) TO '{path}' (FORMAT parquet)
"""
CLOCK = """
import resource, sys, time
path, folder = sys.argv[1:]
def print_result(*found):
    print(*found, time.perf_counter() - began, time.process_time() - used,
          resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""
PLAIN = """
import duckdb
began, used = time.perf_counter(), time.process_time()
connection = duckdb.connect(config={
    "memory_limit": "2GB", "temp_directory": folder, "preserve_insertion_order": False})
connection.execute("SET enable_progress_bar = false")
edges = connection.execute('''
    SELECT source, target, count(*) FROM (
        SELECT tool AS source, lead(tool) OVER (PARTITION BY run ORDER BY step) AS target
        FROM read_parquet($1))
    WHERE target IS NOT NULL GROUP BY source, target''', [path]).fetchall()
print_result(len(edges), sum(edge[2] for edge in edges))
"""
OURS = """
import ibis.backends.duckdb
from detailed_balance.sources import count_table
began, used = time.perf_counter(), time.process_time()
counts = count_table(path, trajectory="run", order="step", state="tool", temp_directory=folder)
inner = counts.without_boundaries()
print_result(inner.counts.nnz, inner.total)
"""


def measure(code: str, path: Path, repeats: int) -> list[float]:
    """Return edges, moves, seconds by the clock and by the processors, and peak MB: the best."""
    runs = []
    for _ in range(repeats):
        command = [sys.executable, "-c", CLOCK + code, str(path), str(path.parent)]
        runs.append(list(map(float, subprocess.check_output(command, text=True).split())))  # noqa: S603
    assert len({tuple(run[:2]) for run in runs}) == 1
    return [*runs[0][:2], *(min(run[i] for run in runs) for i in (2, 3)), max(r[4] for r in runs)]


def main() -> None:
    """Print a line for each size and what was measured, and the extrapolation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, nargs="+", default=[5_000_000, 20_000_000])
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--folder", help="for the events, about 7 bytes each, and for sorting")
    options = parser.parse_args()
    print(
        f"{'':15}{'events':>13}{'edges':>9}{'clock s':>9}{'cpu s':>8}{'peak MB':>9}{'events/s':>12}"
    )
    clocks: dict[int, float] = {}
    for events in options.events:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            path = Path(folder) / "events.parquet"
            duckdb.connect(config={"memory_limit": "2GB", "temp_directory": folder}).execute(
                EVENTS.format(runs=events // STEPS, events=events, path=path)
            )
            named = {"plain SQL": PLAIN, "count_table": OURS}
            found = {name: measure(code, path, options.repeats) for name, code in named.items()}
        assert len({tuple(run[:2]) for run in found.values()}) == 1
        for name, (edges, _, clock, used, peak) in found.items():
            line = f"{name:15}{events:13,}{edges:9,.0f}{clock:9.1f}{used:8.1f}{peak:9,.0f}"
            print(f"{line}{events / clock:12,.0f}", flush=True)
        plain, ours = found["plain SQL"], found["count_table"]
        print(f"ratio to SQL: {ours[2] / plain[2]:.2f} clock, {ours[3] / plain[3]:.2f} cpu")
        clocks[events] = ours[2]
    _extrapolate(list(clocks.items()))


def _extrapolate(clocks: list[tuple[int, float]]) -> None:
    """Draw a line through the first two sizes, and hold it against the others."""
    if len(clocks) < 2:
        return
    (few, short), (many, long), *others = clocks
    slope = (long - short) / (many - few)
    for events, seen in others:
        predicted = long + slope * (events - many)
        print(f"{events:,} events: {predicted:.1f} s along the line, {seen:.1f} s seen")
    print(f"1e9 events along the line: {(long + slope * (1e9 - many)) / 60:.0f} minutes")


if __name__ == "__main__":
    main()
