"""Whether a command can be recorded: the Python that it starts is asked before."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

_PATIENCE = 60.0
"""How many seconds the Python of the program may take to answer."""

_PYTHON = re.compile(r"(?:python|pypy)[\d.]*t?(?:\.exe)?", re.IGNORECASE)

_OPTION = re.compile(r"-(?P<flags>[^-cmWX]*)(?:(?P<program>[cm])|(?P<valued>[WX])(?P<value>.*))?")
"""Options of Python in one word, as -uI, -Werror or -Ic."""

_NEEDED = ("detailed_balance", "langchain_core", "langgraph", "sqlalchemy")

_MARK = "detailed-balance-probe"
_QUESTION = f"""
import sys
from importlib.util import find_spec
missing = [name for name in {{modules!r}} if find_spec(name) is None]
closed = sys.flags.ignore_environment or sys.flags.no_site
print("\\n{_MARK}", int(closed), int("detailed_balance" in sys.modules), *missing)
"""


def explain_silence(
    command: Sequence[str], environment: Mapping[str, str], driver: str | None = None
) -> str | None:
    """Say why nothing of a command would be recorded; None where it would, or nobody can know.

    A Python, and a script that begins with the name of one, are asked; anything else may start a
    Python that records, or none.

    Parameters
    ----------
    command : sequence of str
        The program and its arguments.
    environment : mapping
        What the program is given.
    driver : str, optional
        The module by which it reaches the store.

    Examples
    --------
    >>> explain_silence(["sleep", "1"], {"PATH": "/bin"}) is None
    True
    """
    python = _find_python(list(command), environment.get("PATH"))
    answer = python and _ask(python, environment, [*_NEEDED, *([driver] if driver else [])])
    if not python or answer is None:
        return None
    closed, hooked, missing = answer
    name, given = Path(python[0]).name, shlex.join(python[1:])
    if closed:
        return (
            f"{name} was given {given or 'a closed environment'}: with -E, -I or -S it reads no "
            "PYTHONPATH or runs no sitecustomize, by which recording begins; leave that out, or "
            "let the program import detailed_balance and set DETAILED_BALANCE_STORE yourself"
        )
    if missing:
        wanted = "detailed-balance" if "detailed_balance" in missing else " ".join(missing)
        return (
            f"{python[0]} has no {', '.join(missing)}; record a program of a Python that has, or "
            f"install there what is missing: {python[0]} -m pip install {wanted}"
        )
    if not hooked:
        return (
            f"{python[0]} does not run the sitecustomize by which recording begins; let the "
            "program import detailed_balance, and set DETAILED_BALANCE_STORE yourself"
        )
    return None


def _find_python(command: list[str], path: str | None, depth: int = 3) -> list[str] | None:
    """Return the Python that a command starts, with its options; None where that is not seen."""
    program = shutil.which(command[0], path=path) if command and depth else None
    if program is None:
        return None
    name = Path(program).name
    if _PYTHON.fullmatch(name):
        options = list(_options(command[1:]))
        asks_only = any(option.startswith("--h") or option == "--version" for option in options)
        return None if asks_only or _has_flag(options, "hV?") else [program, *options]
    if name == "env":
        words = command[2:] if command[1:2] == ["-S"] else command[1:]
        while words and "=" in words[0]:
            words = words[1:]
        return _find_python(words, path, depth - 1)
    first = _read_first_command(Path(program))
    return _find_python([*first, program], path, depth - 1) if first else None


def _options(arguments: Sequence[str]) -> Iterator[str]:
    """Yield the options of Python itself, which end where the program begins."""
    words = iter(arguments)
    for word in words:
        if word.startswith("--") and word != "--":
            yield word
            if word == "--check-hash-based-pycs":
                yield next(words, "")
            continue
        found = _OPTION.match(word)
        if found is None or word in ("-", "--"):
            return
        if found["program"]:
            if found["flags"]:
                yield f"-{found['flags']}"
            return
        yield word
        if found["valued"] and not found["value"]:
            yield next(words, "")


def _has_flag(options: Sequence[str], flags: str) -> bool:
    found = (_OPTION.match(option) for option in options)
    return any(letter in match["flags"] for match in found if match for letter in flags)


def _read_first_command(path: Path) -> list[str]:
    """Return what a script names to run it; installers write a long name on a second line."""
    try:
        with path.open("rb") as file:
            first, second = (file.readline(4096).decode(errors="replace") for _ in range(2))
        if not first.startswith("#!"):
            return []
        words = shlex.split(first[2:])
        if words[:1] == ["/bin/sh"] and second.startswith("'''exec' "):
            words = shlex.split(second.removeprefix("'''exec' "))[:1]
        return words
    except (OSError, ValueError):
        return []


def _ask(
    python: Sequence[str], environment: Mapping[str, str], modules: Sequence[str]
) -> tuple[bool, bool, list[str]] | None:
    """Return whether Python is closed to us, whether our hook ran, and which modules it lacks."""
    unrecorded = {
        name: each for name, each in environment.items() if name != "DETAILED_BALANCE_STORE"
    }
    try:
        done = subprocess.run(  # noqa: S603 - the Python that the user is about to run
            [*python, "-c", _QUESTION.format(modules=list(modules))],
            env=unrecorded,  # the hook runs without, and loads no framework
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PATIENCE,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    lines = (line.split() for line in done.stdout.splitlines())
    answers = [words[1:] for words in lines if words[:1] == [_MARK]]
    if not answers:
        return None  # such as an option that it does not know: it will say so itself
    closed, hooked, *missing = answers[-1]
    return closed == "1", hooked == "1", missing
