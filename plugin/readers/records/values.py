"""From the values of a record to what a `Transition` or a `Step` holds; and `Step` itself."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from numbers import Real
from typing import TYPE_CHECKING, Any

from detailed_balance.analyzers import Outcome
from detailed_balance.analyzers.runs.labels import Context
from detailed_balance.analyzers.runs.trajectory import StepFacts
from detailed_balance.callbacks import Ending, Transition
from detailed_balance.render.formatting import safe_text

if TYPE_CHECKING:
    from detailed_balance.callbacks.facts import TaskFacts

__all__ = [
    "BadRecordError",
    "Step",
    "TableMove",
    "merge_endings",
    "parse_cost",
    "parse_count",
    "parse_flag",
    "parse_integer",
    "parse_labels",
    "parse_outcome",
    "parse_state",
    "parse_text",
    "parse_time",
    "state_keys",
]

# Counts and steps go into 64-bit columns and arrays.
_INTEGER_BOUND = 2**63
_FLAGS = {
    **dict.fromkeys(("1", "1.0", "true"), True),
    **dict.fromkeys(("0", "0.0", "false"), False),
}
_JUDGED = {**_FLAGS, "success": True, "failure": False}


class BadRecordError(Exception):
    """One record is wrong; the reader adds the file and the line."""


def parse_state(value: Any, name: str) -> str:
    """Return a state key: a text, or a number as text."""
    state = parse_text(value, name)
    if not state:
        raise BadRecordError(f"{name!r} is empty; a state is a text of one character or more")
    return state


def parse_count(value: Any, name: str) -> int:
    """Return a count: a whole number, 0 or more."""
    count = parse_integer(value, name)
    if count is None or count < 0:
        raise BadRecordError(f"{name!r} must be a whole number, 0 or more; got {_show(value)}")
    return count


def parse_labels(record: Mapping[str, Any], values: Mapping[str, Any]) -> Context:
    """Return the labels that `record` carries in `context`, and in the fields of `values`.

    Of a field `context` that holds a mapping, the texts and numbers become labels; nested values
    are not labels.
    """
    nested = record.get("context")
    labels = {} if nested is None else _plain_values(nested)
    for name, value in values.items():
        if name == "context" and isinstance(value, Mapping):
            continue
        text = str(value) if isinstance(value, bool) else parse_text(value, name)
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


def parse_text(value: Any, name: str) -> str | None:
    """Return a text, or a number as text; None stays None."""
    if type(value) is str:
        return value if value.isascii() else _without_surrogates(value)
    if value is None:
        return None
    number = isinstance(value, Real) and not isinstance(value, bool)
    if not number or value != value or value in (math.inf, -math.inf):
        raise BadRecordError(f"{name!r} must be a text or a number; got {_show(value)}")
    return str(value)


def _without_surrogates(text: str) -> str:
    # Half a surrogate pair, which JSON can spell, is not a text that a file or database takes.
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def parse_integer(value: Any, name: str) -> int | None:
    """Return a whole number of 64 bits; None stays None."""
    if value is None:
        return None
    try:
        return _to_integer(value)
    except OverflowError:
        raise BadRecordError(
            f"{name!r} must be a whole number below 2**63; got {_show(value)}"
        ) from None
    except (TypeError, ValueError):
        raise BadRecordError(f"{name!r} must be a whole number; got {_show(value)}") from None


def _to_integer(value: Any) -> int:
    if isinstance(value, str):
        # 3.0 is let pass: so pandas writes integers where some are missing.
        value = float(value) if "." in value else int(value)
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        raise ValueError
    number = int(value)
    if number != value:
        raise ValueError
    if abs(number) >= _INTEGER_BOUND:
        raise OverflowError
    return number


def parse_time(value: Any, name: str) -> float | None:
    """Return seconds since 1970; None stays None."""
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
    if isinstance(value, datetime):
        moment = value
    else:
        try:
            return float(value)
        except ValueError:
            moment = datetime.fromisoformat(value)
    # A moment without a time zone is in UTC, so that a result does not depend on where
    # the trace is read.
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _show(value: Any) -> str:
    """Say what `value` is, without its length or its escapes reaching the reader's terminal."""
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, list | tuple):
        return "a list"
    return safe_text(repr(value), 60)


def parse_cost(value: Any, name: str) -> float:
    """Return what something cost; nothing is 0.

    Examples
    --------
    >>> parse_cost("0.25", "usd"), parse_cost(" ", "usd")
    (0.25, 0.0)
    """
    text = "" if value is None else str(value).strip()
    try:
        cost = float(text or "0")
    except ValueError:
        cost = math.nan
    if not math.isfinite(cost):
        raise BadRecordError(f"{name!r} is {_show(value)}; a cost is a number")
    return cost


