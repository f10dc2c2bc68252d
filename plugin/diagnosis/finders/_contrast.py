"""What the runs of a finding do that others do not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import hypergeom

from detailed_balance.analyzers import END
from detailed_balance.render.formatting import count_noun, safe_text, show_context

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from detailed_balance.analyzers import RunTable
    from detailed_balance.diagnosis.case import Case
    from detailed_balance.diagnosis.finders._repeating_runs import RepeatingRuns

_FEWEST_STEPS = 5
"""A share of fewer steps is not shown."""

_LARGE = 0.2
"""A smaller difference of shares is not shown."""

_TWICE = 2
"""A label is shown where so many times the share of its runs is concerned."""


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


def labels_differ(case: Case, affected: NDArray[np.bool_]) -> Iterator[str]:
    """Yield the label that root runs carry more often than the others do.

    By Fisher's exact test, with the p-value times the number of labels.
    """
    roots = case.roots
    runs, own = len(roots), affected[roots.places]
    of_run, contexts = roots.table.runs.context[roots.places], roots.table.contexts
    carried, hit = (np.bincount(of_run, weights, len(contexts)) for weights in (None, own))
    number: Counter[tuple[str, str]] = Counter()
    found: Counter[tuple[str, str]] = Counter()
    for context, all_runs, some in zip(contexts, carried.tolist(), hit.tolist(), strict=True):
        number.update(dict.fromkeys(context, int(all_runs)))
        found.update(dict.fromkeys(context, int(some)))
    labels = sorted(label for label, count in number.items() if count < runs)
    if not labels:
        return
    with_it, of_them = (np.array([each[label] for label in labels]) for each in (number, found))
    pvalues = np.asarray(hypergeom.sf(of_them - 1, runs, int(own.sum()), with_it))
    best = int(pvalues.argmin())
    count, bad, rest = int(with_it[best]), int(of_them[best]), runs - int(with_it[best])
    others = int(own.sum()) - bad
    if pvalues[best] * len(labels) <= case.alpha and bad * rest >= _TWICE * others * count:
        none = f"{others:,}" if others else "none"
        yield (
            f"{bad:,} of the {count_noun(count, 'run')} with {show_context([labels[best]])}, "
            f"{none} of the {count_noun(rest, 'other')}"
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
