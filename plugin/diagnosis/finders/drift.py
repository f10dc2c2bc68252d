"""Findings of rates and amounts that rose within the record."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from detailed_balance.analyzers.sequential.change_point import ChangePoint
from detailed_balance.diagnosis.finders._onset import change_of
from detailed_balance.diagnosis.finding import Advice, Finding, Onset, Severity
from detailed_balance.render.formatting import count_noun, format_number, format_pvalue

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from detailed_balance.diagnosis.case import Case

__all__ = ["Rise", "drift_pvalue", "find_drift", "find_rises"]

_TWICE = 2.0
"""An amount that grew by this factor or more is a problem; by less, it is to be watched."""


@dataclass(frozen=True, slots=True)
class Rise:
    """A number of each root run that is larger since some moment.

    Parameters
    ----------
    what : str
        ``"moves"``, ``"tokens"`` or ``"cost"``.
    change : ChangePoint
        When.
    before, after : float
        The means on both sides.
    largest : list of int
        The root runs after it, those with the most first.
    """

    what: str
    change: ChangePoint
    before: float
    after: float
    largest: tuple[int, ...]


def find_rises(case: Case) -> list[Rise]:
    """Find the amounts that rose; the p-values are not adjusted for their number.

    Runs that repeat themselves or were stopped at a limit are left out: they have findings of their
    own.
    """
    if case.study is None:
        return []
    repetition, root = case.study.repetition, case.study.root
    rows = [*repetition.limits, *(run for each in repetition.findings for run in each.runs)]
    places = np.setdiff1d(
        case.roots.places, root[np.array([r.place for r in rows], dtype=np.int64)]
    )
    found = (_rise(case, what, values, places) for what, values in _amounts(case))
    return [rise for rise in found if rise is not None]


def drift_pvalue(rises: list[Rise]) -> float:
    """Return the p-value of the smallest of three amounts (Bonferroni)."""
    return min([1.0, *(3 * rise.change.pvalue for rise in rises)])


def _amounts(case: Case) -> Iterator[tuple[str, NDArray[np.float64]]]:
    roots = case.roots
    yield "moves", roots.moves.astype(np.float64)
    for what, of_moves in (("tokens", roots.tokens), ("cost", roots.money)):
        if of_moves is not None:
            yield what, roots.totals(of_moves)


def _rise(
    case: Case, what: str, values: NDArray[np.float64], places: NDArray[np.int64]
) -> Rise | None:
    """Find when a number rose, by its ranks among some root runs."""
    roots = case.roots
    own = values[places]
    if not len(own) or np.ptp(own) == 0:
        return None
    ranks = np.zeros(len(values))
    order = np.sort(own)
    middle = np.searchsorted(order, own, "left") + np.searchsorted(order, own, "right")
    ranks[places] = middle / (2 * len(own))
    change = change_of(case, ranks, places)
    if change is None or change.rate_after <= change.rate_before:
        return None
    began = roots.table.runs.started[places]
    if change.time is None:
        late = np.arange(len(own)) >= change.runs_before
    else:
        late = began >= change.time
    if late.all() or not late.any():
        return None
    before, after = float(own[~late].mean()), float(own[late].mean())
    largest = sorted(places[late].tolist(), key=lambda place: (-values[place], roots.order(place)))
    return Rise(what, change, before, after, tuple(largest)) if after > before else None


def find_drift(case: Case, rises: list[Rise]) -> Iterator[Finding]:
    """Yield the finding of amounts that rose, the one with the largest factor first named."""
    told = [rise for rise in rises if 3 * rise.change.pvalue <= case.alpha]
    if not told or not case.supports("drift"):
        return
    told.sort(key=lambda rise: -rise.after / max(rise.before, 1e-12))
    first, roots = told[0], case.roots
    severity: Severity = "problem" if first.after >= _TWICE * first.before else "watch"
    change, number = first.change, len(roots)
    title = f"runs take {'; '.join(map(_say_rise, told))}"
    since, onset = "", None
    if change.time is not None:
        since = change.describe_place()
        late = len(first.largest)
        onset = Onset(change.time, change.interval, (0, number - late), (late, late))
    yield Finding(
        "drift",
        severity,
        title,
        (),
        roots.names(first.largest),
        len(first.largest),
        number,
        (),
        case.graph,
        onset,
        since,
        evidence=f"a test of change in time of {count_noun(number, 'run')} (adjusted p "
        f"{format_pvalue(case.adjusted('drift'))}); different tasks have the same effect",
        pvalue=case.adjusted("drift"),
        advice=tuple(_advise(case, change)),
    )


def _say_rise(rise: Rise) -> str:
    unit = {"moves": "moves", "tokens": "tokens", "cost": "of the recorded cost"}[rise.what]
    factor = rise.after / rise.before if rise.before else np.inf
    return (
        f"{_amount(rise.after)} {unit} on average where it was {_amount(rise.before)} "
        f"({factor:.1f} times as much)"
    )


def _amount(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else format_number(value)


def _advise(case: Case, change: ChangePoint) -> Iterator[Advice]:
    if case.command and change.time is not None:
        moment = datetime.fromtimestamp(change.time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        yield Advice(
            "shows what else changed then",
            f"detailed-balance compare {case.command} --until-a {moment} --since-b {moment}",
        )
