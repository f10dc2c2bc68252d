"""`compare`: from two sources, or two contexts of one, to what differs between them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from detailed_balance.analyzers import RunComparison, compare_counts, compare_runs
from detailed_balance.analyzers.comparison.block_labels import find_block_label
from detailed_balance.analyzers.errors import InsufficientDataError, InvalidInputError
from detailed_balance.analyzers.runs.joining import join_runs
from detailed_balance.analyzers.runs.labels import (
    ContextLike,
    Moment,
    find_since,
    make_context,
)
from detailed_balance.comparison._sides import Side, load_side
from detailed_balance.comparison.comparison import Comparison
from detailed_balance.sources.source import Merge, Progress, Source, open_source


def compare(
    a: object,
    b: object = None,
    *,
    context: ContextLike = None,
    since: Moment = None,
    until: Moment = None,
    last: str | None = None,
    block: str | None = None,
    hide: Iterable[str] = (),
    merge: Merge = None,
    context_a: ContextLike = None,
    context_b: ContextLike = None,
    since_a: Moment = None,
    until_a: Moment = None,
    since_b: Moment = None,
    until_b: Moment = None,
    alpha: float = 0.05,
    replicates: int | None = None,
    min_visits: float = 10.0,
    seed: int = 0,
    progress: Progress | None = None,
    **options: Any,
) -> Comparison:
    """Find what a change did: two sources, or two contexts or weeks of one, side by side.

    Six questions are asked: whether each state leads to the same states as often, whether states
    lie as high, whether the same loops are taken as often, whether runs stay as long in the same
    places, whether as many succeed, and whether they take as many steps. Where both sides know
    their runs, whole runs are permuted (`compare_runs`), inside blocks and by blocks where runs
    have them, and the probability that anything is
    called changed where nothing is, is at most `alpha`. Else only the first two can be asked, and
    each move counts as independent (`compare_counts`).

    Parameters
    ----------
    a, b : object
        Before and after, each as for `open_source`. Without `b`, both sides are of `a`, and differ
        by context or time.
    context, since, until, last
        Which runs to keep of both sides, as for `open_source`.
    block, hide, merge
        The blocks of runs, states to take out of each run, and new names of states, as for
        `open_source`. A state that is hidden may be on one side alone.
    context_a, context_b : mapping, optional
        Only runs of that side with these labels, such as ``{"model": "gpt-4o"}``, besides those of
        `context`.
    since_a, until_a, since_b, until_b : float, str or datetime, optional
        Only runs of that side that began in that time, in place of `since` and `until`.
    alpha : float
        See above; also the false discovery rate of each list of changes, and of the driven loops
        of each side.
    replicates : int, optional
        Permutations; by default 9,999, or nearly as many as runs from 10,000 runs on, as for
        `compare_runs`.
    min_visits : float
        Of traps, as for `find_traps`.
    seed : int
        Of the permutations.
    progress : callable, optional
        As for `analyze`.
    **options
        As for `open_source`, for both sides alike: which field of a file or a table holds what.

    Returns
    -------
    Comparison
        The answer, first in words.

    Raises
    ------
    InsufficientDataError
        Where a side is empty, or has too little to be compared.
    InvalidInputError
        Where both sides are the same, or an argument has a value that is not allowed.
    ReadError
        Where a file or a store cannot be read.

    Examples
    --------
    >>> from detailed_balance.analyzers import Trajectory
    >>> old = [Trajectory((("plan", "search"), ("search", "answer")), success=True)] * 25
    >>> new = [Trajectory((("plan", "search"), ("search", "plan")) * 3, success=False)] * 25
    >>> comparison = compare(old, new)
    >>> comparison.verdict.headline, comparison.failures()
    ('WORSE: success 100.0% -> 0.0%, steps 2.0 -> 6.0', ('problem', 'failure', 'repetition', \
'trap', 'drift'))
    """
    since = find_since(since, last)
    shared = dict(make_context(context))
    contexts = [shared | dict(make_context(own)) for own in (context_a, context_b)]
    windows = [
        (since if begin is None else begin, until if end is None else end)
        for begin, end in ((since_a, until_a), (since_b, until_b))
    ]
    if b is None and contexts[0] == contexts[1] and windows[0] == windows[1]:
        raise InvalidInputError(
            "both sides are the same: give a second source, or distinguish the sides by context_a= "
            "and context_b=, or by since_a=, until_a=, since_b= and until_b="
        )
    announce = progress or (lambda stage, done, total: None)
    settings = {"alpha": alpha, "min_visits": min_visits}
    chosen = [
        {"context": own or None, "since": begin, "until": end, "merge": merge, "block": block}
        for own, (begin, end) in zip(contexts, windows, strict=True)
    ]
    first = open_source(a, **options)
    sources = (first, first if b is None else open_source(b, **options))
    hidden = (hide,) if isinstance(hide, str) else tuple(hide)
    before, after = (
        load_side(name, source, window, settings)
        for name, source, window in zip(
            "AB", _choose(sources, chosen, hidden, announce), windows, strict=True
        )
    )
    announce("Comparing", 0, 0)
    found = _test(before, after, min_visits, alpha, replicates, seed)
    return Comparison(before, after, found, _warn(before, after))


def _warn(before: Side, after: Side) -> tuple[str, ...]:
    """Return what to know about both sides, a label that looks like a task once for both."""
    warnings = (*before.report.warnings, *after.report.warnings)
    if before.runs is None or after.runs is None:
        return warnings
    labels = map(find_block_label, (before.runs, after.runs, join_runs([before.runs, after.runs])))
    *own, both = (() if label is None else (label.describe(),) for label in labels)
    said = {sentence for sentences in own for sentence in sentences}
    return (*(warning for warning in warnings if warning not in said), *both)


def _test(
    before: Side, after: Side, min_visits: float, alpha: float, replicates: int | None, seed: int
) -> RunComparison:
    """Test what differs; of sides with too little for any test, nothing."""
    by_runs = before.runs is not None and after.runs is not None
    try:
        if before.runs is None or after.runs is None:
            counts = before.report.counts, after.report.counts
            return compare_counts(*counts, alpha=alpha, seed=seed)
        return compare_runs(
            before.runs,
            after.runs,
            min_visits=min_visits,
            alpha=alpha,
            replicates=replicates,
            seed=seed,
        )
    except InsufficientDataError:
        sizes = (len(before.roots), len(after.roots)) if by_runs else (0, 0)
        return RunComparison(
            (), sizes, "runs" if by_runs else "moves", alpha, replicates or 0, seed
        )


def _choose(
    sources: Sequence[Source],
    chosen: Sequence[Mapping[str, Any]],
    hidden: tuple[str, ...],
    announce: Progress,
) -> list[Source]:
    """Choose the runs of both sides; a hidden state that only one side has is not a mistake."""
    sides = [source.choose(**wanted) for source, wanted in zip(sources, chosen, strict=True)]
    there = []
    for name, side in zip("AB", sides, strict=True):
        announce(f"Reading {name}", 0, 0)
        runs = side.runs()
        there.append(None if runs is None else set(runs.states))
    if not hidden:
        return sides
    known: set[str] = set().union(*(states or () for states in there))
    return [
        source.choose(**wanted, hide=[s for s in hidden if s not in known or s in (states or {s})])
        for source, wanted, states in zip(sources, chosen, there, strict=True)
    ]
