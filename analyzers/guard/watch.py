"""`RunWatch`: one run under a guard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from detailed_balance.analyzers.guard.scores import RunScore
from detailed_balance.analyzers.repetition.walk import RepetitionTracker
from detailed_balance.analyzers.runs.table import RunTable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from detailed_balance.analyzers.guard._texts import Texts
    from detailed_balance.analyzers.runs.trajectory import StepFacts

__all__ = ["RunWatch", "run_maxima", "run_risks"]


class RunWatch:
    """One run under a guard: its risk so far, and whether and where it is to be stopped.

    Attributes
    ----------
    threshold : float or None
        The risk that it may have; None where nothing stops it.
    steps : int
        The moves so far.
    risk : float or None
        The risk after the last of them; None before the first.
    stopped_at : int or None
        The step at which the risk exceeded the threshold for the first time.
    """

    def __init__(self, score: RunScore, threshold: float | None, promise: str | None) -> None:
        self.threshold = threshold
        self.steps = 0
        self.risk: float | None = None
        self.stopped_at: int | None = None
        self._state = score.start()
        self._reads_steps = getattr(score, "reads_steps", False)
        self._promise = promise
        self._repetition = RepetitionTracker()
        self._sentence = ""

    @property
    def stopped(self) -> bool:
        """Whether the risk has exceeded the threshold at any step."""
        return self.stopped_at is not None

    @property
    def repetition(self) -> str:
        """What it does over and over, as a part of a sentence."""
        return self._repetition.describe()

    def update(
        self,
        source: str,
        target: str | None,
        facts: StepFacts | None = None,
        text: str | None = None,
    ) -> float:
        """Add one move, and return the risk of the run so far.

        Parameters
        ----------
        source, target : str
            The move; None for an escape.
        facts : StepFacts, optional
            What is known of it.
        text : str, optional
            What the agent wrote.
        """
        self._repetition.update(source, target)
        self.steps += 1
        known: dict[str, Any] = {"facts": facts, "text": text} if self._reads_steps else {}
        self.risk = float(self._state.update(source, target, **known))
        if not self.stopped and self.threshold is not None and self.risk > self.threshold:
            self.stopped_at = self.steps
            self._sentence = self._describe("stopped")
        return self.risk

    def describe(self) -> str:
        """Say in one sentence how it stands, or why and where it was stopped."""
        return self._sentence or self._describe("not stopped")

    def _describe(self, verdict: str) -> str:
        side = "above" if verdict == "stopped" else "not above"
        if self.risk is None:
            risk = "nothing seen yet"
        elif self.threshold is None:
            risk = f"risk {self.risk:.3g}, and no threshold"
        else:
            risk = f"risk {self.risk:.3g} {side} the threshold {self.threshold:.3g}"
        return f"{verdict} at step {self.steps}: {risk}{self._rule()}; {self.repetition}"

    def _rule(self) -> str:
        """Return the reason that the score gives; a declared threshold is not a promise."""
        reason = getattr(self._state, "reason", None)
        text = f" ({reason()})" if reason is not None and self.risk is not None else ""
        declared = self.threshold is not None and self._promise is None
        return f"{text} by a rule, without a promise" if declared else text


def run_risks(score: RunScore, table: RunTable, texts: Texts | None = None) -> NDArray[np.float64]:
    """(m,) array: the risk after each of the m moves of runs, as live.

    Examples
    --------
    >>> from detailed_balance.analyzers import StepCount, Trajectory
    >>> runs = RunTable.of([Trajectory((("a", "a"),) * 2)])
    >>> run_risks(StepCount(), runs).tolist()
    [1.0, 2.0]
    """
    risks = getattr(score, "risks", None)
    if risks is not None:
        more = {"texts": texts} if getattr(score, "reads_steps", False) else {}
        return np.asarray(risks(table, **more))
    found = np.full(table.total, np.nan)
    for run, begin in zip(table, table.offsets.tolist(), strict=False):
        watch, written = RunWatch(score, None, None), (texts or {}).get(run.name or "", ())
        for step, (source, target) in enumerate(run.moves):
            facts = run.facts[step] if run.facts else None
            text = written[step] if step < len(written) else None
            found[begin + step] = watch.update(source, target, facts, text)
    return found


def run_maxima(score: RunScore, table: RunTable, texts: Texts | None) -> list[float]:
    """Return the highest risk of each run; -inf for one without moves."""
    moved, maxima = np.flatnonzero(table.lengths), np.full(len(table), -np.inf)
    if len(moved):
        maxima[moved] = np.maximum.reduceat(run_risks(score, table, texts), table.offsets[moved])
    return maxima.tolist()
