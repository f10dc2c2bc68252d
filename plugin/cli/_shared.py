"""What the commands share: exit codes, what options mean, progress, and how results are printed."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Timer
from typing import TYPE_CHECKING, Any, TypeVar

import typer
from rich.console import Console

if TYPE_CHECKING:
    from detailed_balance.sources.source import Progress

ERROR, FOUND, INTERRUPTED = 1, 2, 130
"""The exit codes of any error, of `--fail-on` where it finds what it looks for, of Ctrl-C."""

_SECONDS_WITHOUT_BAR = 1.0

_Name = TypeVar("_Name", bound=str)

_READER_NAMES = {"order_field": "step_field", "context_field": "context_fields"}


def reader_options(
    *, start_state: str | None = None, end_state: str | None = None, **given: Any
) -> dict[str, Any]:
    """Return options of the command line as those of `read_transitions`, without empty ones.

    Examples
    --------
    >>> reader_options(order_field="n", format=None, end_state="done")
    {'step_field': 'n', 'boundaries': ('__start__', 'done')}
    """
    from detailed_balance.analyzers.counts import END, START

    options = {_READER_NAMES.get(name, name): value for name, value in given.items() if value}
    if start_state is not None or end_state is not None:
        options["boundaries"] = (start_state or START, end_state or END)
    return options


def parse_conditions(given: Sequence[str], allowed: Sequence[_Name]) -> set[_Name]:
    """Return what `--fail-on` names, several times or with commas.

    Raises
    ------
    typer.BadParameter
        Where one is not allowed.

    Examples
    --------
    >>> sorted(parse_conditions(["drift,trap", "drift"], ["drift", "trap"]))
    ['drift', 'trap']
    """
    names = {name.strip() for text in given for name in text.split(",")}
    if unknown := sorted(names - set(allowed)):
        raise typer.BadParameter(
            f"unknown {', '.join(map(repr, unknown))}; allowed are {', '.join(allowed)}",
            param_hint="--fail-on",
        )
    return {name for name in allowed if name in names}


def parse_context(pairs: Sequence[str]) -> dict[str, str] | None:
    """Return labels given as NAME=VALUE, None where there are none.

    Raises
    ------
    typer.BadParameter
        Where one is not of that form.
    """
    labels: dict[str, str] = {}
    for pair in pairs:
        name, equals, labels[name] = pair.partition("=")
        if not equals:
            raise typer.BadParameter(f"{pair!r} is not NAME=VALUE", param_hint="--context")
    return labels or None


def show(report: object) -> None:
    """Print a report; a reader that closes the pipe early, such as head, has seen enough."""
    console = Console()
    with console.capture() as captured:
        console.print(report)
    try:
        sys.stdout.write(captured.get())
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def late_progress() -> Iterator[Progress | None]:
    """Show progress on a terminal, from the second second on."""
    from rich.progress import Progress as Bars

    console = Console(stderr=True)
    if not console.is_interactive:
        yield None
        return
    bars = Bars(console=console, transient=True)

    def tell(stage: str, done: int, total: int) -> None:
        task = next((task for task in bars.tasks if task.description == stage), None)
        if task is None:
            for earlier in bars.task_ids:
                bars.remove_task(earlier)
        number = bars.add_task(stage) if task is None else task.id
        bars.update(number, completed=done, total=total or None)

    timer = Timer(_SECONDS_WITHOUT_BAR, bars.start)
    timer.daemon = True
    timer.start()
    try:
        yield tell
    finally:
        timer.cancel()
        timer.join()
        bars.stop()
