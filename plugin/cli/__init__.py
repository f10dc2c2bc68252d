"""The command line ``detailed-balance``: its commands, and how each of them ends."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Annotated, Any, cast

import typer
from typer.core import TyperGroup

from detailed_balance.analyzers.errors import DetailedBalanceError
from detailed_balance.callbacks.redaction import hide_secrets
from detailed_balance.cli import (
    _analyze,
    _compare,
    _demo,
    _export,
    _record,
    _serve,
    _show,
    _store,
    _watch,
)
from detailed_balance.cli._shared import ERROR, INTERRUPTED
from detailed_balance.render.formatting import safe_text

__all__ = ["app", "main"]

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
        text = safe_text(hide_secrets(" ".join(_describe_error(error).split())), 2_000)
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


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"detailed-balance {version('detailed-balance')}")
        raise typer.Exit


@app.callback()
def _common(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Find where LLM agents want to go, what drives them in circles, and where they are stuck."""


for command in (_analyze, _show, _demo, _record, _compare, _export, _store, _serve, _watch):
    command.register(app)


def main() -> None:
    """Run the command line."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal without ± or →
    app(prog_name="detailed-balance")
