"""`Ending`, how one agent run stopped, or what somebody judged of it."""

from __future__ import annotations

from dataclasses import dataclass

from detailed_balance.analyzers.runs.trajectory import Outcome
from detailed_balance.callbacks.transition import Context

__all__ = ["Ending"]


@dataclass(frozen=True, slots=True)
class Ending:
    """How one trajectory stopped, or the judgement of somebody who looked at it later.

    Parameters
    ----------
    trajectory : str or None
        The agent run.
    outcome : Outcome or None
        How it stopped; None where this is a judgement alone.
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
