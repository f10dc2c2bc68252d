"""How commands end and what they print: exit codes, results, notes, files, progress."""

from __future__ import annotations

import io
import json as json_format
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from threading import Event, Timer
from typing import IO, TYPE_CHECKING, Any, TypeVar, cast

import typer
from rich.console import Console
from rich.progress import Progress as Bars

if TYPE_CHECKING:
    from rich.console import RenderableType

    from detailed_balance.sources.source import Progress

ERROR, FOUND, INTERRUPTED = 1, 2, 130
"""Exit codes: of an error, of `--fail-on` where a condition holds, of Ctrl-C."""

UNWRAPPED = 10_000
"""Columns of what is not a terminal: a program that reads lines wants them whole."""

NOBODY_READS = Event()
"""Set when the standard output was closed."""

_Made = TypeVar("_Made")
_DASH = "-"
_SECONDS_WITHOUT_BAR = 1.0
_QUIET: ContextVar[bool] = ContextVar("quiet", default=False)


@contextmanager
def quiet_if(asked: bool) -> Iterator[None]:
    """Print nothing inside, if asked, but errors and what a path ``-`` asks for."""
    before = _QUIET.set(asked)
    try:
        yield
    finally:
        _QUIET.reset(before)


def is_quiet() -> bool:
    """Say whether `--quiet` was given."""
    return _QUIET.get()


def say(text: str) -> None:
    """Print a line of the result, on the standard output."""
    if not is_quiet():
        STDOUT.write(text + "\n")


def note(text: str) -> None:
    """Print a line about the work itself, on the standard error."""
    if not is_quiet():
        typer.echo(text, err=True)


def show(report: RenderableType, *, soft_wrap: bool = False) -> None:
    """Print a report; where that is not a terminal, its lines are as long as they are."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=UNWRAPPED)
    with console.capture() as captured:
        console.print(report, soft_wrap=soft_wrap)
    say("\n".join(line.rstrip() for line in captured.get().rstrip("\n").split("\n")))


def deliver(
    report: RenderableType,
    files: Mapping[str, tuple[Path | None, Callable[[Path], Any]]],
    *,
    soft_wrap: bool = False,
) -> None:
    """Print a report and write files; a file called ``-`` is printed in place of the report.

    Parameters
    ----------
    report : renderable
        What is printed.
    files : mapping of str to (path, callable)
        The path that each option was given, if any, and what writes there.
    soft_wrap : bool
        Whether the terminal breaks long lines, and not we.
    """
    given = [(path, write) for path, write in files.values() if path is not None]
    if not any(str(path) == _DASH for path, _ in given):
        show(report, soft_wrap=soft_wrap)
    for path, write in given:
        write_file(path, write)


def check_outputs(paths: Mapping[str, Path | str | None]) -> None:
    """Refuse two options that would both print.

    Raises
    ------
    typer.BadParameter
        Where two of the paths are ``-``.
    """
    printed = [name for name, path in paths.items() if str(path) == _DASH]
    if len(printed) > 1:
        raise typer.BadParameter(
            f"{' and '.join(printed)} are both -, and there is one standard output; write "
            "all but one to a file"
        )


def write_file(path: Path | str, write: Callable[[Path], _Made]) -> _Made | None:
    """Have a file written, and return what `write` returns.

    ``-`` is the standard output: the file is then copied to it, and nothing returned.
    """
    if str(path) != _DASH:
        return write(Path(path))
    with tempfile.TemporaryDirectory(prefix="detailed-balance-") as folder:
        file = Path(folder) / "output"
        write(file)
        _write(file.read_bytes())
    return None


def write_json(document: Mapping[str, Any], path: Path) -> None:
    """Write a document as JSON."""
    text = json_format.dumps(document, indent=1, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


class _Output(io.TextIOBase):
    """The standard output; who closes it early, as head does, has seen enough."""

    def write(self, text: str) -> int:
        _write(text.encode(sys.stdout.encoding, sys.stdout.errors or "strict"))
        return len(text)


STDOUT: IO[str] = cast("IO[str]", _Output())
"""The standard output, which may be closed without an error."""


def _write(data: bytes) -> None:
    try:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.flush()
    except BrokenPipeError:
        drop_output()


def drop_output() -> None:
    """Let what is still written to the standard output go nowhere: nobody reads it any more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    NOBODY_READS.set()


@contextmanager
def late_progress() -> Iterator[Progress | None]:
    """Show progress on a terminal, from the second second on."""
    console = Console(stderr=True)
    if is_quiet() or not console.is_interactive:
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
