"""`Transition`, one move of one agent run, and `Ending`, its outcome."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeGuard

from detailed_balance.analyzers import Outcome
from detailed_balance.analyzers.errors import InvalidInputError

__all__ = [
    "Context",
    "ContextLike",
    "Ending",
    "Transition",
    "is_context",
    "make_context",
    "matches_context",
]

Context: TypeAlias = tuple[tuple[str, str], ...]
"""The labels of a transition, sorted by name: ``(("model", "gpt-4o"), ("version", "2"))``."""

ContextLike: TypeAlias = Mapping[str, str] | Context | None
"""What users may give for a context: a mapping of labels, a `Context`, or nothing."""


def make_context(labels: ContextLike) -> Context:
    """Return `labels` as a `Context`; a tuple, such as a `Context`, comes back as it is.

    Raises
    ------
    InvalidInputError
        Where `labels` is no mapping.

    Examples
    --------
    >>> make_context({"version": "2", "model": "gpt-4o"})
    (('model', 'gpt-4o'), ('version', '2'))
    """
    if type(labels) is tuple:
        return labels
    if not labels:
        return ()
    if not isinstance(labels, Mapping):
        raise InvalidInputError(
            f"a context maps labels to values, like {{'model': 'gpt-4o'}}; got {labels!r}"
        )
    return tuple(sorted((str(name), str(value)) for name, value in labels.items()))


def is_context(key: Any) -> TypeGuard[Context]:
    """Say whether `key` is a tuple of (name, value) pairs of str, sorted by name.

    Examples
    --------
    >>> is_context((("model", "gpt-4o"),)), is_context("model"), is_context(())
    (True, False, True)
    """
    try:
        return type(key) is tuple and key == make_context(dict(key))
    except (TypeError, ValueError):
        return False


def matches_context(context: Context, wanted: ContextLike) -> bool:
    """Say whether `context` carries every label of `wanted`; None is matched by all."""
    return wanted is None or set(make_context(wanted)) <= set(context)


@dataclass(frozen=True, slots=True)
class Transition:
    """One move source -> target inside one trajectory.

    Parameters
    ----------
    source : str
        The state that was left; START for the first move of a trajectory.
    target : str or None
        The state that was reached; END for the last move; None for an escape, an attempt that
        reached no state (rejected, unparsable, error).
    trajectory : str or None
        The agent run that it belongs to.
    context : Context
        Labels such as model, prompt or version, sorted by name.
    step : int or None
        The place in the trajectory, as the agent counts its steps.
    time : float or None
        Seconds since 1970 (UTC).
    count : int
        How many such moves this stands for; above 1 only where a source has counted already.

    Examples
    --------
    >>> Transition("plan", "search", trajectory="thread-1")
    Transition(source='plan', target='search', trajectory='thread-1', context=(), step=None, time=None, count=1)
    """  # noqa: E501 - a doctest's output stands in one line

    source: str
    target: str | None
    trajectory: str | None = None
    context: Context = ()
    step: int | None = None
    time: float | None = None
    count: int = 1


@dataclass(frozen=True, slots=True)
class Ending:
    """The outcome of one trajectory, or a later judgement of whether it succeeded.

    Parameters
    ----------
    trajectory : str or None
        The agent run.
    outcome : Outcome or None
        Its outcome; None where this is a judgement alone.
    error : str or None
        The type of the error that it raised.
    success : bool or None
        The judgement, where there is one: whether the run did its work.
    context : Context
        Labels such as model, prompt or version, sorted by name.
    time : float or None
        Seconds since 1970 (UTC).

    Examples
    --------
    >>> Ending("thread-1", Outcome.FAILED, error="ValueError").outcome.success
    False
    """

    trajectory: str | None
    outcome: Outcome | None = None
    error: str | None = None
    success: bool | None = None
    context: Context = ()
    time: float | None = None
