"""What the runs of a finding do that others do not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from detailed_balance.analyzers import END
from detailed_balance.render.formatting import count_noun, safe_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from detailed_balance.analyzers import RunTable
    from detailed_balance.diagnosis._repetition import RepeatingRuns
    from detailed_balance.diagnosis.case import Case

_FEWEST_STEPS = 5
"""A share of fewer steps is not shown."""

_LARGE = 0.2
"""A smaller difference of shares is not shown."""


def next_steps_differ(
    case: Case, group: RepeatingRuns, affected: NDArray[np.bool_]
) -> Iterator[str]:
    """Yield what runs do next in the place that they repeat, against the other root runs.

    Of the moves inside the place the one whose share differs most is said.
    """
    study = case.study
    if study is None or not group.kind:
        return
    if any(study.table.code(state) < 0 for state in group.states):
        return
    if case.hidden is not None and not group.inside and case.hub not in group.states:
        study = case.hidden.study or study  # they go from state to state with the hub taken out
    table, root = study.table, study.root
    others = int(len(case.roots) - affected.sum())
    if not others:
        return
    codes = [table.code(state) for state in group.states]
    run = root[table.run_of_move]
    inside = np.isin(table.source, codes) & (table.target != table.code(END))
    own, rest = inside & affected[run], inside & ~affected[run]
    if not rest.any():
        yield f"the other {count_noun(others, 'run')} never {_reach(group.states)}"
        return
    best = max(
        ((_share(table, own, f, g), _share(table, rest, f, g), f, g) for f in codes for g in codes),
        key=lambda each: each[0] - each[1],
    )
    more, less, source, target = best
    if more - less < _LARGE:
        return
    here, there = (safe_text(table.states[code], 40) for code in (source, target))
    step = "stay there" if source == target else f"go to {there}"
    one = int(affected.sum()) == 1
    yield (
        f"after {here} {'this run' if one else 'these runs'} {_third(step) if one else step} "
        f"{more:.0%} of the time, the other {count_noun(others, 'run')} {less:.0%}"
    )


def _reach(states: tuple[str, ...]) -> str:
    return f"reach {' or '.join(safe_text(state, 40) for state in sorted(set(states))[:3])}"


def _third(step: str) -> str:
    verb, rest = step.split(" ", 1)
    return f"{'goes' if verb == 'go' else verb + 's'} {rest}"


def _share(table: RunTable, chosen: NDArray[np.bool_], source: int, target: int) -> float:
    """Return the share of the chosen moves from a state that lead to another; 0 of too few."""
    left = chosen & (table.source == source)
    number = int(left.sum())
    if number < _FEWEST_STEPS:
        return 0.0
    return float((left & (table.target == target)).sum() / number)
