"""``detailed-balance record STORE -- PROGRAM``: record a program that needs no change."""

from __future__ import annotations

from typing import Annotated

import typer

from detailed_balance.cli._shared import parse_context


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="record", context_settings={"allow_interspersed_args": False})(_record)


def _record(
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
    from detailed_balance.cli._launch import launch

    parse_context(context or [])
    program = command[1:] if command[0] == "--" else command
    raise typer.Exit(launch(program, store, ",".join(context or [])))
