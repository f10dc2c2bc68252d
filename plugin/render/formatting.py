"""State keys made harmless for a terminal.

A state key may hold anything that a model wrote: sequences that repaint the terminal, marks that
turn the reading direction, characters that nobody sees. Here they become visible escapes.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

from rich.cells import cell_len
from rich.text import Text

from detailed_balance.analyzers.errors import InvalidInputError

__all__ = ["rich_text", "safe_text"]

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
_SHORTEST_LIMIT = 16


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
