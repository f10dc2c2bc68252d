"""Text and numbers for people: state keys made harmless, numbers in words, cells of tables.

A state key may hold anything that a model wrote: sequences that repaint the terminal, marks that
turn the reading direction, characters that nobody sees, formulas that a spreadsheet would run. Here
they become visible escapes.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from math import isfinite, isnan
from typing import Any

from rich.cells import cell_len
from rich.text import Text

from detailed_balance.analyzers.errors import InvalidInputError

__all__ = [
    "count_noun",
    "escape_text",
    "first_line",
    "format_csv",
    "format_number",
    "format_pvalue",
    "guard_cell",
    "join_states",
    "rich_text",
    "safe_run",
    "safe_text",
    "shorten_states",
    "show_context",
    "unescape_text",
    "unguard_cell",
]

STATES_SHOWN = 6
"""Of a longer path the middle is left out."""

# Characters that `str.isprintable` lets pass but that show nothing: fillers, joiners, variation
# selectors, the blank Braille pattern.
_INVISIBLE = frozenset(
    map(
        chr,
        [
            *(0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0),
            *range(0x180B, 0x1810),
            *range(0xFE00, 0xFE10),
            *range(0xE0100, 0xE01F0),
        ],
    )
)
# Escaped as well, so that an escape or a shortened key is never mistaken for the key itself.
_OUR_MARKS = frozenset("\\…")
_DIGEST_BYTES = 3
_SHORTEST_LIMIT, _RUN_WIDTH = 16, 120

# What a spreadsheet takes for the beginning of a formula (also in full width), and the quote that
# guards against it.
_ACTIVE = tuple("=+-@\uff1d\uff0b\uff0d\uff20'")
_ESCAPE = re.compile(r"\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8})|([nrt\\]))", re.ASCII)
_SHORT = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\"}
_ROWS_AT_ONCE = 500


def safe_text(key: str, limit: int = 80) -> str:
    r"""Return `key` in one line that is safe to print, at most `limit` columns wide.

    Control characters, escape sequences, line ends, marks of direction, zero-width and private
    characters, lone surrogates and unusual spaces become escapes as in a Python string. Of a key
    that is too long the middle gives way to six digits of its hash, so that two long keys with
    the same head and tail stay apart.

    Parameters
    ----------
    key : str
        Any text.
    limit : int
        The width allowed, in terminal columns, 16 or more. A wide character takes two columns;
        a combining one is taken for one, so that they cannot pile up.

    Returns
    -------
    str
        Text without any character of the Unicode categories "other" and "separator", except the
        plain space. Two keys that fit give two different texts.

    Raises
    ------
    InvalidInputError
        Where `limit` is under 16.

    Examples
    --------
    >>> print(safe_text("search\x1b[31m\nred"))
    search\x1b[31m\nred
    >>> print(safe_text("the beginning of a long draft and its end", limit=24))
    the begi…803a51… its end
    """
    if limit < _SHORTEST_LIMIT:
        raise InvalidInputError(f"limit must be {_SHORTEST_LIMIT} or more; got {limit}")
    if len(key) <= limit:
        whole = "".join(map(_escape, key))
        if _width(whole) <= limit:
            return whole
    digest = blake2b(key.encode("utf-8", "surrogatepass"), digest_size=_DIGEST_BYTES).hexdigest()
    middle = f"…{digest}…"
    room = limit - len(middle)
    head = _fit(key[:room], room - room // 2)
    tail = _fit(reversed(key[-room:]), room // 2)
    return "".join([*head, middle, *reversed(tail)])


def safe_run(name: str) -> str:
    """Return the name of a run as `safe_text`, whole unless it is wider than 120 columns.

    Examples
    --------
    >>> safe_run("thread-7f3b9a52-4d1e-4c7a-9b58-0a1b2c3d4e5f")
    'thread-7f3b9a52-4d1e-4c7a-9b58-0a1b2c3d4e5f'
    """
    return safe_text(name, _RUN_WIDTH)


def first_line(error: Exception) -> str:
    r"""Return the first line of what an error says, at most 200 columns wide.

    Examples
    --------
    >>> first_line(ValueError("no such file\nfollowed by a trace"))
    'no such file'
    """
    return safe_text(str(error).partition("\n")[0], 200)


def rich_text(key: str, limit: int = 80) -> Text:
    """Return `safe_text` as a `rich.text.Text`, which is never read as markup.

    Examples
    --------
    >>> rich_text("[red]no colour[/red]").plain
    '[red]no colour[/red]'
    """
    return Text(safe_text(key, limit))


def _escape(char: str) -> str:
    if char.isprintable() and char not in _INVISIBLE and char not in _OUR_MARKS:
        return char
    return char.encode("unicode_escape").decode("ascii")


def _width(text: str) -> int:
    return len(text) if text.isascii() else sum(max(1, cell_len(char)) for char in text)


def _fit(chars: Iterable[str], width: int) -> list[str]:
    """Return the escapes of the first `chars` that fit into `width`."""
    kept: list[str] = []
    for char in chars:
        piece = _escape(char)
        width -= _width(piece)
        if width < 0:
            break
        kept.append(piece)
    return kept


def count_noun(count: int, noun: str) -> str:
    """Return the count with its noun.

    Examples
    --------
    >>> count_noun(1, "trap"), count_noun(2500, "driven loop")
    ('1 trap', '2,500 driven loops')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def shorten_states(states: Sequence[str], limit: int = 32) -> tuple[str, ...]:
    """Return state keys that are safe to print; of many, the first ones and the last.

    Examples
    --------
    >>> shorten_states("abcdefgh")
    ('a', 'b', 'c', 'd', '(3 more)', 'h')
    """
    names = [safe_text(state, limit) for state in states[:STATES_SHOWN]]
    if len(states) > STATES_SHOWN:
        left_out = len(states) - STATES_SHOWN + 1
        names[-2:] = [f"({left_out} more)", safe_text(states[-1], limit)]
    return tuple(names)


def join_states(states: Sequence[str], limit: int = 32) -> str:
    """Return a path of states in one line that is safe to print.

    Examples
    --------
    >>> join_states(["plan", "search", "plan"])
    'plan → search → plan'
    """
    return " → ".join(shorten_states(states, limit))


def show_context(context: Iterable[tuple[str, str]]) -> str:
    """Return labels in one line that is safe to print.

    Examples
    --------
    >>> show_context((("model", "gpt-4o"), ("version", "2")))
    'model=gpt-4o, version=2'
    """
    return ", ".join(f"{safe_text(name, 40)}={safe_text(value, 60)}" for name, value in context)


def format_number(value: float) -> str:
    """Return a number with the digits that matter.

    Examples
    --------
    >>> [format_number(x) for x in (0.034, 5.678, 12345.6, float("inf"))]
    ['0.034', '5.68', '12,346', '∞']
    """
    if not isfinite(value):
        return "-" if isnan(value) else "∞" if value > 0 else "-∞"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) >= 0.1 or value == 0 else f"{value:.2g}"


