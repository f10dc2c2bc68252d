"""Whether steps get a run anywhere: stale, failed, new, or not known."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

from detailed_balance.analyzers.runs.table import RunTable
from detailed_balance.analyzers.runs.trajectory import StepFacts

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["StepProgress", "classify_step", "classify_steps"]


class StepProgress(IntEnum):
    """What a step brought; the first that holds."""

    STALE = 0
    """The same call with the same answer came before in the run."""

    FAILED = 1
    """It failed, or reached no state."""

    NEW = 2
    """A new call, or an answer that this call did not get before."""

    UNKNOWN = 3
    """The record does not say: of a step that answers no call, nobody knows what it was given."""


def classify_step(target: str | None, facts: StepFacts | None) -> StepProgress:
    """Say what one step brought.

    Parameters
    ----------
    target : str or None
        The state that it reached.
    facts : StepFacts or None
        What is known of it.

    Examples
    --------
    >>> classify_step("bash", StepFacts(call=3, answer=3)).name, classify_step("bash", None).name
    ('NEW', 'UNKNOWN')
    """
    if facts is not None and facts.stale:
        return StepProgress.STALE
    if target is None or (facts is not None and facts.failed):
        return StepProgress.FAILED
    if facts is None or facts.call is None or (facts.repeats and facts.answer is None):
        return StepProgress.UNKNOWN
    return StepProgress.NEW


def classify_steps(table: RunTable) -> NDArray[np.int8]:
    """(m,) array of int8: what each of the m moves of runs brought, as `classify_step` says.

    Examples
    --------
    >>> from detailed_balance.analyzers import Trajectory
    >>> facts = (StepFacts(call=1, answer=1), StepFacts(call=1, answer=1, stale=True), None)
    >>> run = Trajectory((("a", "a"), ("a", "a"), ("a", None)), facts=facts)
    >>> [StepProgress(step).name for step in classify_steps(RunTable.of([run]))]
    ['NEW', 'STALE', 'FAILED']
    """
    found = np.full(table.total, StepProgress.UNKNOWN, dtype=np.int8)
    facts = table.facts
    if facts is not None:
        new = (facts.call >= 0) & (~facts.repeats | (facts.answer >= 0))
        found[facts.known & new] = StepProgress.NEW
        found[facts.known & facts.failed] = StepProgress.FAILED
    found[table.target < 0] = StepProgress.FAILED
    if facts is not None:
        found[facts.known & facts.stale] = StepProgress.STALE
    return found
