"""`measure`: what findings rest on, measured on the runs or counts of a record."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from detailed_balance.analyzers import (
    BalanceReport,
    Potential,
    Progress as SolverProgress,
    RunTable,
    TransitionCounts,
    ViolationFunction,
    check_balance,
    estimate_potential,
    find_traps,
)
from detailed_balance.analyzers.balance.loops import Correction
from detailed_balance.analyzers.balance.pairs import Errors
from detailed_balance.analyzers.comparison.block_labels import find_block_label
from detailed_balance.analyzers.errors import ConvergenceError, InsufficientDataError
from detailed_balance.analyzers.kernel import Attempts
from detailed_balance.analyzers.multiplicity import enough_replicates
from detailed_balance.analyzers.repetition.measure import MeasuredRuns
from detailed_balance.diagnosis.agents import name_agents
from detailed_balance.diagnosis.case import Case
from detailed_balance.diagnosis.study import study_runs
from detailed_balance.render.formatting import count_noun, safe_text
from detailed_balance.sources.source import Progress, SourceInfo

__all__ = ["AgentRecord", "MeasureSettings", "Measured", "measure", "split_by_graph"]

_ESTIMATING = "Estimating the potential"
_HUB_SHARE = 0.9
_FEWEST_AROUND = 3
_FEWEST_MOVES = 20


@dataclass(frozen=True, slots=True, eq=False)
class AgentRecord:
    """What was recorded.

    Parameters
    ----------
    runs : RunTable or None
        The runs; None where only counts are known.
    counts, info : TransitionCounts, SourceInfo
        All moves, and where they are from.
    command : str
        What a command line calls the source.
    graph : str
        The agent that it is of, where the source has several.
    """

    runs: RunTable | None
    counts: TransitionCounts
    info: SourceInfo
    command: str = ""
    graph: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class MeasureSettings:
    """How it is measured; see `analyze`.

    Parameters
    ----------
    alpha, violation, attempts, min_attempts, errors, correction, min_visits, in_order
        As for `analyze`.
    keep : int
        How many of the runs that matter to list.
    baseline : RunTable, TransitionCounts or None
        What is as it should be.
    allowed : iterable of (str, str) or None
        The moves that the graph of the agent allows.
    """

    alpha: float = 0.05
    violation: ViolationFunction | None = None
    attempts: Attempts = "observed"
    min_attempts: int = 2
    errors: Errors = "multinomial"
    correction: Correction = "bh"
    min_visits: float = 10.0
    keep: int = 50
    baseline: Any = None
    allowed: Iterable[tuple[str, str]] | None = None
    in_order: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """What was measured.

    Parameters
    ----------
    case : Case
        What findings are made of.
    potential : Potential or None
        Where the agent wants to go.
    warnings : tuple of str
        What to know before relying on the numbers.
    """

    case: Case
    potential: Potential | None
    warnings: tuple[str, ...]


def split_by_graph(record: AgentRecord) -> tuple[AgentRecord, ...]:
    """Return the record of each agent by itself, by the label `graph` of root runs.

    Empty where there is one agent, or where only counts are known.
    """
    runs = record.runs
    if runs is None or not len(runs):
        return ()
    agents = name_agents(runs)
    parts = []
    for agent in sorted(set(agents[runs.lengths > 0].tolist()) - {""}):
        own = runs.select(agents == agent).merge({})
        parts.append(replace(record, runs=own, counts=own.counts(), graph=agent))
    return tuple(parts)


def measure(record: AgentRecord, settings: MeasureSettings, announce: Progress) -> Measured:
    """Measure a record; what data are too few for is left out, with the reason."""
    runs, counts = record.runs, record.counts
    # Errors are by runs where all that was recorded is of runs.
    by_runs = runs is not None and runs.total == int(counts.attempts.sum())
    measured = runs if runs is not None and by_runs else counts
    walked = None if runs is None else MeasuredRuns.of(runs)
    warnings: tuple[str, ...] = ()
    potential, balance, reason = None, None, _why_not(record)
    if not reason:
        try:
            potential, warnings = _estimate(measured, settings, announce)
            announce("Testing loops", 0, 0)
            balance = _check(counts, potential, walked, settings)
        except InsufficientDataError as error:
            reason = safe_text(str(error), 300)
    announce("Looking for traps", 0, 0)
    traps = find_traps(measured, min_visits=settings.min_visits)
    study = None
    if settings.keep and runs and walked is not None:
        announce("Studying the runs", 0, 0)
        if (label := find_block_label(runs)) is not None:
            warnings = (*warnings, label.describe())
        study = study_runs(
            walked, potential, balance, traps, alpha=settings.alpha, keep=settings.keep
        )
    case = Case(
        counts,
        record.info,
        balance,
        traps,
        study,
        settings.alpha,
        command=record.command,
        graph=record.graph,
        compared=settings.baseline is not None,
        in_order=settings.in_order,
        reason=reason,
    )
    hub = find_hub(counts)
    if hub and runs and study is not None:
        announce(f"Hiding {safe_text(hub, 40)}", 0, 0)
        case = replace(case, hub=hub, hidden=_hide(record, hub, settings))
    return Measured(case, potential, warnings)


def find_hub(counts: TransitionCounts) -> str:
    """Return the state that stands between all others; empty where there is none.

    It is at one end of nine in ten moves between different states, and three others or more are at
    the other end.

    Examples
    --------
    >>> find_hub(TransitionCounts.from_edges([("hub", s, 9) for s in "abc"] +
    ...                                      [(s, "hub", 9) for s in "abc"]))
    'hub'
    """
    inner = counts.without_boundaries()
    moves = inner.counts.tocoo()
    apart = moves.row != moves.col
    row, col, number = moves.row[apart], moves.col[apart], moves.data[apart]
    total = int(number.sum())
    if total < _FEWEST_MOVES:
        return ""
    ends = np.bincount(row, number, len(inner)) + np.bincount(col, number, len(inner))
    hub = int(ends.argmax())
    around = {*row[col == hub].tolist()} & {*col[row == hub].tolist()}
    if ends[hub] < _HUB_SHARE * total or len(around) < _FEWEST_AROUND:
        return ""
    return inner.states[hub]


def _hide(record: AgentRecord, hub: str, settings: MeasureSettings) -> Case | None:
    """Measure the same runs with the hub taken out."""
    if record.runs is None:
        return None
    runs = record.runs.hide([hub])
    part = replace(record, runs=runs, counts=runs.counts())
    quiet = replace(settings, baseline=None, allowed=None)
    return measure(part, quiet, lambda stage, done, total: None).case


def _why_not(record: AgentRecord) -> str:
    """Say why there is no potential and no test; empty where there may be."""
    counts, info = record.counts, record.info
    inner = counts.without_boundaries()
    if len(inner) > 1 and inner.total:
        return ""
    if len(inner) == 1 and (inner.total or counts.total) and not info.skipped_count:
        return f"{safe_text(inner.states[0], 40)} is the only state; a loop takes three"
    escapes = int(counts.escapes.sum())
    seen = f"only {escapes:,} attempts that reached no state" if escapes else "nothing at all"
    if info.skipped_count:
        line = info.skipped[0]
        seen += (
            f"; {count_noun(info.skipped_count, 'record')} skipped, the first at line "
            f"{safe_text(str(line.line), 40)}: {safe_text(line.reason, 200)}"
        )
    advice = "Name the state by another field or state function"
    if not escapes and not info.skipped_count:  # a handler or a store: files would be refused
        advice += "; a handler records the runs that get it as {'callbacks': [handler]}"
    return f"{info.description} holds no transition between states ({seen}). {advice}"


def _estimate(
    measured: TransitionCounts | RunTable, settings: MeasureSettings, announce: Progress
) -> tuple[Potential, tuple[str, ...]]:
    def report_step(step: SolverProgress) -> None:
        announce(_ESTIMATING, step.percent, 100)

    announce(_ESTIMATING, 0, 0)
    try:
        potential = estimate_potential(
            measured,
            violation=settings.violation,
            attempts=settings.attempts,
            min_attempts=settings.min_attempts,
            progress=report_step,
        )
    except ConvergenceError as error:
        left, why = error.estimate.residuals.flow, "the solve was interrupted, " * error.interrupted
        warning = (
            f"V may be inaccurate: {why}its minimum was not reached (flow residual {left:.0e})."
        )
        return error.estimate, (warning,)
    return potential, ()


def _check(
    counts: TransitionCounts,
    potential: Potential,
    runs: MeasuredRuns | None,
    settings: MeasureSettings,
) -> BalanceReport:
    try:
        return check_balance(
            counts,
            potential,
            alpha=settings.alpha,
            errors=settings.errors,
            correction=settings.correction,
            baseline=settings.baseline,
            runs=runs,
            graph=settings.allowed,
            replicates=enough_replicates(settings.alpha),
        )
    except InsufficientDataError as error:
        if error.partial is None:
            raise
        without_loops: BalanceReport = error.partial  # the verdict says so
        return without_loops
