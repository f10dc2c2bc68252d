"""Describe the command line in Markdown, from the commands themselves.

An option that three commands or more have, with the same words, stands once, in a part of its own.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import typer

from detailed_balance.cli import app

SHARED = 3
"""So many commands have a shared option."""

OPTION = re.compile(r"--[\w-]+")
Row = tuple[str, str, str]


def describe_commands() -> Iterator[str]:
    """Yield the blocks of the page: a part for each command, then the shared options."""
    commands: dict[str, Any] = vars(typer.main.get_command(app))["commands"]
    rows: dict[str, list[Row]] = {}
    usages = {}
    for name, command in commands.items():
        context = typer.Context(command, info_name=f"detailed-balance {name}")
        usages[name] = " ".join(command.get_usage(context).split()[1:])
        rows[name] = [describe_parameter(parameter, context) for parameter in command.params]
    counts = Counter(row for listed in rows.values() for row in listed)
    shared = [row for row in counts if counts[row] >= SHARED and row[0].startswith("`-")]
    for name, command in commands.items():
        yield f"## `{name}`"
        yield f"```text\n{usages[name]}\n```"
        yield " ".join(command.help.split())
        if own := [row for row in rows[name] if row not in shared]:
            yield make_table(own)
        if taken := [f"`{OPTION.findall(row[0])[0]}`" for row in rows[name] if row in shared]:
            yield f"And, of the [shared options](#shared-options), {', '.join(taken)}."
    yield "## Shared options"
    yield make_table(shared)


def describe_parameter(parameter: Any, context: typer.Context) -> Row:
    """Return how an option or an argument is written, what it does, and its default."""
    written, text = parameter.get_help_record(context)
    meaning, _, extra = text.partition("  [")
    default = re.match(r"default: ([^;\]]*)", extra)
    value = f"`{default[1]}`" if default else "required" if "required" in extra else ""
    several = parameter.multiple and "Several" not in meaning
    return f"`{written}`", meaning + (" Several are allowed." if several else ""), value


def make_table(rows: Iterable[Row]) -> str:
    """Return a table of options."""
    lines = [("option", "meaning", "default"), ("---",) * 3, *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
