"""`analyze`: from any source of transitions to a report."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from detailed_balance.analyzers import (
    BalanceReport,
    Potential,
    Progress as SolverProgress,
    Trajectory,
    TransitionCounts,
    ViolationFunction,
    check_balance,
    estimate_potential,
    find_traps,
)
from detailed_balance.analyzers.balance.loops import Correction
from detailed_balance.analyzers.balance.pairs import Errors
from detailed_balance.analyzers.errors import ConvergenceError, InsufficientDataError
from detailed_balance.analyzers.kernel import Attempts
from detailed_balance.analyzers.runs.labels import ContextLike
from detailed_balance.report._run_findings import study_runs
from detailed_balance.report.report import Report
from detailed_balance.sources.runs import find_runs
from detailed_balance.sources.source import (
    Progress,
    SourceInfo,
    count_roots,
    list_allowed_moves,
    load_counts,
)

_ESTIMATING = "Estimating the potential"


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
        Runs that were as they should be, from any kind of source and taken whole; they distinguish
        habitual loops from suspect ones.
    context : mapping, optional
        Keep only the transitions of `source` that carry all these labels.
    errors, correction
        As for `check_balance`.
    trajectories : iterable of Trajectory
        Runs with their success, which distinguish habitual from suspect loops; by default those
        of a store or a file, unless it holds more than 500,000 transitions.
    agent : object
        The compiled graph of the agent; a loop is then structural only where the graph leaves no
        other exit from any of its states.
    min_visits : float
        As for `find_traps`, and for runs that are stuck (`RepetitionRules`).
    runs : int
        How many of the runs that matter to list; 0 to study no single run.
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
    announce = progress or (lambda stage, done, total: None)
    counts, info = load_counts(source, context=context, progress=progress, **reader_options)
    good, good_info = None, None
    if baseline is not None:
        good, good_info = load_counts(baseline, progress=progress, **reader_options)
        good = good.without_boundaries()
    if not counts.without_boundaries().total:
        raise InsufficientDataError(_nothing_recorded(counts, info))
    announce(_ESTIMATING, 0, 0)
    potential, warnings = _estimate(counts, violation, attempts, min_attempts, announce)
    announce("Testing loops", 0, 0)
    fields = {"success_field": success_field, "cost_field": cost_field}
    in_runs = counts.total if info.trajectories else None
    found, skipped = (
        find_runs(source, in_runs, context, fields=fields, **reader_options)
        if trajectories is None
        else (list(trajectories), ())
    )
    if found and any(run.parent for run in found) and _hold_all(found, counts):
        info = count_roots(info, found)
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
    announce("Looking for traps", 0, 0)
    traps = find_traps(counts, min_visits=min_visits)
    studied = None
    if runs and found:
        announce("Studying the runs", 0, 0)
        studied = study_runs(found, potential, balance, traps, keep=runs)
    return Report(counts, potential, balance, traps, info, good_info, warnings, studied)


def _estimate(
    counts: TransitionCounts,
    violation: ViolationFunction | None,
    attempts: Attempts,
    min_attempts: int,
    announce: Progress,
) -> tuple[Potential, tuple[str, ...]]:
    def report_step(step: SolverProgress) -> None:
        announce(_ESTIMATING, step.percent, 100)

    try:
        potential = estimate_potential(
            counts,
            violation=violation,
            attempts=attempts,
            min_attempts=min_attempts,
            progress=report_step,
        )
    except ConvergenceError as error:
        left, why = error.estimate.residuals.flow, "the solve was interrupted, " * error.interrupted
        warning = f"Take V with care: {why}its minimum was not reached (flow residual {left:.0e})."
        return error.estimate, (warning,)
    return potential, ()


def _check(counts: TransitionCounts, potential: Potential, **settings: Any) -> BalanceReport:
    try:
        return check_balance(counts, potential, **settings)
    except InsufficientDataError as error:
        if error.partial is None:
            raise
        without_loops: BalanceReport = error.partial  # the verdict says so
        return without_loops


def _hold_all(runs: Iterable[Trajectory], counts: TransitionCounts) -> bool:
    """Say whether every transition counted is of one of the runs; a handler keeps the last ones."""
    return sum(map(len, runs)) == int(counts.attempts.sum())


def _nothing_recorded(counts: TransitionCounts, info: SourceInfo) -> str:
    escapes = int(counts.escapes.sum())
    seen = f"only {escapes:,} escapes" if escapes else "nothing at all"
    return (
        f"{info.description} holds no transition between states ({seen}). Attach the handler to "
        "the run as {'callbacks': [handler]}, or choose another state function"
    )
