"""How states, loops and labels are named in URLs and shown on the page.

A state key may hold anything that a model wrote, so none is ever put into a URL or a file name: a
digest stands for it, and what is shown has passed `safe_text`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b

from detailed_balance.analyzers.counts import BOUNDARIES
from detailed_balance.analyzers.errors import InvalidInputError, UnknownStateError
from detailed_balance.analyzers.loop import Loop
from detailed_balance.analyzers.runs.labels import Context
from detailed_balance.render import safe_text

LABEL = 48
"""The width of a state's label on the page."""

_DIGEST_BYTES = 8
_MOST_LABELS = 16
_PLAIN = 80


def state_id(key: str) -> str:
    """Return 16 hex digits that stand for a state.

    Examples
    --------
    >>> state_id("plan"), len(state_id("<script>" * 1000))
    ('447ead8e215d2b75', 16)
    """
    return blake2b(key.encode("utf-8", "surrogatepass"), digest_size=_DIGEST_BYTES).hexdigest()


def loop_id(states: Sequence[str]) -> str:
    """Return the ids of a loop's states joined by dots, whichever of them it begins with.

    Examples
    --------
    >>> loop_id(["a", "b", "c"]) == loop_id(["b", "c", "a"]) != loop_id(["c", "b", "a"])
    True
    """
    return ".".join(Loop(state_id(state) for state in states))


def show_state(key: str | None) -> dict[str, str | None]:
    """Return what the page needs of a state; a boundary and an escape have no page of their own.

    Examples
    --------
    >>> show_state("plan"), show_state(None)
    ({'id': '447ead8e215d2b75', 'label': 'plan'}, {'id': None, 'label': 'escape'})
    """
    if key is None or key in BOUNDARIES:
        return {"id": None, "label": key or "escape"}
    return {"id": state_id(key), "label": safe_text(key, LABEL)}


def show_run_key(key: str | None) -> dict[str, str | None]:
    """Return what the page needs of a run, by its key or its id.

    Examples
    --------
    >>> show_run_key("plan"), show_run_key(None)
    ({'id': '447ead8e215d2b75', 'label': 'plan'}, {'id': None, 'label': ''})
    """
    if key is None:
        return {"id": None, "label": ""}
    return {"id": state_id(key), "label": safe_text(key, _PLAIN)}


def visible(text: str) -> str:
    r"""Return a sentence with its invisible characters as escapes; the rest stays as it is.

    Examples
    --------
    >>> print(visible("a → b\x1b[31m" + chr(0x202E)))
    a → b\x1b[31m\u202e
    """
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in text
    )


def label_name(name: str, value: str) -> str:
    """Return what stands for a label in a URL: ``name=value``, or a digest of what is not plain.

    Examples
    --------
    >>> label_name("model", "gpt-4o"), label_name("note", "a" * 200)
    ('model=gpt-4o', '~d0a8771c10ab5569')
    """
    text = f"{name}={value}"
    plain = len(text) <= _PLAIN and text == safe_text(text, _PLAIN) and "=" not in name
    return text if plain and not text.startswith("~") else "~" + state_id(f"{name}\0{value}")


def parse_context(given: Iterable[str], known: Iterable[Context]) -> Context:
    """Return the labels that a URL asks for, of those that were recorded.

    Raises
    ------
    UnknownStateError
        Where a label was not recorded.
    InvalidInputError
        Where there are more than 16.

    Examples
    --------
    >>> parse_context(["model=a"], [(("model", "a"), ("version", "2")), (("model", "b"),)])
    (('model', 'a'),)
    """
    wanted = list(given)
    if not wanted:
        return ()
    if len(wanted) > _MOST_LABELS:
        raise InvalidInputError(f"{len(wanted)} labels; up to {_MOST_LABELS} can be asked for")
    labels = {label_name(*label): label for context in known for label in context}
    if unknown := [name for name in wanted if name not in labels]:
        raise UnknownStateError(
            f"nothing is recorded with the label {safe_text(unknown[0], _PLAIN)}; "
            "choose one that the page offers"
        )
    return tuple(sorted({labels[name] for name in wanted}))
