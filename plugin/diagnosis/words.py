"""How findings are said: places, numbers of runs, and what steps brought."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from detailed_balance.callbacks.names import INVALID, UNKNOWN
from detailed_balance.render.formatting import (
    count_noun,
    join_states,
    safe_text,
    shorten_states,
)

if TYPE_CHECKING:
    from detailed_balance.analyzers import RepeatingRun

__all__ = ["UNJUDGED", "UNNAMED", "count_of", "say_place", "say_progress", "say_times"]

UNJUDGED = "nobody judged these runs: success means that they ended (store.judge)"
"""What success means where it is that of outcomes."""

UNNAMED = "unnamed"
"""What runs without a label `graph` are called beside others that have one."""

_UNITS = {"shuttle": "change", "cycle": "round"}


def count_of(number: int, total: int, noun: str = "run") -> str:
    """Say how many of how many.

    Examples
    --------
    >>> count_of(1, 1), count_of(10, 1200)
    ('1 of 1 run', '10 of 1,200 runs')
    """
    return f"{number:,} of {count_noun(total, noun)}"


def say_place(kind: str, states: Sequence[str], *, one: bool = False) -> str:
    """Say what runs do over and over, after "runs" or, where it is one, after "run".

    Examples
    --------
    >>> say_place("shuttle", ("a", "b")), say_place("stay", ("hex!unknown",), one=True)
    ('go back and forth between a and b', 'asks for hex, a tool that does not exist')
    """
    if kind == "stay":
        if states[0].endswith(UNKNOWN):
            tool = safe_text(states[0].removesuffix(UNKNOWN), 40)
            return f"{'asks' if one else 'ask'} for {tool}, a tool that does not exist"
        if states[0].endswith(INVALID):
            schema = safe_text(states[0].removesuffix(INVALID), 40)
            return f"{'answers' if one else 'answer'} with what is not a valid {schema}"
        return f"{'stays' if one else 'stay'} in {safe_text(states[0], 40)}"
    verb = "goes" if one else "go"
    if kind == "shuttle":
        return f"{verb} back and forth between {' and '.join(shorten_states(states, 40))}"
    return f"{verb} round {join_states((*states, states[0]))}"


def say_times(kind: str, times: int) -> str:
    """Say how often, in the unit of a kind of repetition.

    Examples
    --------
    >>> say_times("stay", 14), say_times("cycle", 1)
    ('14 times in a row', '1 round')
    """
    if kind == "stay":
        return f"{times:,} {'time' if times == 1 else 'times'} in a row"
    return count_noun(times, _UNITS[kind])


def say_progress(runs: Iterable[RepeatingRun]) -> str:
    """Say what the repeated steps brought; empty where most of it is not known."""
    rows = list(runs)
    number = {n: sum(getattr(r, n) for r in rows) for n in ("stale", "failed", "new", "unknown")}
    steps = sum(number.values())
    if 2 * number["stale"] >= steps > 0:
        return "the same call with the same answer"
    if 2 * number["failed"] >= steps > 0:
        return "failed attempts"
    if 2 * (number["stale"] + number["failed"]) >= steps > 0:
        return "the same call with the same answer, or a failed attempt"
    if 10 * number["new"] >= 9 * steps > 0:
        return "each call or answer was new"
    return ""
