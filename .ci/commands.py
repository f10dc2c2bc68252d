"""Describe the command line in Markdown, from the commands themselves.

Options that several commands share stand once, in a part of their own.
"""

import re
from collections.abc import Iterable, Iterator
from inspect import signature
from typing import Any

import typer

from detailed_balance.cli import app
from detailed_balance.cli._shared import reader_options, selection_options

SHARED = {"Options that choose runs": selection_options, "Options that read files": reader_options}
"""Functions whose parameters are the shared options, by the title of their part."""

Row = tuple[str, str, str]


def describe_commands() -> Iterator[str]:
    """Yield the blocks of the page: a part for each command, then the shared options."""
    titles = {
        name: title for title, group in SHARED.items() for name in signature(group).parameters
    }
    shared: dict[str, dict[str, Row]] = {title: {} for title in SHARED}
    commands: dict[str, Any] = vars(typer.main.get_command(app))["commands"]
    for name, command in commands.items():
        context = typer.Context(command, info_name=f"detailed-balance {name}")
        own, taken = [], []
        for parameter in command.params:
            row = describe_parameter(parameter, context)
            title = titles.get(parameter.name)
            if title and shared[title].setdefault(parameter.name, row) == row:
                taken.append(f"[{title.lower()}](#{title.lower().replace(' ', '-')})")
            else:
                own.append(row)
        yield f"## `{name}`"
        yield f"```text\n{' '.join(command.get_usage(context).split()[1:])}\n```"
        yield " ".join(command.help.split())
        if own:
            yield make_table(own)
        if taken:
            yield f"It also takes the {' and the '.join(dict.fromkeys(taken))}."
    for title, rows in shared.items():
        yield f"## {title}"
        yield make_table(rows.values())


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
