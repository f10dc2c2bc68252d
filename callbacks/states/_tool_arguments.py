"""A tool call as a short text that is the same for calls that mean the same."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping, Sequence
from enum import Enum
from hashlib import blake2b
from numbers import Integral, Real
from typing import Any, Literal, TypeAlias

from detailed_balance.analyzers.errors import InvalidInputError

_Names: TypeAlias = Sequence[str] | Literal["all"]

Arguments: TypeAlias = _Names | Mapping[str, _Names]
"""The arguments that distinguish calls: names for every tool, or by tool; ``"all"`` takes all."""

_LONGEST_VALUE = 60
_LONGEST_LIST = 200
_LONGEST_FOLDED = 10_000
_DIGEST_BYTES = 4
# They have a meaning of their own in a key, so a text that holds one is quoted.
_MARKS = frozenset('"\\|(),:=[]{}')


def check_arguments(arguments: Arguments) -> Arguments:
    """Return `arguments` as a tuple of names, as a dict of such tuples, or as ``"all"``.

    Raises
    ------
    InvalidInputError
        Where it is none of these.

    Examples
    --------
    >>> check_arguments(["city"]), check_arguments({"search": ["city"], "read": "all"})
    (('city',), {'search': ('city',), 'read': 'all'})
    """
    if isinstance(arguments, Mapping):
        return {tool: _check_names(names) for tool, names in arguments.items()}
    return _check_names(arguments)


def _check_names(names: _Names) -> _Names:
    if names == "all":
        return names
    # A str is a sequence too, of its letters, which is never meant.
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise InvalidInputError(
            "arguments must be names, such as ('city', 'date'), a mapping of tools to names, "
            f"or 'all'; got {names!r}"
        )
    return tuple(names)


def name_call(name: str, arguments: Mapping[str, Any], chosen: Arguments) -> str:
    """Return a tool's name with the `chosen` of its `arguments`; those not there are left out.

    Examples
    --------
    >>> name_call("search", {"city": " PARIS ", "query_id": "3f2a"}, ("city",))
    'search(city=paris)'
    >>> name_call("search", {"city": "Paris"}, {"read": ("path",)})
    'search'
    """
    names = chosen.get(name, ()) if isinstance(chosen, Mapping) else chosen
    names = sorted(arguments) if names == "all" else [n for n in names if n in arguments]
    pairs = [f"{_quote(n)}={shorten(canonical_text(arguments[n]), _LONGEST_VALUE)}" for n in names]
    return f"{name}({shorten(', '.join(pairs), _LONGEST_LIST)})" if pairs else name


def canonical_text(value: Any) -> str:
    r"""Return one text for all the ways in which a model writes the same value.

    Texts are case-folded and their white space collapsed (compatibility forms such as full-width
    letters too; beyond 10,000 characters the exact text counts), and quoted where they hold marks,
    or characters that show nothing. Equal numbers are written alike, mappings and sets sorted.
    Texts and other values are not distinguished: ``"3"`` is 3, and ``"null"`` is None.

    Parameters
    ----------
    value : Any
        What JSON may hold; an enum stands for its value.

    Raises
    ------
    InvalidInputError
        Where `value` is, or holds, anything else: its text may have an address or an id in it.

    Examples
    --------
    >>> canonical_text("  New\n York "), canonical_text(2.0), canonical_text(None)
    ('new york', '2', 'null')
    >>> print(canonical_text({"to": ["Rome", "a|b"], "max": 1e3}))
    {max:1000,to:[rome,"a\u007cb"]}
    """
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, Enum):
        return canonical_text(value.value)
    if isinstance(value, str):
        return _quote(_fold(value))
    if isinstance(value, Integral):
        return str(int(value))
    if isinstance(value, Real):
        number = float(value)
        return str(int(number)) if number.is_integer() else repr(number)
    return _canonical_group(value)


def _canonical_group(value: Any) -> str:
    if isinstance(value, Mapping):
        pairs = [f"{canonical_text(key)}:{canonical_text(part)}" for key, part in value.items()]
        return f"{{{','.join(sorted(pairs))}}}"
    if isinstance(value, (set, frozenset)):
        return f"{{{','.join(sorted(map(canonical_text, value)))}}}"
    if isinstance(value, (list, tuple)):
        return f"[{','.join(map(canonical_text, value))}]"
    raise InvalidInputError(
        f"an argument of type {type(value).__name__} has no text that stays the same; choose other "
        "arguments, or name the call in a name_tool(name, arguments) of your own"
    )


def shorten(text: str, limit: int) -> str:
    """Return `text`; where it is longer than `limit`, its head and a hash of the whole.

    Parameters
    ----------
    text : str
        Any text.
    limit : int
        The greatest length, 10 or more.

    Returns
    -------
    str
        At most `limit` characters; the same in every process.

    Examples
    --------
    >>> shorten("the beginning of a long draft", 20)
    'the beginni…3932ebcc'
    """
    if len(text) <= limit:
        return text
    digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_DIGEST_BYTES).hexdigest()
    return f"{text[: limit - len(digest) - 1]}…{digest}"


def _fold(text: str) -> str:
    if len(text) > _LONGEST_FOLDED:  # a whole document: the agent shall not wait for its case
        text = shorten(text, _LONGEST_FOLDED)
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _quote(text: str) -> str:
    if text and text.isprintable() and _MARKS.isdisjoint(text):
        return text
    # "|" joins what happened side by side, so it may not stand in a key that a model wrote.
    return json.dumps(text, ensure_ascii=not text.isprintable()).replace("|", r"\u007c")
