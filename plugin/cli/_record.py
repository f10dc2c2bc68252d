"""``detailed-balance record STORE -- PROGRAM``: record a program that needs no change."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.cli._options import STATES_HELP, StoreArgument, parse_context, takes_settings
from detailed_balance.cli._probe import explain_silence

_BOOTSTRAP = Path(__file__).parent / "bootstrap"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="record", context_settings={"allow_interspersed_args": False})(_record)


@takes_settings
def _record(
    store: StoreArgument,
    command: Annotated[
        list[str], typer.Argument(metavar="COMMAND...", help="The program and its arguments.")
    ],
    # No setting of a file: there --context chooses what is read, and would label what is recorded.
    labels: Annotated[
        list[str] | None,
        typer.Option(
            "--context", metavar="NAME=VALUE", help="A label for everything that is recorded."
        ),
    ] = None,
    states: Annotated[
        str | None,
        typer.Option(metavar="NAME", envvar="DETAILED_BALANCE_STATES", help=STATES_HELP),
    ] = None,
) -> None:
    """Run a program that has agents, and record them; the program needs no change."""
    program = command[1:] if command[0] == "--" else command
    environment = make_environment(store, parse_context(labels or []), states)
    if not program:
        raise InvalidInputError(
            "which program? as in: detailed-balance record runs.db -- python agent.py"
        )
    if program[0].startswith("-"):
        raise InvalidInputError(
            f"{program[0]!r} is no program; options of record come before the store, as in: "
            "detailed-balance record --states tools runs.db -- python agent.py"
        )
    if reason := explain_silence(program, environment, _find_driver(environment)):
        raise InvalidInputError(f"nothing would be recorded, so nothing was started: {reason}")
    become(program, environment)


def make_environment(
    store: str,
    context: Mapping[str, str] | None = None,
    states: str | None = None,
    environment: Mapping[str, str] = os.environ,
) -> dict[str, str]:
    """Return the environment of a program that is to be recorded.

    Parameters
    ----------
    store : str
        The URL of the store, or the path of a file.
    context : mapping, optional
        Labels of all its transitions.
    states : str, optional
        The name of its state function; see `check_states`.
    environment : mapping
        What the program would have else.

    Raises
    ------
    InvalidInputError
        Where `store` is not a URL of a database that is supported, or `states` no name of a state
        function.
    ReadError
        Where the folder of its file is not there.

    Examples
    --------
    >>> made = make_environment("runs.db", {"team": "red, blue"}, None, {"PYTHONPATH": "/lib"})
    >>> made["DETAILED_BALANCE_CONTEXT"], made["PYTHONPATH"].endswith("/lib")
    ('{"team": "red, blue"}', True)
    """
    from detailed_balance.callbacks.named_states import check_states
    from detailed_balance.callbacks.store.engine import locate  # loads SQLAlchemy

    paths = [str(_BOOTSTRAP), environment.get("PYTHONPATH", "")]
    return {
        **environment,
        "DETAILED_BALANCE_STORE": locate(store),
        "DETAILED_BALANCE_CONTEXT": json.dumps(dict(context)) if context else "",
        "DETAILED_BALANCE_STATES": check_states(states) if states else "",
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
    }


def become(command: Sequence[str], environment: Mapping[str, str]) -> None:
    """Become a program, so that signals and the exit code are its own; return never.

    Windows has no such thing: there this process stays, leaves Ctrl-C to the program, and ends
    with its exit code.

    Raises
    ------
    InvalidInputError
        Where there is no such program.
    SystemExit
        On Windows, at the end of the program.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        if sys.platform == "win32":
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            raise SystemExit(subprocess.run(list(command), env=dict(environment)).returncode)  # noqa: S603 - the user's own command
        # Python ignores these, and the program would inherit that.
        ignored = [getattr(signal, name) for name in ("SIGPIPE", "SIGXFSZ")]
        before = [signal.signal(number, signal.SIG_DFL) for number in ignored]
        try:
            os.execvpe(command[0], list(command), dict(environment))  # noqa: S606 - the user's own command
        finally:  # nothing was started
            for number, handler in zip(ignored, before, strict=True):
                signal.signal(number, handler)
    except FileNotFoundError:
        raise InvalidInputError(f"there is no program {command[0]!r}") from None


def _find_driver(environment: Mapping[str, str]) -> str | None:
    from detailed_balance.callbacks.store.engine import driver_of

    return driver_of(environment["DETAILED_BALANCE_STORE"])
