"""`analyze`: from any source of transitions to a report."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from detailed_balance.analyzers import ViolationFunction, compare_with_popularity
from detailed_balance.analyzers.balance.loops import Correction
from detailed_balance.analyzers.balance.pairs import Errors
from detailed_balance.analyzers.kernel import Attempts
from detailed_balance.analyzers.runs.labels import ContextLike, Moment
from detailed_balance.diagnosis.diagnose import diagnose, sort_findings
from detailed_balance.diagnosis.measure import (
    AgentRecord,
    Measured,
    MeasureSettings,
    measure,
    split_by_graph,
)
from detailed_balance.diagnosis.verdict import judge
from detailed_balance.render.formatting import safe_text
from detailed_balance.render.links import check_run_url
from detailed_balance.report.report import Report
from detailed_balance.sources.source import Merge, Progress, list_allowed_moves, open_source

_FEWEST_COMPARED, _MOST_COMPARED = 10, 5_000
"""Of fewer states, or pairs, popularity says little; of more different moves it takes long."""

_SCORES_SHOWN = 8

_DRAWS = 39
"""Of the test of popularity; `compare_with_popularity` draws more."""


def analyze(
    source: object,
    *,
    alpha: float = 0.05,
    violation: ViolationFunction | None = None,
    attempts: Attempts = "observed",
    min_attempts: int = 2,
    baseline: object = None,
    agent: object = None,
    context: ContextLike = None,
    since: Moment = None,
    until: Moment = None,
    last: str | None = None,
    block: str | None = None,
    hide: Iterable[str] = (),
    merge: Merge = None,
    errors: Errors = "multinomial",
    correction: Correction = "bh",
    min_visits: float = 10.0,
    runs: int = 50,
    run_url: str | None = None,
    in_order: bool = False,
    progress: Progress | None = None,
    **reader_options: Any,
) -> Report:
    """Find where an agent wants to go, what drives it in circles, and where it is stuck.

    Parameters
    ----------
    source : object
        Whatever holds transitions, as for `open_source`: a `TransitionCallbackHandler`, a store
        or its URL, a path, a folder, a `RunTable`, a graph, counts, a DataFrame.
    alpha : float
        The false discovery rate of the loops that are called driven.
    violation : ViolationFunction
        K, `Exponential()` by default.
    attempts, min_attempts
        As for `estimate_kernel`; an array follows the states without START and END.
    baseline : object
        Runs that were as they should be, from any kind of source and taken whole; they distinguish
        work-flow loops from suspect ones.
    agent : object
        The compiled graph of the agent; a loop is then structural only where the graph leaves no
        other exit from any of its states.
    context, since, until, last
        Which runs of `source` to keep, as for `open_source`.
    block : str, optional
        What tells the block of a run, as for `open_source`.
    hide, merge
        States to take out of each run, and new names of states, as for `open_source`; of the
        baseline too.
    errors, correction
        As for `check_balance`.
    min_visits : float
        As for `find_traps`, and for runs that are stuck (`RepetitionRules`).
    runs : int
        How many of the runs that matter to list; 0 to study no single run.
    run_url : str, optional
        The address of a run in another tool, with ``{run}`` for its key, such as
        ``"https://example.org/traces/{run}"``: runs on the page become links.
    in_order : bool
        Whether the order of the runs is that of time, where the record has no times.
    progress : callable, optional
        Called with the stage of the work, how much of it is done and how much there is (0 where
        that is not known). Ctrl-C while the potential is estimated ends only that: the report
        goes on from the estimate so far, with a warning.
    **reader_options
        As for `read_recording`, for `source` and `baseline` alike: which field of a file or a
        table holds what.

    Returns
    -------
    Report
        The answers, first in words.

    Raises
    ------
    InsufficientDataError
        Where no run is left: none carries the labels, or none began in the time asked for. Too
        little data is not an error: the report says what is missing.
    InvalidInputError
        Where an argument has a value that is not allowed.
    ReadError
        Where a file or a store cannot be read.

    Examples
    --------
    >>> from detailed_balance import TransitionCounts
    >>> edges = [("plan", "search", 90), ("search", "critic", 90), ("critic", "plan", 90)]
    >>> edges += [(target, source, 10) for source, target, _ in edges]
    >>> report = analyze(TransitionCounts.from_edges(edges))
    >>> report.findings[0].title  # doctest: +NORMALIZE_WHITESPACE
    'detailed balance is broken by 1 cause, most by the loop critic → plan → search →
    critic; without outcomes of runs its kind is not known'
    """
    announce = progress or (lambda stage, done, total: None)
    shared: dict[str, Any] = {"hide": hide, "merge": merge, "progress": progress, **reader_options}
    if in_order:
        shared["in_order"] = True
    opened = open_source(
        source, context=context, since=since, until=until, last=last, block=block, **shared
    )
    found, counts, info = opened.runs(), opened.counts(), opened.info
    good: Any = None
    good_info = None
    if baseline is not None:
        usual = open_source(baseline, **shared)
        good, good_info = usual.runs() or usual.counts(), usual.info
    settings = MeasureSettings(
        alpha=alpha,
        violation=violation,
        attempts=attempts,
        min_attempts=min_attempts,
        errors=errors,
        correction=correction,
        min_visits=min_visits,
        keep=runs,
        baseline=good,
        allowed=list_allowed_moves(agent),
        in_order=in_order,
    )
    record = AgentRecord(found, counts, info, opened.command)
    measured = measure(record, settings, announce)
    parts = split_by_graph(record)
    cases = [measure(part, settings, announce).case for part in parts] or [measured.case]
    findings = sort_findings(finding for case in cases for finding in diagnose(case))
    warnings = (*measured.warnings, *_about_graphs(parts), *_about_scores(info.scores))
    study = measured.case.study
    if parts and study is not None:
        study = replace(study, limit=None)  # successful runs of one agent set no limit for another
    popularity = None
    if _asks_popularity(measured):
        announce("Comparing with popularity", 0, 0)
        popularity = compare_with_popularity(
            # Errors are by runs where all that was recorded is of runs.
            counts if found is None or found.total != int(counts.attempts.sum()) else found,
            violation=violation,
            attempts=attempts,
            min_attempts=min_attempts,
            replicates=_DRAWS,
        )
    return Report(
        counts,
        measured.potential,
        measured.case.balance,
        measured.case.traps,
        info,
        good_info,
        warnings,
        study,
        findings,
        judge(cases, findings, warnings),
        alpha,
        measured.case.reason,
        "" if run_url is None else check_run_url(run_url),
        popularity,
    )


def _asks_popularity(measured: Measured) -> bool:
    """Say whether there are states and pairs enough, and not so many that it takes long."""
    potential, balance = measured.potential, measured.case.balance
    if potential is None or balance is None or len(balance.pairs) < _FEWEST_COMPARED:
        return False
    rates = potential.kernel.probabilities.nnz
    return len(potential.states) >= _FEWEST_COMPARED and rates <= _MOST_COMPARED


def _about_scores(scores: Sequence[str]) -> tuple[str, ...]:
    if not scores:
        return ()
    names = ", ".join(safe_text(name, 40) for name in scores[:_SCORES_SHOWN])
    more = f" and {len(scores) - _SCORES_SHOWN:,} more" if len(scores) > _SCORES_SHOWN else ""
    return (
        f"The traces have several scores ({names}{more}), so none says whether a run succeeded. "
        "Name the one that does with success_field= (--success-field).",
    )


def _about_graphs(parts: Sequence[AgentRecord]) -> tuple[str, ...]:
    if not parts:
        return ()
    names = ", ".join(safe_text(part.graph, 40) for part in parts)
    return (
        f"This record has {len(parts):,} agents ({names}). Each is diagnosed separately; the "
        "tables below combine them. --context graph=NAME shows one.",
    )
