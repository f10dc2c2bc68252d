"""Numbers and paths in words that are safe to print."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite, isnan

from detailed_balance.render.formatting import safe_text

__all__ = ["count_noun", "format_number", "format_pvalue", "join_states", "shorten_states"]

STATES_SHOWN = 6
"""Of a longer path the middle is left out."""


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
