"""What the experiments share: their command line, and tables beside the published ones."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.render.formatting import rich_text, safe_text

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

__all__ = ["choose_model", "make_parser", "show_progress", "show_table"]


def make_parser(name: str, description: str | None, *, model: str | None = None) -> ArgumentParser:
    """Return a parser with the options that experiments share: `--model` and `--seed`.

    Parameters
    ----------
    name : str
        Of the experiment, as ``python -m examples.paper`` knows it.
    description : str
        What the experiment shows, the docstring of its module.
    model : str, optional
        What stands for `--model` by default, in words; without it there is no such option.
    """
    parser = ArgumentParser(
        prog=f"python -m examples.paper {name}",
        description=description,
        formatter_class=RawDescriptionHelpFormatter,
    )
    if model is not None:
        parser.add_argument(
            "--model",
            metavar="PROVIDER:NAME",
            help=f"a LangChain chat model to ask, such as openai:gpt-5-nano (default: {model})",
        )
    parser.add_argument("--seed", type=int, default=0, help="of every random choice (default: 0)")
    return parser


def choose_model(name: str | None, simulated: Callable[[], BaseChatModel]) -> BaseChatModel:
    """Return the chat model called `name`, or the simulated one where there is no name.

    Raises
    ------
    InvalidInputError
        Where LangChain cannot make that model; the message says what it lacks.
    """
    if name is None:
        return simulated()
    from langchain.chat_models import init_chat_model

    try:
        return init_chat_model(name)
    except (ImportError, ValueError) as error:
        raise InvalidInputError(
            f"--model {name!r}: {error} Allowed is PROVIDER:NAME as in LangChain's"
            " init_chat_model; install the provider's package, or leave the option out for the"
            " simulated model."
        ) from error


def show_progress(task: str, done: int, total: int) -> None:
    """Say on standard error how far it is, each time on the same line."""
    text = f"{done} of {total}: {safe_text(task)}"
    print(f"\r{text:60}", end="\n" * (done == total), file=sys.stderr, flush=True)


def show_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table; a float is shown with three digits, and any text is made harmless.

    Examples
    --------
    >>> show_table("Potentials", ["word", "ours", "published"], [("ATTITUDE", 0.0, 0.0)])
    Potentials
    word        ours   published
    ────────────────────────────
    ATTITUDE   0.000       0.000
    """
    rows = list(rows)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for i, name in enumerate(columns):
        numbers = bool(rows) and all(isinstance(row[i], int | float) for row in rows)
        table.add_column(Text(name), justify="right" if numbers else "left")
    for row in rows:
        table.add_row(*map(_cell, row))
    console = Console(highlight=False)
    heading = rich_text(title, 200)
    heading.stylize("bold")
    console.print(heading)
    console.print(table)


def _cell(value: object) -> Text:
    return rich_text(f"{value:.3f}" if isinstance(value, float) else str(value))
