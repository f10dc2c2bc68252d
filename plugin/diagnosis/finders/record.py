"""Findings about the record itself: what it lacks, and states without end."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from detailed_balance.diagnosis.finding import Advice, Finding
from detailed_balance.diagnosis.words import count_of
from detailed_balance.render.formatting import count_noun, safe_text

if TYPE_CHECKING:
    from detailed_balance.diagnosis.case import Case

__all__ = ["find_cardinality", "find_losses"]

_FEWEST_STATES = 30
_ONCE = 0.5
_NUMBERS = re.compile(r"[0-9a-f]{6,}|\d+")
_FEWEST_ALIKE = 10


def find_losses(case: Case) -> Iterator[Finding]:
    """Yield what the record is known to lack."""
    info = case.info
    if info.faults:
        yield Finding(
            "loss",
            "problem",
            f"up to {count_noun(info.faults, 'move')} are missing: the recorder met errors",
            graph=case.graph,
            evidence="counted by the recorder; all other findings rest on what is left",
            advice=(
                Advice("the log of detailed_balance names the first of them", "handler.faults"),
            ),
        )
    if info.skipped_count:
        first = info.skipped[0]
        yield Finding(
            "loss",
            "watch",
            f"{count_noun(info.skipped_count, 'broken record')} skipped, the first at line "
            f"{safe_text(str(first.line), 40)}: {safe_text(first.reason, 120)}",
            graph=case.graph,
            evidence="skipped as asked",
        )
    if case.study is not None:
        past = case.roots.table.runs.past_unknown[case.roots.places]
        if past.any() and not past.all():
            own = case.roots.places[past].tolist()
            yield Finding(
                "loss",
                "watch",
                f"the beginning of {count_of(len(own), len(case.roots))} is not in the record",
                runs=case.roots.names(own),
                affected=len(own),
                total=len(case.roots),
                graph=case.graph,
                evidence="they continue a run that is not in this record",
            )


def find_cardinality(case: Case) -> Iterator[Finding]:
    """Yield that states have no end: most of them were visited once."""
    inner = case.counts.without_boundaries()
    visits = (
        np.asarray(inner.counts.sum(axis=0)).ravel() + np.asarray(inner.counts.sum(axis=1)).ravel()
    )
    once = int((visits <= 2).sum())
    if len(inner) < _FEWEST_STATES or once < _ONCE * len(inner):
        return
    pattern, alike = _most_alike(inner.states)
    command = ""
    if alike >= _FEWEST_ALIKE and case.command:
        pair = f"{pattern}={pattern.replace('*', '').strip('_-:. ') or 'state'}"
        command = f"detailed-balance analyze {case.command} --merge {shlex.quote(pair)}"
    yield Finding(
        "cardinality",
        "watch",
        f"{once:,} of {count_noun(len(inner), 'state')} were visited only once: state names "
        "contain something that changes from run to run",
        inner.states[:3],
        graph=case.graph,
        evidence=f"by a rule: {_FEWEST_STATES} states or more, and half of them visited once",
        advice=(
            Advice("one state for all names of that form", command)
            if command
            else Advice("choose a state function with fewer states", "ActionStates()"),
        ),
    )


def _most_alike(states: tuple[str, ...]) -> tuple[str, int]:
    """Return the pattern that most names have, with * for numbers, and how many have it.

    Only names count that a command line can hold.
    """
    plain = (state for state in states if state.isprintable() and "=" not in state)
    found = Counter(_NUMBERS.sub("*", state) for state in plain if _NUMBERS.search(state))
    return min(found.items(), key=lambda item: (-item[1], item[0]), default=("", 0))
