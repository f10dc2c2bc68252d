"""The full report on many runs, from each kind of file and from a store.

    python -m benchmarks.scale.reports [--steps 1000000] [--runs 50000] [--repeats 3]

Each measurement is a process of its own: `analyze` with runs, outcomes and all tests, and the
report as text. The best of the repeats is shown, with the peak memory of the process. Beside it, in
the same run, DuckDB counts the moves of the same file, and pandas those of the CSV.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.scale.steps import FIELDS, make_steps, write_steps, write_store

CLOCK = """
import sys, time
path = sys.argv[1]
def print_result(*found):
    peak = open("/proc/self/status").read().partition("VmHWM:")[2].split()[0]  # since exec
    print(*found, time.perf_counter() - began, int(peak) / 1024)
"""
REPORT = f"""
from detailed_balance import analyze
began = time.perf_counter()
fields = {{}} if path.endswith(".db") else {FIELDS!r}
report = analyze(path, **fields)
text = str(report)
print_result(report.runs.report.runs, len(text))
"""
COUNT = """
import duckdb
began = time.perf_counter()
rows = duckdb.sql(f'''
    SELECT tool, after, count(*) FROM (
        SELECT tool, lead(tool) OVER (PARTITION BY run ORDER BY step) AS after FROM '{path}')
    GROUP BY ALL''').fetchall()
print_result(len(rows), 0)
"""
PANDAS = """
import pandas
began = time.perf_counter()
table = pandas.read_csv(path).sort_values(["run", "step"])
after = table.groupby("run", sort=False)["tool"].shift(-1)
counts = table.groupby([table["tool"], after], dropna=False).size()
print_result(len(counts), 0)
"""


def measure(code: str, path: Path, repeats: int) -> tuple[float, float, float]:
    """Return what was found, the least seconds and the most MB of processes of their own."""
    found = []
    for _ in range(repeats):
        command = [sys.executable, "-c", CLOCK + code, str(path)]
        found.append(list(map(float, subprocess.check_output(command, text=True).split())))  # noqa: S603
    return found[0][0], min(each[2] for each in found), max(each[3] for each in found)


def main() -> None:
    """Print a line for each source."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=50_000)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        table = make_steps(options.steps, options.runs)
        paths = write_steps(table, Path(folder))
        paths["db"] = write_store(table, Path(folder))
        del table
        print(f"{options.steps:,} steps in {options.runs:,} runs")
        print(f"{'':32}{'seconds':>9}{'peak MB':>9}{'of DuckDB':>11}")
        for kind, path in paths.items():
            if kind != "db":
                _, base, peak = measure(COUNT, path, options.repeats)
                print(f"{kind + ', counted by DuckDB':32}{base:9.2f}{peak:9,.0f}{1:11.1f}")
            if kind == "csv":
                _, took, peak = measure(PANDAS, path, options.repeats)
                print(f"{'csv, counted by pandas':32}{took:9.2f}{peak:9,.0f}{took / base:11.1f}")
            runs, took, peak = measure(REPORT, path, options.repeats)
            assert runs == options.runs
            ratio = "" if kind == "db" else f"{took / base:11.1f}"
            print(f"{kind + ', full report':32}{took:9.2f}{peak:9,.0f}{ratio}", flush=True)


if __name__ == "__main__":
    main()
