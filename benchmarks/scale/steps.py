"""Runs to measure on: a made-up agent whose runs interleave, as files and as a store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, groupby, islice
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from detailed_balance.analyzers import END, START, Outcome
from detailed_balance.callbacks import Ending, Transition, TransitionStore
from detailed_balance.callbacks.transition import Beginning, Record

STATES = tuple(f"tool_{i:02}" for i in range(14))
FIELDS = {
    "state_field": "tool",
    "trajectory_field": "run",
    "step_field": "step",
    "time_field": "time",
    "success_field": "outcome",
}
"""What a reader has to be told."""


def make_steps(steps: int, runs: int, seed: int = 0) -> pa.Table:
    """Return a table of steps: run, step, time, tool and the outcome of the run.

    The lengths of runs are Poisson, three of ten runs fail, and a run begins every three seconds
    while those before it go on, so the rows of runs lie between each other.
    """
    rng = np.random.default_rng(seed)
    kernel = rng.dirichlet(np.full(len(STATES), 0.6), size=len(STATES)).cumsum(axis=1)
    ends = np.minimum(np.cumsum(np.maximum(rng.poisson(steps / runs, size=runs), 1)), steps)
    ends[-1] = steps
    begins = np.concatenate([[0], ends[:-1]])
    lengths = ends - begins
    tool = np.empty(steps, dtype=np.int64)
    here = rng.integers(len(STATES), size=runs)
    for place in range(int(lengths.max())):
        going = np.flatnonzero(lengths > place)
        drawn = rng.random(len(going))[:, None] > kernel[here[going]]
        here[going] = np.minimum(drawn.sum(axis=1), len(STATES) - 1)
        tool[begins[going] + place] = here[going]
    run, step = np.repeat(np.arange(runs), lengths), np.arange(steps) - np.repeat(begins, lengths)
    time = 1.7e9 + 3.0 * run + step
    names = pa.array([f"run-{i:07}" for i in range(runs)])
    outcomes = pa.array(np.where(rng.random(runs) < 0.7, "ended", "failed"))
    table = pa.table(
        {
            "run": names.take(pa.array(run)),
            "step": step,
            "time": time,
            "tool": pa.array(STATES).take(pa.array(tool)),
            "outcome": outcomes.take(pa.array(run)),
        }
    )
    return table.take(pa.array(np.argsort(time, kind="stable")))


def write_steps(table: pa.Table, folder: Path) -> dict[str, Path]:
    """Write the same steps as CSV, JSON Lines and Parquet; return the path of each format."""
    paths = {kind: folder / f"steps.{kind}" for kind in ("csv", "jsonl", "parquet")}
    with duckdb.connect() as connection:
        connection.register("steps", table)
        for kind, options in (("csv", "header"), ("jsonl", "format json"), ("parquet", "")):
            what = f"COPY steps TO '{paths[kind]}'" + (f" ({options})" if options else "")
            connection.execute(what)
    return paths


def write_store(table: pa.Table, folder: Path) -> Path:
    """Write the moves of the same runs into a store, as the recorder does; return its path."""
    path = folder / "runs.db"
    ordered = table.sort_by([("run", "ascending"), ("step", "ascending")]).to_pylist()
    with TransitionStore(f"sqlite:///{path}") as store:
        runs = groupby(ordered, key=lambda step: step["run"])
        while records := list(chain.from_iterable(_record(*run) for run in islice(runs, 1_000))):
            store.append(records)
    return path


def _record(name: str, steps: Iterable[dict[str, Any]]) -> Iterator[Record]:
    """Yield what the recorder would have recorded of a run."""
    steps = list(steps)
    yield Beginning(name, name, thread=name, time=steps[0]["time"])
    here = START
    for number, step in enumerate(steps):
        yield Transition(here, step["tool"], name, step=number, time=step["time"], run=name)
        here = step["tool"]
    outcome, last = Outcome(steps[-1]["outcome"]), steps[-1]["time"]
    if outcome is Outcome.ENDED:
        yield Transition(here, END, name, step=len(steps), time=last, run=name)
    yield Ending(name, outcome, time=last, run=name)