def parse_outcome(
    value: Any, name: str, success_values: Collection[str] = ()
) -> tuple[Outcome | None, bool | None]:
    """Return what a value says of the end of a run: its outcome, and its success.

    Success is true, 1 or "success", or false, 0 or "failure"; an outcome is one of the values of
    `Outcome`. An empty value says nothing. Where `success_values` are given they mean success, in
    upper or lower case, and any other value means failure; ``">=0.5"`` is any number from 0.5 on.

    Examples
    --------
    >>> parse_outcome(1.0, "reward"), parse_outcome("failed", "status")
    ((None, True), (<Outcome.FAILED: 'failed'>, None))
    >>> parse_outcome("resolved", "status", ["resolved"]), parse_outcome("open", "s", ["resolved"])
    ((None, True), (None, False))
    >>> parse_outcome(0.7, "score", [">=0.5"])
    (None, True)
    """
    word = "" if value is None else str(value).strip().lower()
    if success_values and word:
        words = {word, word.removesuffix(".0")}  # 1 may be kept as 1.0
        texts = [each.strip().lower() for each in success_values]
        least = [float(each.removeprefix(">=")) for each in texts if each.startswith(">=")]
        return None, not words.isdisjoint(texts) or bool(least and _score(word, name) >= min(least))
    if word in _JUDGED or not word:
        return None, _JUDGED.get(word)
    try:
        return Outcome(word), None
    except ValueError:
        allowed = ", ".join([*_JUDGED, *Outcome])
        raise BadRecordError(f"{name!r} must be one of {allowed}; got {_show(value)}") from None


def _score(word: str, name: str) -> float:
    """Return a number that is compared with a least one; true is 1 and false is 0."""
    try:
        score = float(_FLAGS.get(word, word))
    except ValueError:
        score = math.nan
    if math.isnan(score):
        raise BadRecordError(f"{name!r} must be a number, true or false; got {_show(word)}")
    return score


def parse_flag(value: Any, name: str) -> bool:
    """Return whether something holds: true or 1, false or 0.

    Examples
    --------
    >>> parse_flag("True", "failed"), parse_flag(0, "failed")
    (True, False)
    """
    flag = _FLAGS.get(str(value).strip().lower())
    if flag is None:
        raise BadRecordError(f"{name!r} must be true, 1, false or 0; got {_show(value)}")
    return flag


def state_keys(value: Any) -> tuple[str, ...]:
    """Return what a state function gave as keys; none at all is not a state.

    Examples
    --------
    >>> state_keys(["search", "read"]), state_keys(None)
    (('search', 'read'), ())
    """
    several = isinstance(value, list | tuple | set | frozenset)
    keys: tuple[Any, ...] = tuple(value) if several else (value,)
    if value is None:
        return ()
    if not all(isinstance(key, str) and key for key in keys):
        raise BadRecordError(f"the state function must give texts; it gave {_show(value)}")
    return tuple(map(_without_surrogates, keys))


@dataclass(frozen=True, slots=True)
class Step:
    """One step of one trajectory.

    Parameters
    ----------
    trajectory : str or None
        The agent run; None where the trace is one run without a name.
    state : str or None
        The state reached; None for an attempt that reached none. START and END keep their meaning.
    step : int or None
        Its number; steps of one number happened side by side.
    time : float or None
        Seconds since 1970 (UTC); orders the steps that have no number.
    context : Context
        Labels such as model, prompt or version, sorted by name.
    event : str or None
        An id of its own; the same one again in the same trajectory is a duplicate.
    facts : StepFacts or None
        What is known of it beyond its state.
    cost : float or None
        What it cost.
    outcome : Outcome or None
        What its record says of how its run stopped.
    success : bool or None
        What its record says of the success of its run.
    told : TaskFacts or None
        What its record tells of its facts, before its run is known.

    Examples
    --------
    >>> Step("thread-1", "search", step=3).state
    'search'
    """

    trajectory: str | None
    state: str | None
    step: int | None = None
    time: float | None = None
    context: Context = ()
    event: str | None = None
    facts: StepFacts | None = None
    cost: float | None = None
    outcome: Outcome | None = None
    success: bool | None = None
    told: TaskFacts | None = None


@dataclass(frozen=True, slots=True)
class TableMove(Transition):
    """A move of which its record tells more.

    Parameters
    ----------
    cost : float or None
        What it cost; where it stands for several, all of them together.
    told : tuple of TaskFacts
        What is told of the steps side by side that it is.

    Examples
    --------
    >>> TableMove("plan", "search", cost=0.5).cost
    0.5
    """

    cost: float | None = None
    told: tuple[TaskFacts, ...] = ()


def merge_endings(last: Ending, new: Ending) -> Ending:
    """Return what is known of an end after `new`, which may judge it alone.

    Examples
    --------
    >>> merge_endings(Ending("T", Outcome.FAILED), Ending("T", success=True))
    Ending(trajectory='T', outcome=<Outcome.FAILED: 'failed'>, error=None, success=True, context=(), time=None)
    """  # noqa: E501 - a doctest's output stands in one line
    if new.outcome is None:
        return last if new.success is None else replace(last, success=new.success)
    return new if new.success is not None else replace(new, success=last.success)
