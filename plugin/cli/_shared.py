"""What the commands share: exit codes, what options mean, progress, and how results are printed."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from inspect import Signature, signature
from pathlib import Path
from threading import Timer
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, TypeVar

import typer
from rich.console import Console
from rich.progress import Progress as Bars

if TYPE_CHECKING:
    from detailed_balance.sources.source import Progress

ERROR, FOUND, INTERRUPTED = 1, 2, 130
"""Exit codes: of an error, of `--fail-on` where a condition holds, of Ctrl-C."""

_SECONDS_WITHOUT_BAR = 1.0

_Name = TypeVar("_Name", bound=str)

ContextLabels: TypeAlias = Annotated[
    list[str] | None, typer.Option(metavar="NAME=VALUE", help="Keep transitions with this label.")
]
"""``--context``, of every command that reads."""

Baseline: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="SOURCE", help="Runs that went well; they show which loops are no fault."),
]
"""``--baseline``."""

MinVisits: TypeAlias = Annotated[float, typer.Option(help="Visits to each state that make a trap.")]
"""``--min-visits``."""

CostField: TypeAlias = Annotated[str | None, typer.Option(help="Field of what a move cost.")]
"""``--cost-field``."""

HtmlFile: TypeAlias = Annotated[Path | None, typer.Option(help="Write the report as one page.")]
"""``--html``."""

JsonFile: TypeAlias = Annotated[Path | None, typer.Option(help="Write everything as JSON.")]
"""``--json``."""

StoreArgument: TypeAlias = Annotated[
    str, typer.Argument(metavar="STORE", help="A file of SQLite, or the URL of a store.")
]
"""``STORE``."""

Window: TypeAlias = Annotated[int, typer.Option(min=100, help="How many transitions are recent.")]
"""``--window``."""

AlarmLevel: TypeAlias = Annotated[
    float, typer.Option(help="Probability of a false alarm, for ever.")
]
"""``--alpha`` of a monitor."""


def reader_options(
    *,
    format: Annotated[  # noqa: A002 - the name of the option
        str | None, typer.Option(help="The format, if the file name does not say.")
    ] = None,
    state_field: Annotated[
        str | None, typer.Option(help="Field of a step's state, or a text like {node}:{tool}.")
    ] = None,
    source_field: Annotated[str | None, typer.Option(help="Field of the state left.")] = None,
    target_field: Annotated[str | None, typer.Option(help="Field of the state reached.")] = None,
    trajectory_field: Annotated[str | None, typer.Option(help="Field of the run.")] = None,
    order_field: Annotated[str | None, typer.Option(help="Field of a step's number.")] = None,
    time_field: Annotated[str | None, typer.Option(help="Field of the time.")] = None,
    count_field: Annotated[str | None, typer.Option(help="Field of a count.")] = None,
    success_field: Annotated[
        str | None, typer.Option(help="Field that says whether a run succeeded.")
    ] = None,
    context_field: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A field that becomes a label.")
    ] = None,
    start_state: Annotated[
        str | None, typer.Option(help="What the trace calls the start of a run.")
    ] = None,
    end_state: Annotated[
        str | None, typer.Option(help="What the trace calls the end of a run.")
    ] = None,
    skip_bad_lines: Annotated[
        bool, typer.Option("--skip-bad-lines", help="Pass over broken records, and say so.")
    ] = False,
) -> dict[str, Any]:
    """Return options of the command line as those of `read_transitions`, without empty ones.

    Examples
    --------
    >>> reader_options(order_field="n", end_state="done")
    {'step_field': 'n', 'boundaries': ('__start__', 'done')}
    """
    from detailed_balance.analyzers import END, START  # loads scipy

    named = start_state is not None or end_state is not None
    options = {
        "format": format,
        "state_field": state_field,
        "source_field": source_field,
        "target_field": target_field,
        "trajectory_field": trajectory_field,
        "step_field": order_field,
        "time_field": time_field,
        "count_field": count_field,
        "success_field": success_field,
        "context_fields": context_field,
        "boundaries": (start_state or START, end_state or END) if named else None,
        "skip_bad_lines": skip_bad_lines,
    }
    return {name: value for name, value in options.items() if value}


def takes_reader_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of `reader_options`, whose result it takes as `reading`.

    An option of the same name that the command has of its own comes in place of the shared one.
    """
    own = dict(signature(command, eval_str=True).parameters)
    del own["reading"]
    shared = dict(signature(reader_options, eval_str=True).parameters)
    added = [option for name, option in shared.items() if name not in own]

    @wraps(command)
    def run(**given: Any) -> None:
        reading = reader_options(**{option.name: given.pop(option.name) for option in added})
        command(**given, reading=reading)

    parameters = [*own.values(), *added]
    vars(run)["__signature__"] = Signature(parameters)
    run.__annotations__ = {option.name: option.annotation for option in parameters}
    return run


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
        if not (name and equals):
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
    console = Console(stderr=True)
    if not console.is_interactive:
        yield None
        return
    bars = Bars(console=console, transient=True)

    def report(stage: str, done: int, total: int) -> None:
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
        yield report
    finally:
        timer.cancel()
        timer.join()
        bars.stop()
