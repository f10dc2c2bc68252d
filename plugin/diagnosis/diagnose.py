"""`diagnose`: from what was measured to findings, one for each fault, the worst first."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import replace
from math import isnan
from typing import TYPE_CHECKING

from detailed_balance.diagnosis.finders.balance import (
    driven_pvalues,
    find_driven,
    find_trap_findings,
)
from detailed_balance.diagnosis.finders.drift import drift_pvalue, find_drift, find_rises
from detailed_balance.diagnosis.finders.failure import (
    find_abandoned,
    find_broken_step,
    find_failures,
    find_waiting,
)
from detailed_balance.diagnosis.finders.record import find_cardinality, find_losses
from detailed_balance.diagnosis.finders.repetition import find_refused, find_repetition_findings
from detailed_balance.diagnosis.finding import Finding
from detailed_balance.diagnosis.words import UNJUDGED
from detailed_balance.render.formatting import safe_run

if TYPE_CHECKING:
    from detailed_balance.diagnosis.case import Case

__all__ = ["diagnose", "sort_findings"]

_HIDDEN = ("driven", "repetition")
"""What is tested with the hub taken out as well."""


def diagnose(case: Case) -> tuple[Finding, ...]:
    """Return what is wrong with the runs of one agent.

    Facts come without a test. The kinds that are tested (repetition, failure, driven, drift) share
    alpha by Holm's method. Runs that a finding of repetition explains are in no finding of failure.

    Parameters
    ----------
    case : Case
        The runs, and what was measured on them. Its `pvalues` are filled in.

    Returns
    -------
    tuple of Finding
        Problems first; of each severity in the order of `FINDING_KINDS`.
    """
    rises, broken = find_rises(case), find_broken_step(case)
    case.pvalues.update(_pvalues(case))
    if case.hidden is not None:
        hidden = _pvalues(case.hidden)
        case.pvalues.update({f"{kind}, hidden": p for kind, p in hidden.items() if kind in _HIDDEN})
    if broken is not None:
        known = case.pvalues.get("failure", 1.0)
        case.pvalues["failure"] = min(1.0, 2 * min(known, broken.pvalue))
    if rises:
        case.pvalues["drift"] = drift_pvalue(rises)
    repeating = find_repetition_findings(case)
    explained: set[int] = set().union(*(roots for _, roots in repeating))
    found = [
        *find_losses(case),
        *(finding for finding, _ in repeating),
        *find_refused(case, explained),
        *find_failures(case, explained, broken),
        *find_driven(case),
        *find_trap_findings(case),
        *find_waiting(case),
        *find_abandoned(case),
        *find_drift(case, rises),
        *find_cardinality(case),
    ]
    return sort_findings(_complete(finding, case) for finding in _join(found))


def _join(found: list[Finding]) -> list[Finding]:
    """Put a failure together with the loop that failed runs walk more: they are one fault."""
    failure = next((f for f in found if f.kind == "failure" and f.severity == "problem"), None)
    driven = [f for f in found if f.kind == "driven" and f.severity == "problem"]
    if failure is None or not driven:
        return found
    joined = replace(
        failure,
        title=f"{failure.title.split(';')[0]}; {driven[0].title.replace('failed runs', 'they', 1)}",
        place=failure.place or driven[0].place,
        also=("driven",),
        differs=(*failure.differs, *(each.title for each in driven[1:])),
    )
    return [joined if each is failure else each for each in found if each not in driven]


def sort_findings(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return findings in the order in which they are told: problems first, then by kind."""
    return tuple(sorted(findings, key=lambda finding: finding.rank))


def _pvalues(case: Case) -> dict[str, float]:
    """Return the p-value of each kind that was tested."""
    found = driven_pvalues(case)
    if case.study is not None:
        repetition = case.study.repetition
        if repetition.good and repetition.failed:
            found["repetition"] = min(test.pvalue for test in repetition.tests)
        if case.study.contrast is not None:
            found["failure"] = case.study.contrast.pvalue
    return {kind: p for kind, p in found.items() if not isnan(p)}


def _complete(finding: Finding, case: Case) -> Finding:
    """Add the command that shows the worst run, and what success means here."""
    show = ""
    if finding.runs and case.command:
        show = f"detailed-balance show {case.command} {_word(finding.runs[0])}"
    unsure = finding.unsure
    if case.study is not None and (finding.kind == "failure" or not isnan(finding.pvalue)):
        roots = case.roots
        known = roots.table.runs.success[roots.places] >= 0
        if known.any() and not roots.judged.any():
            unsure = (*unsure, UNJUDGED)
    return replace(finding, show=show, unsure=unsure)


def _word(name: str) -> str:
    """Return a key as a word of a shell, safe to print, that is not an option."""
    word = shlex.quote(safe_run(name))
    return f"-- {word}" if name.startswith("-") else word
