"""The command line: ``detailed-balance analyze SOURCE``, ``record``, and ``demo``."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from functools import partial
from importlib.metadata import version
from pathlib import Path
from threading import Timer
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from rich.console import Console
from typer.core import TyperGroup

from detailed_balance.analyzers.errors import DetailedBalanceError
from detailed_balance.commands import compare, export, import_, prune, serve, watch
from detailed_balance.commands.options import (
    ContextFields,
    ContextLabels,
    CostField,
    CountField,
    EndState,
    FormatName,
    OrderField,
    SkipBadLines,
    SourceField,
    StartState,
    StateField,
    SuccessField,
    TargetField,
    TimeField,
    TrajectoryField,
)
from detailed_balance.text import safe_text

if TYPE_CHECKING:
    from detailed_balance.report import Report
    from detailed_balance.sources import Progress

__all__ = [
    "CONDITIONS",
    "ERROR",
    "FOUND",
    "INTERRUPTED",
    "app",
    "late_progress",
    "main",
    "parse_boundaries",
    "parse_context",
    "show",
]

ERROR, FOUND, INTERRUPTED = 1, 2, 130
"""The exit codes of any error, of `--fail-on` where it finds what it looks for, of Ctrl-C."""

CONDITIONS = ("violation", "suspect", "trap")
"""What `--fail-on` takes."""

_SECONDS_WITHOUT_BAR = 1.0

# Its base is click's UsageError, which newer versions of typer do not take from click.
_UsageError = cast("type[typer.BadParameter]", typer.BadParameter.__mro__[1])


class _Commands(TyperGroup):
    """Commands that end with one paragraph and exit code 1 on every error, usage errors too."""

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        with _clean_errors():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: Any) -> Any:
        with _clean_errors():
            return super().invoke(ctx)


@contextmanager
def _clean_errors() -> Iterator[None]:
    try:
        yield
    except _UsageError as error:
        error.exit_code = ERROR
        raise
    except (DetailedBalanceError, OSError) as error:
        # One line, whatever a message quotes from a trace.
        text = safe_text(" ".join(_describe_error(error).split()), 2_000)
        typer.echo(f"error: {text}", err=True)
        raise typer.Exit(ERROR) from None
    except KeyboardInterrupt:
        typer.echo("interrupted", err=True)
        raise typer.Exit(INTERRUPTED) from None


def _describe_error(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error)


app = typer.Typer(
    cls=_Commands,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
"""The commands."""


class _Violation(StrEnum):
    exponential = "exponential"
    softplus = "softplus"


class _Errors(StrEnum):
    multinomial = "multinomial"
    paper = "paper"


class _Correction(StrEnum):
    bh = "bh"
    by = "by"


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"detailed-balance {version('detailed-balance')}")
        raise typer.Exit


@app.callback()
def _common(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Say the version and end."
        ),
    ] = False,
) -> None:
    """Find where LLM agents want to go, what drives them in circles, and where they are stuck."""


@app.command()
def analyze(
    source: Annotated[
        str,
        typer.Argument(metavar="SOURCE", help="Any trace, or a store: a file or its URL."),
    ],
    html: Annotated[Path | None, typer.Option(help="Write the report as one HTML page.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write everything as JSON.")] = None,
    baseline: Annotated[
        str | None,
        typer.Option(metavar="SOURCE", help="Runs that went well; tell habits from suspect loops."),
    ] = None,
    fail_on: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WHAT",
            help="Exit with 2 on: violation (a suspect or unclassified loop), suspect, trap. "
            "Several, or with commas.",
        ),
    ] = None,
    alpha: Annotated[float, typer.Option(help="False discovery rate of the loops.")] = 0.05,
    violation: Annotated[
        _Violation, typer.Option(help="The violation function K.")
    ] = _Violation.exponential,
    beta: Annotated[float, typer.Option(help="Inverse temperature of K.")] = 1.0,
    attempts: Annotated[
        str, typer.Option(help="N0 of each state: observed, transitions, or a number.")
    ] = "observed",
    min_attempts: Annotated[int, typer.Option(help="Drop states with fewer attempts.")] = 2,
    errors: Annotated[
        _Errors, typer.Option(help="How errors of log ratios are computed.")
    ] = _Errors.multinomial,
    correction: Annotated[
        _Correction, typer.Option(help="Benjamini-Hochberg, or Yekutieli for any dependence.")
    ] = _Correction.bh,
    min_visits: Annotated[
        float, typer.Option(help="Visits to each state that make a trap.")
    ] = 10.0,
    context: ContextLabels = None,
    format: FormatName = None,  # noqa: A002 - the name of the option
    state_field: StateField = None,
    source_field: SourceField = None,
    target_field: TargetField = None,
    trajectory_field: TrajectoryField = None,
    order_field: OrderField = None,
    time_field: TimeField = None,
    count_field: CountField = None,
    context_field: ContextFields = None,
    start_state: StartState = None,
    end_state: EndState = None,
    skip_bad_lines: SkipBadLines = False,
    success_field: SuccessField = None,
    cost_field: CostField = None,
    runs: Annotated[
        int, typer.Option(min=0, help="List so many of the runs that matter; 0 for none.")
    ] = 50,
) -> None:
    """Say where the agents of a trace want to go, what drives them and where they are stuck."""
    conditions = _parse_conditions(fail_on or [])
    options = {
        "format": format,
        "state_field": state_field,
        "source_field": source_field,
        "target_field": target_field,
        "trajectory_field": trajectory_field,
        "step_field": order_field,
        "time_field": time_field,
        "count_field": count_field,
        "context_fields": context_field,
        "boundaries": parse_boundaries(start_state, end_state),
        "skip_bad_lines": skip_bad_lines,
        "success_field": success_field,
        "cost_field": cost_field,
    }
    with late_progress() as progress:
        report = _analyze(
            source,
            beta=beta,
            violation=violation,
            alpha=alpha,
            attempts=_parse_attempts(attempts),
            min_attempts=min_attempts,
            baseline=baseline,
            context=parse_context(context or []),
            errors=errors.value,
            correction=correction.value,
            min_visits=min_visits,
            runs=runs,
            progress=progress,
            **{name: value for name, value in options.items() if value},
        )
    show(report)
    if html is not None:
        report.to_html(html)
    if json is not None:
        report.to_json(json)
    if _is_found(report, conditions):
        raise typer.Exit(FOUND)


@app.command()
def demo(
    output: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("demo-output"),
    steps: Annotated[int, typer.Option(min=1, help="Steps of the agent, in all.")] = 20_000,
    threads: Annotated[int, typer.Option(min=1, help="Threads of the agent.")] = 64,
    open_: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the report in a browser.")
    ] = False,
) -> None:
    """Run an agent that answers as a real language model does, and report on it."""
    from detailed_balance.demo import run_demo  # loads LangGraph

    with late_progress() as progress:
        told = None if progress is None else partial(progress, "Running the agent")
        report = run_demo(output, steps=steps, threads=threads, progress=told)
    show(report)
    typer.echo(f"\nEverything is in {output}{os.sep}", err=True)
    if open_:
        typer.launch(str(output / "report.html"))


@app.command(context_settings={"allow_interspersed_args": False})
def record(
    store: Annotated[
        str, typer.Argument(metavar="STORE", help="A file for SQLite, or the URL of a store.")
    ],
    command: Annotated[
        list[str], typer.Argument(metavar="COMMAND...", help="The program and its arguments.")
    ],
    context: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="A label of all that is recorded."),
    ] = None,
) -> None:
    """Run a program that has agents, and record them; the program needs no change."""
    from detailed_balance.launch import launch

    parse_context(context or [])
    program = command[1:] if command[0] == "--" else command
    raise typer.Exit(launch(program, store, ",".join(context or [])))


for command in (compare, export, import_, prune, serve, watch):
    command.register(app)


def _analyze(source: str, *, violation: _Violation, beta: float, **settings: Any) -> Report:
    from detailed_balance.analyzers.action import Exponential, Softplus
    from detailed_balance.report import analyze as run  # loads scipy

    kind = Exponential if violation is _Violation.exponential else Softplus
    return run(source, violation=kind(beta), **settings)


def _parse_conditions(given: Sequence[str]) -> set[str]:
    names = {name.strip() for text in given for name in text.split(",")}
    if unknown := sorted(names - set(CONDITIONS)):
        raise typer.BadParameter(
            f"unknown {', '.join(map(repr, unknown))}; allowed are {', '.join(CONDITIONS)}",
            param_hint="--fail-on",
        )
    return names


def _parse_attempts(text: str) -> str | float:
    if text in ("observed", "transitions"):
        return text
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is none of: observed, transitions, a number", param_hint="--attempts"
        ) from None


def parse_context(pairs: Sequence[str]) -> dict[str, str] | None:
    """Return labels given as NAME=VALUE, None where there are none."""
    labels: dict[str, str] = {}
    for pair in pairs:
        name, equals, labels[name] = pair.partition("=")
        if not equals:
            raise typer.BadParameter(f"{pair!r} is not NAME=VALUE", param_hint="--context")
    return labels or None


def parse_boundaries(start: str | None, end: str | None) -> tuple[str, str] | None:
    """Return what a trace calls START and END; None where nothing was said."""
    from detailed_balance.analyzers.counts import END, START

    return None if start is None and end is None else (start or START, end or END)


def _is_found(report: Report, conditions: set[str]) -> bool:
    kinds = {violation.kind for violation in report.findings}
    found = {
        "violation": bool(kinds),
        "suspect": "suspect" in kinds,
        "trap": len(report.traps) > 0,
    }
    return any(found[condition] for condition in conditions)


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


def main() -> None:
    """Run the command line."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal without ± or →
    app(prog_name="detailed-balance")