def format_pvalue(value: float) -> str:
    """Return a p-value with one digit that matters, two where it is not small.

    Examples
    --------
    >>> [format_pvalue(p) for p in (0.51, 0.012, 3.2e-8, 0.0)]
    ['0.51', '0.012', '3e-08', '< 1e-300']
    """
    if value < 1e-300:
        return "< 1e-300"
    return f"{value:.0e}" if value < 1e-3 else f"{value:.2g}"


def escape_text(text: str) -> str:
    r"""Return a text without control characters, line ends or half surrogate pairs.

    They, and whatever else shows nothing, become escapes as in a Python string; a backslash is
    doubled, so that `unescape_text` gives the text back. XML, CSV and databases take the result.

    Examples
    --------
    >>> print(escape_text("nul \0 and a\nline"))
    nul \x00 and a\nline
    """
    return safe_text(text, 10 * len(text) + 16)  # no escape is longer, so nothing is cut


def unescape_text(text: str) -> str:
    r"""Return what `escape_text` was given.

    Examples
    --------
    >>> unescape_text(escape_text("a\\b\n")) == "a\\b\n"
    True
    """
    return _ESCAPE.sub(lambda m: _SHORT[m[4]] if m[4] else chr(int(m[1] or m[2] or m[3], 16)), text)


def guard_cell(text: str) -> str:
    r"""Return a text as one cell that a spreadsheet shows and never runs.

    It is escaped as by `escape_text` (so no tab or line end is left to begin a cell), and an
    apostrophe comes before what would begin a formula, after spaces too, and before an apostrophe.

    Examples
    --------
    >>> guard_cell("=HYPERLINK(1)"), guard_cell("plan"), guard_cell("'")
    ("'=HYPERLINK(1)", 'plan', "''")
    """
    shown = escape_text(text)
    return f"'{shown}" if shown.lstrip().startswith(_ACTIVE) else shown


def unguard_cell(cell: str) -> str:
    r"""Return the text that `guard_cell` made a cell of.

    Examples
    --------
    >>> unguard_cell("'=1+1"), unguard_cell("plan")
    ('=1+1', 'plan')
    """
    return unescape_text(cell.removeprefix("'"))


def format_csv(columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> Iterator[str]:
    r"""Yield a table as CSV, a few hundred rows at a time.

    Texts go through `guard_cell`, lists become JSON, None and NaN an empty cell.

    Examples
    --------
    >>> "".join(format_csv(["state", "value"], [["=1+1", 0.5], ["plan", None]]))
    "state,value\r\n'=1+1,0.5\r\nplan,\r\n"
    """
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(columns)
    for number, row in enumerate(rows, 1):
        writer.writerow(map(_format_cell, row))
        if number % _ROWS_AT_ONCE == 0:
            yield file.getvalue()
            file.seek(0)
            file.truncate()
    yield file.getvalue()


def _format_cell(value: Any) -> Any:
    if isinstance(value, str):
        return guard_cell(value)
    if isinstance(value, list):
        return json.dumps(value)
    return None if isinstance(value, float) and isnan(value) else value
