"""A table of steps to its runs, beside DuckDB's count of the same file, pandas and pm4py.

    python -m benchmarks.scale.tables [--steps 1000000] [--repeats 3] [--counts 10000000 100000000]

Steps of runs of 20, with times and outcomes, the steps of each run in no order, are written as CSV,
JSON Lines and Parquet. Each measurement is a process of its own, which loads its libraries first;
the best of its repeats is shown, by the clock and by the processors, since other programs disturb
the first. The ratio is to the count of the moves that a user of DuckDB would write, by the clock,
in the same run. `--counts` adds the counts alone of larger tables in Parquet.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import duckdb

STEPS_OF_A_RUN = 20
STEPS = """
    SELECT printf('run-%07d', run) AS run, step, 1.7e9 + run * 10 + step / 100.0 AS time,
        printf('tool_%02d', CAST(floor(14 * random() * random()) AS INT)) AS tool,
        CASE WHEN run % 7 = 0 THEN 'failed' ELSE 'ended' END AS outcome
    FROM (SELECT i // {length} AS run, i % {length} AS step FROM range({steps}) AS t(i))
"""
MIXED = "ORDER BY run, hash(step)"
FORMATS = {
    "CSV": ("steps.csv", "(FORMAT csv, HEADER)"),
    "JSON Lines": ("steps.jsonl", "(FORMAT json)"),
    "Parquet": ("steps.parquet", "(FORMAT parquet)"),
}
CLOCK = """
import resource, sys, time
path, folder = sys.argv[1:]
def print_result(found):
    print(found, time.perf_counter() - began, time.process_time() - used,
          resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""
DUCKDB = """
import duckdb
began, used = time.perf_counter(), time.process_time()
scan = {"csv": "read_csv($1)", "jsonl": "read_json($1, format = 'newline_delimited')",
        "parquet": "read_parquet($1)"}[path.rpartition(".")[2]]
connection = duckdb.connect(config={"memory_limit": "2GB", "temp_directory": folder})
connection.execute("SET enable_progress_bar = false")
edges = connection.execute(f'''
    SELECT tool, next, count(*) FROM (
        SELECT tool, lead(tool) OVER (PARTITION BY run ORDER BY step) AS next FROM {scan})
    WHERE next IS NOT NULL GROUP BY ALL''', [path]).fetchall()
print_result(sum(edge[2] for edge in edges))
"""
LOAD = """
import duckdb, tempfile
from detailed_balance.readers import read_recording
from detailed_balance.readers.tracers import langfuse, langsmith, otlp
from detailed_balance.readers.tables import delimited, json_files, engine
options = {"state_field": "tool", "trajectory_field": "run", "success_field": "outcome",
           "temp_directory": folder}
"""
RUNS = """
began, used = time.perf_counter(), time.process_time()
recording = read_recording(path, **options)
print_result(recording.counts.without_boundaries().total)
"""
COUNTS = RUNS.replace("**options", "only_counts=True, **options")
PANDAS = """
import pandas
began, used = time.perf_counter(), time.process_time()
kind = path.rpartition(".")[2]
table = (pandas.read_csv(path) if kind == "csv" else pandas.read_parquet(path)
         if kind == "parquet" else pandas.read_json(path, lines=True))
table = table.sort_values(["run", "step"])
table["next"] = table.groupby("run", sort=False)["tool"].shift(-1)
print_result(int(table.groupby(["tool", "next"]).size().sum()))
"""
PM4PY = """
import pandas, pm4py
began, used = time.perf_counter(), time.process_time()
table = pandas.read_csv(path)
table["time"] = pandas.to_datetime(table["time"], unit="s")
table = pm4py.format_dataframe(table, case_id="run", activity_key="tool", timestamp_key="time")
print_result(sum(pm4py.discover_dfg(table)[0].values()))
"""


def measure(code: str, path: Path, repeats: int) -> list[float]:
    """Return the moves, seconds by the clock and by the processors, and peak MB: the best."""
    runs = []
    for _ in range(repeats):
        command = [sys.executable, "-c", CLOCK + code, str(path), str(path.parent)]
        runs.append(list(map(float, subprocess.check_output(command, text=True).split())))  # noqa: S603
    return [runs[0][0], *(min(run[i] for run in runs) for i in (1, 2)), max(r[3] for r in runs)]


def write_tables(folder: Path, steps: int, formats: list[str], order: str = MIXED) -> None:
    """Write the same steps in several formats."""
    select = STEPS.format(steps=steps, length=STEPS_OF_A_RUN)
    settings = {"memory_limit": "2GB", "temp_directory": str(folder)}
    with duckdb.connect(config=settings) as connection:
        connection.execute("SET enable_progress_bar = false; SELECT setseed(0.5)")
        connection.execute(f"CREATE TABLE steps AS {select} {order}")
        for name in formats:
            file, how = FORMATS[name]
            connection.execute(f"COPY steps TO '{folder / file}' {how}")


def print_row(what: str, found: list[float], peer: list[float]) -> None:
    """Print one measurement beside that of DuckDB."""
    _, clock, used, peak = found
    print(
        f"{what:34}{clock:9.2f}{used:9.2f}{peak:9,.0f}{clock / peer[1]:9.1f}{used / peer[2]:9.1f}",
        flush=True,
    )


def main() -> None:
    """Print a line for each format and what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--counts", type=int, nargs="*", default=[])
    parser.add_argument("--folder", help="for the tables, and for sorting")
    options = parser.parse_args()
    print(f"{'':34}{'clock s':>9}{'cpu s':>9}{'peak MB':>9}{'ratio':>9}{'of cpu':>9}")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        write_tables(Path(folder), options.steps, list(FORMATS))
        for name, (file, _) in FORMATS.items():
            path = Path(folder) / file
            peer = measure(DUCKDB, path, options.repeats)
            print_row(f"{name}, DuckDB's lead()", peer, peer)
            peers = {"pandas": PANDAS} | ({"pm4py": PM4PY} if name == "CSV" else {})
            for library, code in ({"runs": LOAD + RUNS} | peers).items():
                if library != "runs" and find_spec(library) is None:
                    print(f"{name}, {library}: it is not installed")
                    continue
                found = measure(code, path, options.repeats)
                assert found[0] == peer[0]
                print_row(f"{name}, {library}", found, peer)
    for steps in options.counts:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            write_tables(Path(folder), steps, ["Parquet"], order="")
            path = Path(folder) / FORMATS["Parquet"][0]
            peer = measure(DUCKDB, path, 1)
            print_row(f"{steps:,} steps, DuckDB's lead()", peer, peer)
            found = measure(LOAD + COUNTS, path, 1)
            assert found[0] == peer[0]
            print_row(f"{steps:,} steps, counts", found, peer)


if __name__ == "__main__":
    main()
