"""A run from the command line: its options, its store, its bar, its last line, its files."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langchain_core.language_models import BaseChatModel
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from detailed_balance import analyze
from detailed_balance.analyzers import TransitionCounts
from detailed_balance.analyzers.errors import DetailedBalanceError, InvalidInputError
from detailed_balance.analyzers.results import plain
from detailed_balance.callbacks import TransitionStore
from detailed_balance.plots import plot_landscape, plot_loops, plot_pairs
from detailed_balance.render.formatting import rich_text, safe_text
from examples.paper.agent.explore import AnswerCounter, Task, explore
from examples.paper.agent.plan import Plan

__all__ = [
    "Recording",
    "add_options",
    "draw_run",
    "label_model",
    "leave_with_message",
    "record",
    "write_json",
]


@dataclass(frozen=True, slots=True)
class Recording:
    """What was recorded of a plan.

    Parameters
    ----------
    plan : Plan
        The plan.
    counts : TransitionCounts
        Its transitions.
    counter : AnswerCounter
        What the questions came to; of a store with a journal, also those asked before.
    """

    plan: Plan
    counts: TransitionCounts
    counter: AnswerCounter


def add_options(parser: ArgumentParser, *, state: str, probes: str, paper: str) -> None:
    """Give a parser the options of a run; `state`, `probes` and `paper` are for its help."""
    add = parser.add_argument
    add(
        "--settings",
        choices=["ours", "paper"],
        default="ours",
        help=f"how the agent is set up (default: ours); the paper's: {paper}",
    )
    add(
        "--mode",
        choices=["probe", "walk"],
        default="probe",
        help=f"ask about {state} drawn from those found so far, as in the paper, or about the last"
        " answer (default: probe)",
    )
    add("--probes", type=int, metavar="N", help=f"questions (default: {probes})")
    add("--concurrency", type=int, default=8, metavar="N", help="at the same time (default: 8)")
    add("--store", type=Path, metavar="FILE", help="SQLite file to record to, and to go on from")
    add("--output", type=Path, metavar="DIR", help="folder for figures and the results as JSON")
    add("--records", type=Path, metavar="FILE", help="JSON in the form of the paper's records")
    add("--prices", type=float, nargs=2, metavar=("IN", "OUT"), help="of a million tokens")


def label_model(name: str, options: Namespace) -> str:
    """Return the label of a model, by which its runs with other settings are other runs."""
    return f"{name}, the paper's settings" if options.settings == "paper" else name


@contextmanager
def leave_with_message(options: Namespace) -> Iterator[None]:
    """Leave the program with one line where it cannot go on, or was stopped."""
    try:
        yield
    except DetailedBalanceError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("stopped" + ("; the same command goes on from here" if options.store else ""))


def record(
    make: Callable[[int], BaseChatModel], task: Task, plan: Plan, options: Namespace
) -> Recording:
    """Ask what is left of a plan, with a progress bar, and print what it came to.

    Without ``options.model`` the answers cost nothing: they are written within 0.2 s. With it each
    is on disk before the next question of its thread.

    Parameters
    ----------
    make : callable
        Returns a chat model, given how many questions are recorded already: a simulation that
        goes on must not repeat its random numbers.
    task : Task
        What it is asked.
    plan : Plan
        The questions.
    options : Namespace
        Those of `add_options` and ``model``. The answers go to a journal beside the store.

    Raises
    ------
    ModelFailedError
        Where the model fails again and again.
    """
    path: Path | None = options.store
    url = "sqlite://" if path is None else f"sqlite:///{path}"
    with TransitionStore(url, durability="sync" if options.model else "batched") as store:
        done = plan.recall(store).questions.total()
        with _bar(plan, options.prices) as progress:
            counter = asyncio.run(
                explore(
                    make(done),
                    task,
                    plan,
                    store,
                    max_concurrency=options.concurrency,
                    journal=None if path is None else path.with_name(_journal(path, plan)),
                    progress=progress,
                )
            )
        counts = store.counts(context=plan.context)
    before = f"; {done:,} recorded before" if done else ""
    text = f"{plan.name}: {counter.describe(options.prices)}{before}"
    Console(highlight=False).print(rich_text(text, 400))
    return Recording(plan, counts, counter)


def _journal(store: Path, plan: Plan) -> str:
    text = "-".join(value for _, value in plan.context)
    return f"{store.name}.{re.sub(r'[^a-z0-9]+', '-', text.lower())}.jsonl"


@contextmanager
def _bar(
    plan: Plan, prices: tuple[float, float] | None
) -> Iterator[Callable[[int, AnswerCounter], None]]:
    """Show how far it is, on a terminal."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[counter]}", markup=False),
    )
    console = Console(stderr=True)
    hidden = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=hidden) as bar:
        task = bar.add_task(safe_text(plan.name), total=plan.questions, counter="")

        def show(done: int, counter: AnswerCounter) -> None:
            if not hidden:
                bar.update(task, completed=done, counter=counter.describe(prices))

        yield show


def draw_run(name: str, counts: TransitionCounts, folder: Path) -> None:
    """Draw pairs, loops and landscape as ``NAME-pairs.png`` and so on.

    Raises
    ------
    InvalidInputError
        Where they cannot be written.
    """
    report = analyze(counts)
    plots = (("pairs", plot_pairs), ("loops", plot_loops), ("landscape", plot_landscape))
    with _writing(folder):
        for kind, plot in plots:
            path = folder / f"{name}-{kind}.png"
            plot(report).savefig(path, dpi=150, bbox_inches="tight")


def write_json(name: str, results: Any, folder: Path) -> None:
    """Write results as ``NAME.json``.

    Raises
    ------
    InvalidInputError
        Where they cannot be written.
    """
    text = json.dumps(plain(results), indent=1, allow_nan=False)
    with _writing(folder):
        (folder / f"{name}.json").write_text(f"{text}\n", encoding="utf-8")


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise InvalidInputError(f"--output {str(folder)!r}: {error}") from error
