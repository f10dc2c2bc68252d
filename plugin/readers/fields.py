"""From one record of a trace, a mapping of fields, to one `Transition`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from numbers import Real
from typing import Any

from detailed_balance.callbacks.transition import Context, Transition
from detailed_balance.text import safe_text

__all__ = [
    "BadRecordError",
    "FieldNames",
    "parse_count",
    "parse_labels",
    "parse_state",
    "unknown_field_message",
]

# Counts and steps go into 64-bit columns and arrays.
_INTEGER_BOUND = 2**63
_NAMES_SHOWN = 12


class BadRecordError(Exception):
    """One record is wrong; the reader adds the file and the line."""


@dataclass(frozen=True, slots=True)
class FieldNames:
    """Which field of a record holds what.

    Parameters
    ----------
    source, target : str
        The states; every record has both. An empty target is an escape.
    trajectory, step, time, count : str
        May be absent.
    context : tuple of str
        Fields whose values become context labels of the same names.

    Examples
    --------
    >>> FieldNames(source="from", target="to").to_transition({"from": "plan", "to": 5})
    Transition(source='plan', target='5', trajectory=None, context=(), step=None, time=None, count=1)
    """  # noqa: E501 - a doctest's output stands in one line

    source: str = "source"
    target: str = "target"
    trajectory: str = "trajectory"
    step: str = "step"
    time: str = "time"
    count: str = "count"
    context: tuple[str, ...] = ()

    def expected(self) -> dict[str, str]:
        """Return the fields that some record must have, each with the option that names it.

        Those are the two states and every field that was asked for by another name than usual:
        where none has it, the name is a mistake.
        """
        usual = FieldNames()
        expected = {self.source: "source_field", self.target: "target_field"}
        for role in ("trajectory", "step", "time", "count"):
            if getattr(self, role) != getattr(usual, role):
                expected[getattr(self, role)] = f"{role}_field"
        return expected | dict.fromkeys(self.context, "context_fields")

    def to_transition(self, record: Mapping[str, Any]) -> Transition:
        """Return what `record` says.

        Raises
        ------
        BadRecordError
            Where a state is missing, or a value is of no use for its field.
        """
        try:
            source, target = record[self.source], record[self.target]
        except KeyError as error:
            option = "target_field" if self.source in record else "source_field"
            raise BadRecordError(unknown_field_message(error.args[0], option, record)) from None
        count = record.get(self.count)
        return Transition(
            parse_state(source, self.source),
            None if target is None else parse_state(target, self.target),
            _parse_text(record.get(self.trajectory), self.trajectory),
            parse_labels(record, self.context),
            _parse_integer(record.get(self.step), self.step),
            _parse_time(record.get(self.time), self.time),
            1 if count is None else parse_count(count, self.count),
        )


def unknown_field_message(name: str, option: str, there: Iterable[str]) -> str:
    """Say that no field is called `name`, which ones there are, and which option to set."""
    names = list(map(str, there))
    shown = ", ".join(f"'{safe_text(name, 40)}'" for name in names[:_NAMES_SHOWN])
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    flag = "--" + option.removesuffix("s").replace("_", "-")
    return (
        f"there is no field '{safe_text(name, 40)}'; the fields are {shown or 'none'}{more}. "
        f"Name the right one with {option}= (on the command line {flag})"
    )


def parse_state(value: Any, name: str) -> str:
    """Return a state key: a text, or a number as text."""
    state = _parse_text(value, name)
    if not state:
        raise BadRecordError(f"{name!r} is empty; a state is a text of one character or more")
    return state


def parse_count(value: Any, name: str) -> int:
    """Return a count: a whole number, 0 or more."""
    count = _parse_integer(value, name)
    if count is None or count < 0:
        raise BadRecordError(f"{name!r} must be a whole number, 0 or more; got {_show(value)}")
    return count


def parse_labels(record: Mapping[str, Any], names: tuple[str, ...]) -> Context:
    """Return the labels that `record` carries in the fields `names` and in `context`.

    Of a field `context` that holds a mapping, the texts and numbers become labels; nested values
    are taken for something else, as every other field of the record.
    """
    nested = record.get("context")
    labels = {} if nested is None else _plain_values(nested)
    for name in names:
        value = record.get(name)
        if name == "context" and isinstance(value, Mapping):
            continue
        text = str(value) if isinstance(value, bool) else _parse_text(value, name)
        if text is not None:
            labels[name] = text
    return tuple(sorted(labels.items()))


def _plain_values(labels: Any) -> dict[str, str]:
    if not isinstance(labels, Mapping):
        return {}
    return {
        _without_surrogates(str(name)): _without_surrogates(str(value))
        for name, value in labels.items()
        if isinstance(value, str | int | float)
    }


def _parse_text(value: Any, name: str) -> str | None:
    if type(value) is str:
        return value if value.isascii() else _without_surrogates(value)
    if value is None:
        return None
    number = isinstance(value, Real) and not isinstance(value, bool)
    if not number or value != value or value in (math.inf, -math.inf):
        raise BadRecordError(f"{name!r} must be a text or a number; got {_show(value)}")
    return str(value)


def _without_surrogates(text: str) -> str:
    # Half a surrogate pair, which JSON can spell, is no text that a file or database takes.
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _parse_integer(value: Any, name: str) -> int | None:
    if value is None:
        return None
    try:
        return _to_integer(value)
    except (TypeError, ValueError, OverflowError):
        raise BadRecordError(f"{name!r} must be a whole number; got {_show(value)}") from None


def _to_integer(value: Any) -> int:
    if isinstance(value, str):
        # 3.0 is let pass: so pandas writes integers where some are missing.
        value = float(value) if "." in value else int(value)
    number = int(value)
    if isinstance(value, bool) or number != value or abs(number) >= _INTEGER_BOUND:
        raise ValueError
    return number


def _parse_time(value: Any, name: str) -> float | None:
    if value is None:
        return None
    try:
        seconds = _to_seconds(value)
    except (TypeError, ValueError, OverflowError):
        seconds = math.nan
    if not math.isfinite(seconds):
        raise BadRecordError(
            f"{name!r} must be in seconds since 1970 or an ISO 8601 date; got {_show(value)}"
        )
    return seconds


def _to_seconds(value: Any) -> float:
    if isinstance(value, bool):
        raise TypeError
    try:
        return float(value)
    except ValueError:
        moment = datetime.fromisoformat(value)
    # A moment without a time zone is taken for UTC, so that a result does not depend on where
    # the trace is read.
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _show(value: Any) -> str:
    """Say what `value` is, without its length or its escapes reaching the reader's terminal."""
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, list | tuple):
        return "a list"
    return safe_text(repr(value), 60)
