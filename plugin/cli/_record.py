"""``detailed-balance record STORE -- PROGRAM``: record a program that needs no change."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.cli._shared import StoreArgument, parse_context

_BOOTSTRAP = Path(__file__).parent / "bootstrap"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="record", context_settings={"allow_interspersed_args": False})(_record)


def _record(
    store: StoreArgument,
    command: Annotated[
        list[str], typer.Argument(metavar="COMMAND...", help="The program and its arguments.")
    ],
    context: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="A label of all that is recorded."),
    ] = None,
) -> None:
    """Run a program that has agents, and record them; the program needs no change."""
    parse_context(context or [])
    program = command[1:] if command[0] == "--" else command
    raise typer.Exit(launch(program, store, ",".join(context or [])))


def make_environment(
    store: str, context: str = "", environment: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """Return the environment of a program that is to be recorded.

    Parameters
    ----------
    store : str
        The URL of the store, or the path of a file.
    context : str
        Labels of all its transitions, ``name=value`` and a comma between two.
    environment : mapping
        What the program would have else.

    Examples
    --------
    >>> made = make_environment("runs.db", "version=2", {"PYTHONPATH": "/lib"})
    >>> made["DETAILED_BALANCE_CONTEXT"], made["PYTHONPATH"].endswith("/lib")
    ('version=2', True)
    """
    paths = [str(_BOOTSTRAP), environment.get("PYTHONPATH", "")]
    place = store if "://" in store else str(Path(store).absolute())
    return {
        **environment,
        "DETAILED_BALANCE_STORE": place,
        "DETAILED_BALANCE_CONTEXT": context,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
    }


def launch(command: Sequence[str], store: str, context: str = "") -> int:
    """Run a program with a recorder in each of its Python processes; return its exit code.

    Raises
    ------
    InvalidInputError
        Where there is no command, or no such program.

    Examples
    --------
    >>> launch(["python", "-c", "raise SystemExit(3)"], "runs.db")
    3
    """
    if not command:
        raise InvalidInputError(
            "which program? as in: detailed-balance record runs.db -- python agent.py"
        )
    try:
        return subprocess.run(list(command), env=make_environment(store, context)).returncode  # noqa: S603 - the user's own command, and its exit code is passed on
    except FileNotFoundError:
        raise InvalidInputError(f"there is no program {command[0]!r}") from None
