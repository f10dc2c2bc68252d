"""State keys as cells of a table and names in XML: shown, never run, and without loss."""

from __future__ import annotations

import re

from detailed_balance.render.formatting import safe_text

__all__ = ["escape_text", "guard_cell", "unescape_text", "unguard_cell"]

# What a spreadsheet takes for the beginning of a formula (also in full width), and the quote that
# guards against it.
_ACTIVE = tuple("=+-@\uff1d\uff0b\uff0d\uff20'")
_ESCAPE = re.compile(r"\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8})|([nrt\\]))", re.ASCII)
_SHORT = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\"}


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
