"""The JSON values of a file, one after another, in bounded memory."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from detailed_balance.readers.records.base import BadLines

__all__ = ["explain_json_error", "iterate_values"]

_LARGEST = 2**26  # characters of one value, which is held in memory whole
_FIRST = re.compile(r"\s*\[?\s*")
_BETWEEN = re.compile(r"[\s,]*(?:\][\s,]*\[?)?[\s,]*")
_LONGEST_WORD = 20  # a number or a word that a chunk may cut
_DECODER = json.JSONDecoder()


def explain_json_error(error: ValueError | RecursionError) -> str:
    """Say what is wrong with a JSON text, and where."""
    if isinstance(error, json.JSONDecodeError):
        return f"invalid JSON: {error.msg} at character {error.colno}"
    if isinstance(error, UnicodeDecodeError):
        return f"invalid UTF-8 at byte {error.start + 1}"
    return f"unusable JSON: {error}"


def iterate_values(chunks: Iterator[str], bad: BadLines) -> Iterator[tuple[str, Any]]:
    """Yield values that stand one after another, or the elements of a list.

    Parameters
    ----------
    chunks : iterator of str
        The text, in parts of any size.
    bad : BadLines
        Is told where nothing more can be read.

    Yields
    ------
    tuple of str and value
        The place of the value, and the value.

    Examples
    --------
    >>> from detailed_balance.readers.records.base import BadLines
    >>> list(iterate_values(iter(['[{"a": 1}, ', '{"b": 2}]']), BadLines("x", skip=False)))
    [('object 1', {'a': 1}), ('object 2', {'b': 2})]
    """
    text, place, number = "", 0, 0
    while True:
        between = (_BETWEEN if number else _FIRST).match(text, place)
        place = between.end() if between else place
        if place == len(text):
            text, place = next(chunks, ""), 0
            if not text:
                return
            continue
        try:
            value, place = _DECODER.raw_decode(text, place)
        except (ValueError, RecursionError) as error:
            rest = len(text) - place
            more = _read_more(chunks, rest) if _may_go_on(error, text) and rest < _LARGEST else ""
            if not more:
                reason = f"{explain_json_error(error)}; nothing after here is read"
                bad.report(f"object {number + 1}", reason)
                return
            text, place = text[place:] + more, 0
        else:
            number += 1
            yield f"object {number}", value


def _may_go_on(error: ValueError | RecursionError, text: str) -> bool:
    """Say whether what cannot be read may only be cut off."""
    if not isinstance(error, json.JSONDecodeError):
        return False
    return error.pos >= len(text) - _LONGEST_WORD or error.msg.startswith("Unterminated string")


def _read_more(chunks: Iterator[str], size: int) -> str:
    """Return about `size` characters more, so that no part is parsed more than a few times."""
    parts: list[str] = []
    while size > 0 and (chunk := next(chunks, "")):
        parts.append(chunk)
        size -= len(chunk)
    return "".join(parts)
