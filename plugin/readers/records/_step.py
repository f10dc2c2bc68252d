"""`Step`, what one agent run did at one place of a trace that tells states, not moves."""

from __future__ import annotations

from dataclasses import dataclass

from detailed_balance.callbacks.transition import Context

__all__ = ["Step"]


@dataclass(frozen=True, slots=True)
class Step:
    """One step of one trajectory.

    Parameters
    ----------
    trajectory : str or None
        The agent run; None where the trace is one run without a name.
    state : str or None
        The state reached; None for an attempt that reached none. START and END are taken for what
        they are.
    step : int or None
        Its number; steps of one number happened side by side.
    time : float or None
        Seconds since 1970 (UTC); orders the steps that have no number.
    context : Context
        Labels such as model, prompt or version, sorted by name.
    event : str or None
        An id of its own; the same one again in the same trajectory is a duplicate.

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
