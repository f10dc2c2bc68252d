"""`compare_runs`: what differs between two sets of runs, with one promise for all of it."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import false_discovery_control

from detailed_balance.analyzers.comparison._divisions import Divisions, number_blocks
from detailed_balance.analyzers.comparison._permutation import permute_runs
from detailed_balance.analyzers.comparison._run_statistics import (
    RunStatistics,
    WholeRuns,
    compute_run_statistics,
)
from detailed_balance.analyzers.comparison.potentials import PotentialComparison, compare_potentials
from detailed_balance.analyzers.comparison.result import (
    QUESTIONS,
    Change,
    ChangeUnit,
    ComparisonTest,
    Question,
    RunComparison,
)
from detailed_balance.analyzers.errors import (
    ConvergenceError,
    InsufficientDataError,
    InvalidInputError,
)
from detailed_balance.analyzers.multiplicity import check_level
from detailed_balance.analyzers.repetition.measure import MeasuredRuns
from detailed_balance.analyzers.runs.joining import join_runs
from detailed_balance.analyzers.runs.roots import root_places
from detailed_balance.analyzers.runs.table import Runs, RunTable

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["compare_runs", "contrast_runs"]


def compare_runs(
    before: Runs,
    after: Runs,
    *,
    block: str | None = None,
    questions: Iterable[Question] | None = None,
    min_visits: float = 10.0,
    alpha: float = 0.05,
    replicates: int | None = None,
    seed: int = 0,
) -> RunComparison:
    """Test whether two sets of runs differ, in what, and by how much.

    Null hypothesis: the runs of both sets are exchangeable. Nothing is assumed about a run inside.
    Where runs have blocks (test cases, customers, batches), it is: the runs of one block are
    exchangeable between the sets, and so are the blocks, with their sizes, that one set alone has.
    Runs of a block that both sets have are then compared inside it, so that what makes one block
    harder than another cancels; blocks of one set alone are permuted as wholes.

    Every run has a score for each thing that is asked about. What is tested is the sum of the
    scores of the second set over their spread, and for a question the sum of the squares of those.
    Whole runs are permuted between the sets: the p-value of a question is the rank of its
    statistic, and the smallest p-value of all questions has its own rank, so that all together
    keep alpha exactly, whatever their dependence (Westfall and Young). Where a question as a whole
    shows a change, what changed is listed at a false discovery rate of alpha.

    Parameters
    ----------
    before, after : RunTable or iterable of Trajectory
        The runs. Those of subgraphs are part of the run around them: their moves and loops add to
        it, and so do their costs, and of stays the longest counts; success and steps are its own.
    block : str, optional
        What tells the block of a run: ``"thread"``, or a label; by default the blocks of the
        tables, where they have any. Blocks of one name are one block, in both sets.
    questions : iterable of str, optional
        Some of `QUESTIONS`; all by default.
    min_visits : float
        Of traps, as for `find_traps`.
    alpha : float
        See `RunComparison`.
    replicates : int, optional
        How many permutations; 9,999 by default. For 10,000 runs or more without blocks all shifts
        of the labels round a random order of the runs are taken by default, nearly as many as
        there are runs; with blocks, 1,999 permutations.
    seed : int
        Of the permutations.

    Raises
    ------
    InsufficientDataError
        Where a set has no run.
    InvalidInputError
        Where an argument has a value that is not allowed, or no run of a set has the label that
        tells its block.

    References
    ----------
    P. H. Westfall and S. S. Young, *Resampling-based multiple testing*, 1993.

    Examples
    --------
    >>> from detailed_balance.analyzers import Trajectory
    >>> old = [Trajectory((("a", "b"), ("b", "a"), ("a", "__end__")))] * 20
    >>> new = [Trajectory((("a", "b"), ("b", "c"), ("c", "__end__")))] * 20
    >>> found = compare_runs(old, new, questions=["moves", "length"])
    >>> found.rejected, [(change.what, change.difference) for change in found.changes[:2]]
    (True, [(('b', 'a'), -1.0), (('b', 'c'), 1.0)])
    """
    tables = [RunTable.of(before), RunTable.of(after)]
    if block is not None:
        tables = [table.with_blocks(block) for table in tables]
    root = [root_places(table) for table in tables]
    moved = len(tables[0])
    return contrast_runs(
        join_runs(tables),
        np.concatenate([root[0], root[1] + moved]),
        np.unique(root[0]),
        np.unique(root[1]) + moved,
        questions=questions,
        min_visits=min_visits,
        alpha=alpha,
        replicates=replicates,
        seed=seed,
    )


def contrast_runs(
    runs: RunTable | MeasuredRuns,
    root: NDArray[np.int64],
    before: NDArray[np.int64],
    after: NDArray[np.int64],
    *,
    whole_blocks: bool = True,
    questions: Iterable[Question] | None = None,
    min_visits: float = 10.0,
    alpha: float = 0.05,
    replicates: int | None = None,
    seed: int = 0,
) -> RunComparison:
    """Compare two sets of runs of one table, as `compare_runs` does.

    Parameters
    ----------
    runs : RunTable or MeasuredRuns
        The r runs.
    root : (r,) array of int64
        The place of the root run of each (`root_places`).
    before, after : arrays of int64
        The places of the root runs of each set.
    whole_blocks : bool
        Whether blocks of one set alone are permuted as wholes. Where it is the runs that make the
        sets, as by their outcome, they must not be: a hard task differs from an easy one in more
        than its outcome. Such blocks of several runs then say nothing.
    questions, min_visits, alpha, replicates, seed
        As for `compare_runs`.
    """
    asked = _check((len(before), len(after)), questions, alpha)
    rng = np.random.default_rng(seed)
    chosen, label = (
        np.concatenate([before, after]),
        np.repeat([False, True], [len(before), len(after)]),
    )
    # What is drawn must not depend on the order of a record.
    table = runs.table if isinstance(runs, MeasuredRuns) else runs
    place = np.argsort(table.order())
    order = np.argsort(place[chosen])
    order = order[rng.permutation(len(order))]
    chosen, label = chosen[order], label[order]
    wholes = WholeRuns.of(runs, root, chosen, place)
    block = wholes.table.block_codes()[chosen]
    divisions = Divisions.of(block, label.astype(np.int64), whole=whole_blocks)
    families = compute_run_statistics(wholes, asked, min_visits)
    result = partial(
        RunComparison,
        runs=(len(before), len(after)),
        unit=_unit(divisions),
        alpha=alpha,
        seed=seed,
        blocks=divisions.blocks,
    )
    if not families:
        return result((), replicates=replicates or 0)
    found = permute_runs(families, divisions, replicates, rng)
    shifts = _shifts(wholes, label, families)
    by_block = number_blocks(block) if divisions.blocks is not None else None
    tests = []
    for family, pvalue, adjusted, each in zip(
        families, found.omnibus.tolist(), found.adjusted.tolist(), found.each, strict=True
    ):
        level = alpha if adjusted <= alpha else -1.0
        of_potential = family.question == "potential"
        values = _shifted(family, shifts) if of_potential else family.effects(label, by_block)
        changes = _changes(family, values, each, level)
        tests.append(ComparisonTest(family.question, pvalue, adjusted, changes, adjusted <= alpha))
    smallest = max(divisions.smallest_pvalue, 1 / (found.replicates + 1))
    return result(tuple(tests), replicates=found.replicates, smallest_pvalue=smallest)


def _unit(divisions: Divisions) -> ChangeUnit:
    if divisions.blocks is None:
        return "runs"
    both, *alone = divisions.blocks
    if both and any(alone):
        return "runs and blocks"
    return "blocks" if any(alone) else "runs in blocks"


def _check(
    sizes: tuple[int, int], questions: Iterable[Question] | None, alpha: float
) -> tuple[Question, ...]:
    check_level(alpha)
    asked = tuple(QUESTIONS) if questions is None else tuple(questions)
    if unknown := sorted(set(asked) - set(QUESTIONS)):
        raise InvalidInputError(f"questions={unknown!r}; allowed are {', '.join(QUESTIONS)}")
    if not all(sizes):
        raise InsufficientDataError(
            f"a comparison needs runs on both sides; got {sizes[0]} and {sizes[1]}"
        )
    return asked


def _shifts(
    wholes: WholeRuns, label: NDArray[np.bool_], families: Iterable[RunStatistics]
) -> PotentialComparison | None:
    """Return the potentials of both sides on the states asked about, where they can be compared."""
    names = [name for f in families if f.question == "potential" for (name,) in f.names]
    if not names:
        return None
    later = label[wholes.whole]
    before, after = (wholes.table.select(wholes.parts[side]) for side in (~later, later))
    try:
        return compare_potentials(before, after, states=[n for n in names if n is not None])
    except (InsufficientDataError, ConvergenceError):
        return None


def _changes(
    family: RunStatistics, values: NDArray[np.float64], pvalues: NDArray[np.float64], alpha: float
) -> tuple[Change, ...]:
    adjusted = np.asarray(false_discovery_control(pvalues))
    found = []
    for i in np.lexsort((-np.abs(np.nan_to_num(values[1] - values[0])), pvalues)):
        before, after, error, *runs = values[:, i].tolist()
        p, q = float(pvalues[i]), float(adjusted[i])
        sizes = (int(runs[0]), int(runs[1]))
        about = (family.question, family.names[i])
        found.append(Change(*about, before, after, error, sizes, p, q, q <= alpha))
    return tuple(found)


def _shifted(family: RunStatistics, shifts: PotentialComparison | None) -> NDArray[np.float64]:
    values = np.full((5, len(family.names)), np.nan)
    values[3:] = 0
    if shifts is not None:
        place = {state: i for i, state in enumerate(shifts.states)}
        for column, (state,) in enumerate(family.names):
            if (i := place.get(str(state))) is not None:
                values[:2, column] = shifts.values[:, i]
                values[2, column] = shifts.shift_error[i]
    return values
