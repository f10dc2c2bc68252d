"""The tables of a report, ready to be shown in a terminal or on a page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isfinite, isnan
from typing import TYPE_CHECKING

import numpy as np

from detailed_balance.analyzers import (
    START,
    BalanceReport,
    PopularityComparison,
    Potential,
    TransitionCounts,
    TrapReport,
    Violation,
)
from detailed_balance.analyzers.potential.ordering import StateOrder, order_states
from detailed_balance.analyzers.repetition.classify import KINDS
from detailed_balance.render.document import Row, Section
from detailed_balance.render.formatting import (
    count_noun,
    format_number,
    format_pvalue,
    join_states,
    safe_text,
    shorten_states,
    show_context,
)
from detailed_balance.report.run_sections import OUTCOMES
from detailed_balance.sources.source import SourceInfo

if TYPE_CHECKING:
    from detailed_balance.diagnosis.study import RunStudy

__all__ = [
    "CHEAP_ERRORS",
    "data_section",
    "loop_section",
    "popularity_section",
    "settings_section",
    "state_section",
    "trap_section",
]

CHEAP_ERRORS = 20_000
"""The number of states up to which a standard error takes milliseconds; beyond it, seconds."""

LOOPS_SHOWN, STATES_SHOWN, TRAPS_SHOWN = 50, 200, 50
LOOPS_PRINTED, STATES_PRINTED, TRAPS_PRINTED = 10, 15, 10
"""How many rows there are on a page, and how many of them in a terminal."""

_COSTLY_ERRORS_SHOWN = 15
_INSIGNIFICANT_SHOWN = 5
_LOOP_COLUMNS = ("loop", "affinity (nats)", "adjusted p", "forward", "reverse")
_COUNTS_NOTE = (
    "affinity: the log of the counts along the loop in this direction over those in reverse; 0 in "
    "detailed balance, 1 nat for a factor of 2.7. forward, reverse: the smallest count along the "
    "loop in each direction."
)
_CAUSES_NOTE = (
    "A cause is named by its strongest short loop; loops: how many it explains, itself included. "
    "flux: the largest share of all net moves that it can explain. structural: each step is the "
    "only exit from its state; work-flow: failed runs, or a baseline, take it as often; suspect: "
    "failed runs take it more; unclassified: not known."
)
_INSIDE_NOTE = (
    "inside runs: how often single runs went round loops that share its moves, in this direction "
    ": in reverse; equal numbers mean that different runs are mixed."
)
_ODDS_NOTE = "odds: the odds of a step along it, failed over successful runs, with 95% interval."

_NAMES = {"bh": "Benjamini and Hochberg", "by": "Benjamini and Yekutieli"}


def loop_section(balance: BalanceReport) -> Section | None:
    """Return the causes of broken balance; where there are none, the strongest loops."""
    if balance.violations:
        return _violation_section(balance.violations)
    if not len(balance.loops):
        return None
    rows = tuple(_insignificant_rows(balance, _INSIGNIFICANT_SHOWN))
    title, more = "Strongest loops, none of them significant", len(balance.loops) - len(rows)
    return Section(title, _LOOP_COLUMNS, rows, _COUNTS_NOTE, noun="loop", more=more)


def _violation_section(violations: Sequence[Violation]) -> Section:
    by_runs = not all(isnan(v.run_pvalue) for v in violations)
    compared = not all(isnan(v.odds_ratio) for v in violations)
    columns = (
        *("cause", *_LOOP_COLUMNS[1:], "flux", "loops"),
        *(["inside runs"] if by_runs else []),
        "kind",
        *(["odds"] if compared else []),
    )
    rows = tuple(
        (
            join_states(v.loop),
            _with_error(v.affinity, v.error),
            format_pvalue(v.pvalue),
            f"{v.counts[0]:,}",
            f"{v.counts[1]:,}",
            "-" if isnan(v.flux_share) else f"{v.flux_share:.0%}",
            f"{1 + len(v.explains):,}",
            *([f"{v.closed[0]:,} : {v.closed[1]:,}"] if by_runs else []),
            v.kind,
            *([_show_odds(v)] if compared else []),
        )
        for v in violations[:LOOPS_SHOWN]
    )
    note = f"{_COUNTS_NOTE} {_CAUSES_NOTE}"
    note += f" {_INSIDE_NOTE}" * by_runs + f" {_ODDS_NOTE}" * compared
    more = len(violations) - len(rows)
    title = "What breaks balance"
    return Section(title, columns, rows, note, ("kind",), "cause", more, LOOPS_PRINTED)


def _show_odds(violation: Violation) -> str:
    if isnan(violation.odds_ratio):
        return "-"
    low, high = map(format_number, violation.odds_interval)
    return f"{format_number(violation.odds_ratio)} ({low} to {high})"


def _insignificant_rows(balance: BalanceReport, limit: int) -> Iterator[Row]:
    loops = balance.loops
    for i in range(min(limit, len(loops))):
        yield (
            join_states(loops.names(i)),
            _with_error(loops.affinity[i], loops.error[i]),
            format_pvalue(loops.adjusted[i]),
            f"{loops.forward[i]:,}",
            f"{loops.backward[i]:,}",
        )


def state_section(potential: Potential) -> Section:
    """Return the states by potential, lowest first.

    Errors are worked out for the states shown alone, and on a
    large graph for the first ones.
    """
    order = order_states(potential)
    shown = order.ranking[:STATES_SHOWN].tolist()
    cheap = len(potential.states) <= CHEAP_ERRORS
    errors = _own_errors(potential, shown if cheap else shown[:_COSTLY_ERRORS_SHOWN])
    several = int(potential.components.max()) > 0
    attempts = potential.kernel.attempts
    rows = tuple(
        (
            safe_text(potential.states[i], 60),
            _show_value(potential, order, i, errors.get(i, float("nan"))),
            *([str(potential.components[i])] if several else []),
            "exact" if attempts is None else f"{attempts[i]:,.0f}",
        )
        for i in shown
    )
    columns = ("state", "V (1/β)", *(["component"] if several else []), "attempts")
    note = f"{_order_note(potential, order)} {potential.describe_errors().capitalize()}.".strip()
    more = len(potential.states) - len(rows)
    title = "States, lowest potential first"
    return Section(title, columns, rows, note, (), "state", more, STATES_PRINTED)


def _own_errors(potential: Potential, shown: Sequence[int]) -> dict[int, float]:
    """Return the standard errors of states against the lowest state of their own component."""
    errors: dict[int, float] = {}
    if potential.kernel.attempts is None:
        return errors
    for component in {int(potential.components[i]) for i in shown}:
        members = np.flatnonzero(potential.components == component)
        lowest = int(members[np.argmin(potential.heights[members])])
        asked = [i for i in shown if potential.components[i] == component and i != lowest]
        if asked:
            names = [potential.states[i] for i in asked]
            values = potential.standard_errors(potential.states[lowest], names)
            errors.update(zip(asked, values.tolist(), strict=True))
    return errors


def _show_value(potential: Potential, order: StateOrder, i: int, error: float) -> str:
    inner = _with_error(float(potential.heights[i]), error)
    relative = float(order.relative[i])
    if isfinite(relative):
        return inner
    sign = "?" if isnan(relative) else format_number(relative)
    alone = np.count_nonzero(potential.components == potential.components[i]) == 1
    return sign if alone else f"{sign} + {inner}"


def _order_note(potential: Potential, order: StateOrder) -> str:
    main, relative = potential.components[order.main], order.relative
    several = potential.components.max() > 0
    notes = ["V is 0 at the lowest state of each component."] if several else []
    if np.isposinf(relative).any():
        notes.append(f"∞: leads down to component {main}, with no way back.")
    if np.isneginf(relative).any():
        notes.append(f"-∞: component {main} leads down to it, with no way back.")
    if np.isnan(relative).any():
        notes.append(f"?: neither leads to component {main} nor comes from it.")
    return " ".join(notes)


def popularity_section(found: PopularityComparison) -> Section:
    """Return which share of the log ratios popularity and the potential explain."""
    ways = {
        "weighted by their rates": found.weighted,
        "weighted, up to a scale": found.weighted_scaled,
        "each pair the same": found.unweighted,
        "each pair the same, up to a scale": found.unweighted_scaled,
    }
    rows = tuple(
        (
            name,
            _with_error(shares.popularity, shares.popularity_error),
            _with_error(shares.potential, shares.potential_error),
            _with_error(shares.given_popularity, shares.given_popularity_error),
        )
        for name, shares in ways.items()
    )
    said = found.describe()
    note = (
        f"{said[0].upper()}{said[1:]}. Shares of the squared log ratios of the {found.pairs:,} "
        "pairs seen in both directions. Popularity is the mean probability of a state over the "
        f"others; an agent that does not look at its state has V = -log popularity (here r = "
        f"{format_number(found.correlation)})."
    )
    columns = ("pairs", "popularity", "potential", "of what popularity leaves")
    return Section("Is the potential more than popularity?", columns, rows, note)


def trap_section(traps: TrapReport) -> Section | None:
    """Return the traps, None where there are none."""
    if not len(traps):
        return None
    rows = tuple(
        (
            " ↔ ".join(shorten_states(trap.states)),
            format_number(trap.stay),
            f"{format_number(trap.interval[0])} to {format_number(trap.interval[1])}",
            f"{trap.moves:,}",
            f"{trap.exits:,}",
        )
        for trap in traps.traps[:TRAPS_SHOWN]
    )
    note = (
        "stay: moves before the agent leaves the trap, on average. A trap does not break balance."
    )
    columns = ("trap", "stay", "95% interval", "moves", "exits")
    more = len(traps) - len(rows)
    return Section("Traps", columns, rows, note, (), "trap", more, TRAPS_PRINTED)


def data_section(
    counts: TransitionCounts,
    potential: Potential | None,
    balance: BalanceReport | None,
    source: SourceInfo,
) -> Section:
    """Return what was counted, and what was left out of it."""
    inner = counts.without_boundaries()
    stays, ends = int(inner.counts.diagonal().sum()), counts.total - inner.total
    moves = f"{inner.total:,}, of them {stays:,} from a state to itself"
    runs = source.trajectories
    if runs is None and START in counts.states:
        runs = int(counts.attempts[counts.index(START)])
    rows = [
        ("source", source.description),
        ("labels", show_context(source.context)),
        ("runs", "" if runs is None else f"{runs:,}"),
        ("stopped", ", ".join(f"{n:,} {OUTCOMES[o]}" for o, n in source.outcomes.items())),
        ("transitions", moves + (f"; {ends:,} more from START and to END" if ends else "")),
        ("escapes", f"{int(counts.escapes.sum()):,} attempts that reached no state"),
        ("states", count_noun(len(inner), "state") + _dropped(potential)),
        *([] if balance is None else _tested(balance)),
        ("skipped", _skipped(source)),
        ("lost", f"{source.faults:,} transitions or fewer, by errors" if source.faults else ""),
    ]
    known = tuple(row for row in rows if row[1])
    return Section("Data", ("", ""), known, "What was counted, and what was left out.", ("",))


def _tested(balance: BalanceReport) -> Iterator[Row]:
    pairs, one_way = len(balance.pairs), len(balance.one_way_pairs)
    yield "linked pairs", f"{pairs + one_way:,}, of them {one_way:,} seen in one direction only"
    yield "loops tested", f"{len(balance.loops):,}{_untested(balance)}"


def _dropped(potential: Potential | None) -> str:
    if potential is None:
        return ""
    dropped, least = len(potential.kernel.dropped), potential.kernel.min_attempts
    return f", {dropped:,} of them dropped for fewer than {least} attempts" if dropped else ""


def _untested(balance: BalanceReport) -> str:
    untested = balance.loops.untested
    return f", {untested:,} more were taken too rarely" if untested else ""


def _skipped(source: SourceInfo) -> str:
    if not source.skipped_count:
        return ""
    first = "; ".join(
        f"{'line ' * isinstance(bad.line, int)}{safe_text(str(bad.line), 60)}, "
        f"{safe_text(bad.reason, 120)}"
        for bad in source.skipped[:3]
    )
    more = "; ..." if source.skipped_count > 3 else ""
    return f"{count_noun(source.skipped_count, 'broken line')}: {first}{more}"


def settings_section(
    alpha: float,
    potential: Potential | None,
    balance: BalanceReport | None,
    traps: TrapReport,
    baseline: SourceInfo | None,
    runs: RunStudy | None,
) -> Section:
    """Return how it was computed: every setting, and how exactly the minimum was met."""
    rows = (
        ("alpha", f"{alpha:g} (of all tested kinds together, and false discovery rate of loops)"),
        *(() if balance is None else _balance_settings(balance)),
        *(() if potential is None else _potential_settings(potential)),
        ("traps", f"{traps.min_visits:g} visits or more to each state"),
        ("baseline", "none" if baseline is None else baseline.description),
        *_run_settings(runs),
    )
    note = "Every setting, and how exactly the minimum was met."
    return Section("How it was computed", ("", ""), rows, note, ("",))


def _balance_settings(balance: BalanceReport) -> Iterator[Row]:
    yield "correction", f"{_NAMES[balance.correction]} (of the loops' p-values)"
    yield "errors", f"{balance.errors} (of the pairs' log ratios)"


def _potential_settings(potential: Potential) -> Iterator[Row]:
    residuals = potential.residuals
    yield "violation", f"{type(potential.violation).__name__}, β = {potential.violation.beta:g}"
    yield "attempts", _show_attempts(potential)
    yield (
        "solver",
        f"{potential.iterations} Newton steps, flow residual {residuals.flow:.0e}, "
        f"tolerance {potential.tolerance:g}",
    )
    yield "action", f"{potential.normalized_action:.5g} for each state"


def _run_settings(runs: RunStudy | None) -> Iterator[Row]:
    if runs is None:
        return
    rules, contrast = runs.report.rules, runs.contrast
    yield "runs", "; ".join(f"{kind}: {rules.describe(kind)}" for kind in KINDS)
    if contrast is not None:
        yield (
            "failed and successful runs",
            f"{contrast.replicates:,} permutations of whole runs (seed {contrast.seed}), alpha "
            f"{contrast.alpha:g}",
        )


def _show_attempts(potential: Potential) -> str:
    kernel = potential.kernel
    mode = kernel.mode
    if mode == "number" and kernel.attempts is not None:
        mode = f"{kernel.attempts[0]:g} from each state"
    return f"{mode} (states with fewer than {kernel.min_attempts} are dropped)"


def _with_error(value: float, error: float) -> str:
    return format_number(value) if isnan(error) else f"{value:.2f} ± {error:.2f}"
