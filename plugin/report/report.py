"""`analyze`: from whatever holds transitions to a report."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detailed_balance.analyzers.action import ViolationFunction
from detailed_balance.analyzers.balance.check import BalanceReport, check_balance
from detailed_balance.analyzers.balance.loops import Correction
from detailed_balance.analyzers.balance.pairs import Errors
from detailed_balance.analyzers.balance.violation import Violation
from detailed_balance.analyzers.convergence import BALANCED, Progress as SolverProgress
from detailed_balance.analyzers.counts import TransitionCounts
from detailed_balance.analyzers.errors import ConvergenceError, InsufficientDataError
from detailed_balance.analyzers.kernel import Attempts
from detailed_balance.analyzers.markov.traps import TrapReport, find_traps
from detailed_balance.analyzers.potential.estimate import Potential, estimate_potential
from detailed_balance.analyzers.results import Result
from detailed_balance.analyzers.runs.trajectory import Trajectory
from detailed_balance.callbacks.transition import ContextLike
from detailed_balance.render.terminal import print_plainly, render_report
from detailed_balance.report._run_findings import RunFindings, study_runs
from detailed_balance.report.sections import CHEAP_ERRORS
from detailed_balance.report._verdict import Verdict, findings, judge
from detailed_balance.sources._outcomes import find_runs, list_allowed_moves
from detailed_balance.sources.source import Progress, SourceInfo, load_counts

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType

__all__ = ["Report", "analyze"]

_ESTIMATING = "Estimating the potential"


@dataclass(frozen=True, slots=True, eq=False)
class Report(Result):
    """What `analyze` found; printing it shows it, and so does a notebook.

    Parameters
    ----------
    counts : TransitionCounts
        What was analysed, START and END included.
    potential : Potential
        Where the agent wants to go.
    balance : BalanceReport
        What drives it in circles.
    traps : TrapReport
        Where it is stuck.
    source : SourceInfo
        Where the counts came from.
    baseline : SourceInfo or None
        What they were compared with.
    warnings : tuple of str
        What the reader must know before believing the numbers.
    runs : RunFindings or None
        What single runs did; None where the source tells none, or holds too many.
    """

    counts: TransitionCounts
    potential: Potential
    balance: BalanceReport
    traps: TrapReport
    source: SourceInfo
    baseline: SourceInfo | None = None
    warnings: tuple[str, ...] = ()
    runs: RunFindings | None = None

    @property
    def verdict(self) -> Verdict:
        """The answer in words."""
        return judge(
            self.balance,
            self.traps,
            transitions=self.counts.without_boundaries().total,
            compared=self.baseline is not None,
            runs=None if self.runs is None else self.runs.report,
            warnings=self.warnings,
        )

    @property
    def findings(self) -> tuple[Violation, ...]:
        """The violations that the verdict goes by: suspect ones first, then unclassified."""
        return findings(self.balance)

    def _content(self) -> dict[str, Any]:
        # Of more states there are no standard errors, which would take minutes.
        cheap = len(self.potential.states) <= CHEAP_ERRORS
        return {
            "version": version("detailed-balance"),
            "verdict": self.verdict,
            "source": self.source,
            "baseline": self.baseline,
            "transitions": self.counts.without_boundaries().total,
            "escapes": int(self.counts.escapes.sum()),
            "potential": self.potential.to_dict(errors=cheap),
            **self._values("balance", "traps", "runs", "warnings"),
        }

    def to_json(self, path: str | os.PathLike[str]) -> None:
        """Write `to_dict` as JSON."""
        text = json.dumps(self.to_dict(), indent=1, allow_nan=False)
        Path(path).write_text(text + "\n", encoding="utf-8")

    def to_html(self, path: str | os.PathLike[str]) -> None:
        """Write one self-contained page, with pictures."""
        from detailed_balance.report.document import render_page  # loads matplotlib

        Path(path).write_text(render_page(self), encoding="utf-8")

    def __str__(self) -> str:
        return print_plainly(self)

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        yield from render_report(self)

    def _repr_html_(self) -> str:
        from detailed_balance.report.document import render_fragment  # loads matplotlib

        return render_fragment(self)


def analyze(
    source: object,
    *,
    alpha: float = 0.05,
    violation: ViolationFunction | None = None,
    attempts: Attempts = "observed",
    min_attempts: int = 2,
    baseline: object = None,
    context: ContextLike = None,
    errors: Errors = "multinomial",
    correction: Correction = "bh",
    trajectories: Iterable[Trajectory] | None = None,
    agent: object = None,
    min_visits: float = 10.0,
    runs: int = 50,
    success_field: str | None = None,
    cost_field: str | None = None,
    progress: Progress | None = None,
    **reader_options: Any,
) -> Report:
    """Find where an agent wants to go, what drives it in circles, and where it is stuck.

    Parameters
    ----------
    source : object
        A `TransitionCallbackHandler`, `TransitionGraph`, `TransitionCounts` or `TransitionStore`,
        a list of `Trajectory`, the URL of a store, the path of a file, or a directed networkx
        graph.
    alpha : float
        The false discovery rate of the loops that are called driven.
    violation : ViolationFunction
        K, `Exponential()` by default.
    attempts, min_attempts
        As for `estimate_kernel`; an array follows the states without START and END.
    baseline : object
        Runs that were as they should be, from any kind of source and taken whole; they tell
        habitual loops from suspect ones.
    context : mapping, optional
        Keep only the transitions of `source` that carry all these labels.
    errors, correction
        As for `check_balance`.
    trajectories : iterable of Trajectory
        Runs with their success, which tell habitual loops from suspect ones; by default those
        of a store or a file, unless it holds more than 500,000 transitions.
    agent : object
        The compiled graph of the agent; a loop is then structural only where the graph leaves no
        other exit from any of its states.
    min_visits : float
        As for `find_traps`, and for runs that are stuck (`RunRules`).
    runs : int
        How many of the runs that matter to list; 0 to look at no single run.
    success_field, cost_field : str, optional
        Of a file: as for `read_trajectories`.
    progress : callable, optional
        Called with the stage of the work, how much of it is done and how much there is (0 where
        that is not known). Ctrl-C while the potential is estimated ends only that: the report
        goes on from the estimate so far, with a warning.
    **reader_options
        As for `read_transitions`, for `source` and `baseline` alike.

    Returns
    -------
    Report
        The answers, first in words.

    Raises
    ------
    InsufficientDataError
        Where there are no transitions, or fewer than two states.
    InvalidInputError
        Where an argument has a value that is not allowed.
    ReadError
        Where a file or a store cannot be read.

    Examples
    --------
    >>> edges = [("plan", "search", 90), ("search", "critic", 90), ("critic", "plan", 90)]
    >>> edges += [(target, source, 10) for source, target, _ in edges]
    >>> report = analyze(TransitionCounts.from_edges(edges))
    >>> report.verdict.headline
    'Detailed balance is broken: 1 driven loop'
    """
    allowed = list_allowed_moves(agent)
    tell = progress or (lambda stage, done, total: None)
    counts, info = load_counts(source, context=context, progress=progress, **reader_options)
    good, good_info = None, None
    if baseline is not None:
        good, good_info = load_counts(baseline, progress=progress, **reader_options)
        good = good.without_boundaries()
    if not counts.without_boundaries().total:
        raise InsufficientDataError(_nothing_recorded(counts, info))
    tell(_ESTIMATING, 0, 0)
    potential, warnings = _estimate(counts, violation, attempts, min_attempts, tell)
    tell("Testing loops", 0, 0)
    fields = {"success_field": success_field, "cost_field": cost_field}
    in_runs = counts.total if info.trajectories else None
    found, skipped = (
        find_runs(source, in_runs, context, fields=fields, **reader_options)
        if trajectories is None
        else (list(trajectories), ())
    )
    balance = _check(
        counts,
        potential,
        alpha=alpha,
        errors=errors,
        correction=correction,
        baseline=good,
        trajectories=found,
        graph=allowed,
    )
    if balance.violations:
        warnings = (*warnings, *skipped)
    tell("Looking for traps", 0, 0)
    traps = find_traps(counts, min_visits=min_visits)
    studied = None
    if runs and found:
        tell("Studying the runs", 0, 0)
        studied = study_runs(found, potential, balance, traps, keep=runs)
    return Report(counts, potential, balance, traps, info, good_info, warnings, studied)


def _estimate(
    counts: TransitionCounts,
    violation: ViolationFunction | None,
    attempts: Attempts,
    min_attempts: int,
    tell: Progress,
) -> tuple[Potential, tuple[str, ...]]:
    def tell_step(step: SolverProgress) -> None:
        tell(_ESTIMATING, _percent_done(step.residuals.flow), 100)

    try:
        potential = estimate_potential(
            counts,
            violation=violation,
            attempts=attempts,
            min_attempts=min_attempts,
            progress=tell_step,
        )
    except ConvergenceError as error:
        left, why = error.estimate.residuals.flow, "the solve was interrupted, " * error.interrupted
        warning = f"Take V with care: {why}its minimum was not reached (flow residual {left:.0e})."
        return error.estimate, (warning,)
    return potential, ()


def _percent_done(imbalance: float) -> int:
    """Return how far the digits of the flow's balance have come, of those that are wanted."""
    if not 0 < imbalance < 1:
        return 100 if imbalance == 0 else 0
    return min(100, round(100 * math.log(imbalance) / math.log(BALANCED)))


def _check(counts: TransitionCounts, potential: Potential, **settings: Any) -> BalanceReport:
    try:
        return check_balance(counts, potential, **settings)
    except InsufficientDataError as error:
        if error.partial is None:
            raise
        without_loops: BalanceReport = error.partial  # the verdict says so
        return without_loops


def _nothing_recorded(counts: TransitionCounts, info: SourceInfo) -> str:
    escapes = int(counts.escapes.sum())
    seen = f"only {escapes:,} escapes" if escapes else "nothing at all"
    return (
        f"{info.description} holds no transition between states ({seen}). Attach the handler to "
        "the run as {'callbacks': [handler]}, or choose another state function"
    )
