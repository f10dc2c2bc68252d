"""The command line ``detailed-balance``: its commands, and how each of them ends."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from importlib.metadata import version
from typing import Annotated, Any, cast

import typer
from typer.completion import completion_init, get_completion_script  # type: ignore[attr-defined]
from typer.core import TyperGroup

from detailed_balance.analyzers.errors import DetailedBalanceError
from detailed_balance.callbacks.redaction import hide_secrets
from detailed_balance.cli import (
    _analyze,
    _compare,
    _demo,
    _export,
    _record,
    _store,
    _watch,
)
from detailed_balance.cli._options import takes_common_options
from detailed_balance.cli._output import ERROR, INTERRUPTED, UNWRAPPED, drop_output, say
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
    except BrokenPipeError:
        drop_output()
        raise typer.Exit(0) from None
    except (DetailedBalanceError, OSError, _UsageError) as error:
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
    if isinstance(error, _UsageError):
        return f"{error.format_message()} (--help lists what is allowed)"
    return str(error)


_is_terminal = sys.stdout is not None and sys.stdout.isatty()
app = typer.Typer(
    cls=_Commands,
    add_completion=False,
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich" if _is_terminal else None,
    context_settings={"help_option_names": ["-h", "--help"]}
    | ({} if _is_terminal else {"terminal_width": UNWRAPPED}),
)
"""The commands."""


def _print_version(asked: bool) -> None:
    if asked:
        say(f"detailed-balance {version('detailed-balance')}")
        raise typer.Exit


@app.callback()
def _common(
    context: typer.Context,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Find where LLM agents want to go, what drives them in circles, and where they are stuck."""
    if context.invoked_subcommand is None:
        say(context.get_help())


class _Shell(StrEnum):
    bash = "bash"
    zsh = "zsh"
    fish = "fish"


@app.command(name="completion")
@takes_common_options
def _completion(
    shell: Annotated[_Shell, typer.Argument(metavar="SHELL", help="bash, zsh or fish.")],
) -> None:
    """Print what lets a shell complete commands and options, to be read by it at its start."""
    name, variable = "detailed-balance", "_DETAILED_BALANCE_COMPLETE"
    say(get_completion_script(prog_name=name, complete_var=variable, shell=shell.value))


for command in (_analyze, _compare, _watch, _record, _store, _export, _demo):
    command.register(app)


def main() -> None:
    """Run the command line."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal without ± or →
    completion_init()
    app(prog_name="detailed-balance")
