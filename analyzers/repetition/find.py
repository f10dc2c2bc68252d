"""`find_repetition`: which runs repeat themselves more than successful runs do, or get nowhere."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from math import ceil, inf, isfinite
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from detailed_balance.analyzers.loop import Loop
from detailed_balance.analyzers.multiplicity import check_level, check_replicates
from detailed_balance.analyzers.repetition._contrast import Contrast, contrast_failed
from detailed_balance.analyzers.repetition.classify import RepetitionRules, sum_costs
from detailed_balance.analyzers.repetition.measure import Evidence, MeasuredRuns
from detailed_balance.analyzers.repetition.progress import StepProgress, classify_steps
from detailed_balance.analyzers.repetition.result import (
    FEWEST_GOOD,
    LEAST,
    KindOfEvidence,
    RepeatingRun,
    Repetition,
    RepetitionFinding,
    RepetitionReport,
    RepetitionTest,
)
from detailed_balance.analyzers.runs.columns import OUTCOMES, RunColumns
from detailed_balance.analyzers.runs.roots import root_places
from detailed_balance.analyzers.runs.table import Runs, RunTable
from detailed_balance.analyzers.runs.trajectory import Outcome

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["find_repetition"]

_KINDS: tuple[Repetition, ...] = ("stay", "shuttle", "cycle")
_EVIDENCE: tuple[KindOfEvidence, ...] = ("fact", "contrast", "rule")

CONTENT, CONFIDENCE = 0.95, 0.95
"""Of the bound of successful runs."""

_AGAIN: dict[Repetition, float] = {"stay": 3, "shuttle": 3, "cycle": 2}
"""How often a run at its end must have done so, with at least 3 stale steps, to get nowhere."""

_STALE_AT_LEAST = 3
_UNUSUAL = 0.25
"""Where more of the other runs do what some failed at, it is work, such as waiting for a job."""


def find_repetition(
    runs: Runs | MeasuredRuns,
    *,
    alpha: float = 0.05,
    block: str | None = None,
    replicates: int = 999,
    rules: RepetitionRules | None = None,
    seed: int = 0,
) -> RepetitionReport:
    """Find runs that repeat themselves more than successful runs do, or without getting anywhere.

    Null hypothesis of the contrast: whether a run fails has nothing to do with how much it repeats.
    Of each run its longest stay in one state, its longest shuttle between two, and the most rounds
    of a loop are compared with the upper tolerance bound of successful runs (content and
    confidence 95%, which 59 successful runs have; with fewer the content is less, and is stated;
    at least 4 visits, 4 changes, 2 rounds). The number of failed runs beyond it is compared with
    that of permuted outcomes, with a new bound for each, and adjusted for the three kinds by the
    smallest p-value (Westfall and Young). So the test is exact for any number of exchangeable
    runs. Longer runs repeat more by chance. So the number is also compared with draws in which the
    runs beyond the bound are chosen in proportion to their other moves, and the larger p-value
    counts. Runs at the recursion limit are left out, because their length is that of the limit,
    and so are runs whose success is not known.

    Two things need no test. A run that stopped failed or at the limit while the same call got the
    same answer again and again is a fact; so are other runs that did the same there and got out of
    it. Where these are more than a quarter of the other runs, it is work, and no fact but of runs
    at the limit. With fewer than 20 successful runs, and for runs that have not stopped, a stated
    rule holds, for steps that are known to bring nothing (a stale answer, a failure), with no other
    step between; and, where there is no successful run at all, for failed runs of which the record
    has no facts.

    A run of a subgraph counts as part of the root run around it. Counting starts again where a
    person has answered: with each step whose facts say that it is the first after a resume.

    Parameters
    ----------
    runs : RunTable, iterable of Trajectory, or MeasuredRuns
        The runs.
    alpha : float
        The level of the contrast, for the three kinds together.
    block : str, optional
        As `by` of `RunTable.block_codes`. Outcomes are permuted inside blocks only, and the most of
        all successful runs of a block counts once for the bound.
    replicates : int
        How many permutations.
    rules : RepetitionRules, optional
        The stated rule.
    seed : int
        Of the permutations; the runs are sorted by what they repeat before.

    Raises
    ------
    InvalidInputError
        Where `alpha` is not between 0 and 1, `replicates` is under 19, or no run has such a label.

    References
    ----------
    S. S. Wilks, Annals of Mathematical Statistics 12 (1941) 91: distribution-free limits.
    P. H. Westfall and S. S. Young, *Resampling-based multiple testing*, 1993.

    Examples
    --------
    >>> from detailed_balance.analyzers import Trajectory
    >>> good = [Trajectory((("a", "b"), ("b", "c")), f"good-{i}", success=True) for i in range(60)]
    >>> back_and_forth = (("a", "b"), *8 * [("b", "c"), ("c", "b")])
    >>> bad = [Trajectory(back_and_forth, f"bad-{i}", success=False) for i in range(2)]
    >>> found = find_repetition(good + bad)
    >>> found.findings[0].kind, found.findings[0].states, found.tests[1].bound, found.content
    ('shuttle', ('b', 'c'), 4.0, 0.95)
    >>> print(found.findings[0].describe())  # doctest: +NORMALIZE_WHITESPACE
    2 runs (bad-0, bad-1) go back and forth between b and c, up to 16 changes; 2 of 2 failed runs
    have more than 4, and 0 of 60 successful ones (a bound that 95% of successful runs keep to; p =
    0.001); 32 moves after they started repeating
    """
    check_level(alpha)
    check_replicates(replicates)
    search = _Search(MeasuredRuns.of(runs), rules or RepetitionRules())
    chosen = search.compared()
    contrast = search.contrast(chosen, block, replicates, np.random.default_rng(seed))
    success = search.success[chosen]
    good, failed = int((success == 1).sum()), int((success == 0).sum())
    tests = tuple(
        RepetitionTest(kind, *each)
        for kind, *each in zip(
            _KINDS,
            contrast.bound.tolist(),
            contrast.good.tolist(),
            contrast.failed.tolist(),
            contrast.pvalue.tolist(),
            strict=True,
        )
    )
    found = list(search.facts())
    bounds = [test.bound if test.pvalue <= alpha else inf for test in tests]
    inside = np.flatnonzero(np.isin(search.root, chosen[success == 0]))
    found += search.beyond(inside, bounds, "contrast")
    found += search.by_rule(good, {test.kind: test.bound for test in tests})
    return RepetitionReport(
        tuple(_group(search.describe(found), tests, (good, failed), contrast.content)),
        search.at_limit(),
        tests,
        int((search.moves > 0).sum()),
        good,
        failed,
        contrast.units,
        contrast.content,
        CONFIDENCE,
        alpha,
        replicates,
        block,
        seed,
        search.rules,
    )


class _Found(NamedTuple):
    """What a run was found to repeat."""

    run: int
    kind: Repetition | None
    states: tuple[str, ...]
    times: int
    onset: int
    end: int
    evidence: KindOfEvidence


class _Search:
    """What runs repeat, and which of it gets them nowhere.

    Parameters
    ----------
    measured : MeasuredRuns
        The runs.
    rules : RepetitionRules
        The stated rule.
    """

    def __init__(self, measured: MeasuredRuns, rules: RepetitionRules) -> None:
        table = measured.table
        self.measured, self.rules, self.table = measured, rules, table
        self.root = root_places(table)
        self.moves = np.bincount(self.root, table.lengths, minlength=len(table))
        self.success = table.runs.success
        self.stopped = table.runs.outcome == OUTCOMES.index(Outcome.RECURSION_LIMIT)
        self.evidence = _evidence(measured)
        last = table.offsets[1:] - 1
        self._ends_wrong = (table.lengths > 0) & (np.append(table.target, 0)[last] < 0)
        limits = (ceil(rules.visits), ceil(rules.visits), rules.rounds)
        self.most, self._visits = self._find_most("times"), self._find_most("visits")
        self.limits: dict[Repetition, float] = dict(zip(_KINDS, limits, strict=True))
        self._progress = classify_steps(table)
        self._idle = _find_idle(table, self._progress)

    def compared(self) -> NDArray[np.int64]:
        """Return the places of the root runs that are compared, in an order of no record."""
        limit = np.zeros(len(self.table), dtype=bool)
        limit[self.root[self.stopped]] = True
        limit &= self.stopped | (self.success != 1)  # a successful run may have gone on without
        chosen = np.flatnonzero((self.moves > 0) & ~limit & (self.success >= 0))
        rank = np.argsort(self.table.order())
        keys = [rank[chosen], self.success[chosen].astype(np.int64), self.moves[chosen]]
        return chosen[np.lexsort([*keys, *self._visits[:, chosen], *self.most[:, chosen]])]

    def _find_most(self, name: Literal["times", "visits"]) -> NDArray[np.int64]:
        """(3, r) array: for each kind, the most of a number of its evidence in each root run."""
        most = np.zeros((len(_KINDS), len(self.table)), dtype=np.int64)
        for row, (kind, each) in zip(most, self.evidence.items(), strict=True):
            number = getattr(each, name)
            if kind == "stay":  # an error that ends a run is not one more visit
                number = number - (self._ends_wrong & (each.end == self.table.lengths))
            np.maximum.at(row, self.root, number)
        return most

    def contrast(
        self,
        chosen: NDArray[np.int64],
        block: str | None,
        replicates: int,
        rng: np.random.Generator,
    ) -> Contrast:
        return contrast_failed(
            self.most[:, chosen],
            self._visits[:, chosen],
            self.moves[chosen],
            self.success[chosen] == 0,
            self.table.block_codes(block)[chosen],
            np.array([LEAST[kind] - 1 for kind in _KINDS]),
            np.array([kind == "cycle" for kind in _KINDS]),
            content=CONTENT,
            confidence=CONFIDENCE,
            replicates=replicates,
            rng=rng,
        )

    def beyond(
        self, runs: NDArray[np.int64], bounds: Iterable[float], evidence: KindOfEvidence
    ) -> Iterator[_Found]:
        """Yield those of some runs that are beyond bounds, as the kind with the most visits."""
        limits = np.array(list(bounds))[:, None]
        times = np.stack([each.times[runs] for each in self.evidence.values()])
        visits = np.stack([each.visits[runs] for each in self.evidence.values()])
        visits = np.where(times > limits, visits, -1)
        for i in np.flatnonzero((visits >= 0).any(axis=0)).tolist():
            kind = _KINDS[int(visits[:, i].argmax())]
            yield self._found(int(runs[i]), kind, evidence)

    def _found(self, run: int, kind: Repetition, evidence: KindOfEvidence) -> _Found:
        each = self.evidence[kind]
        states = self.measured.where(kind, run, int(each.place[run]))
        return _Found(
            *(run, kind, states, int(each.times[run]), int(each.onset[run]), int(each.end[run])),
            evidence,
        )

    def facts(self) -> Iterator[_Found]:
        """Yield the runs that stopped failed or at the limit while nothing new came.

        Where that is unusual, so are other runs in which nothing new came at the same place. Where
        it is not, a failed run only did what others do, and the limit alone is a fact.
        """
        wrong = (self.stopped | (self.success == 0))[self._idle.run] & self._idle.at_end
        stale = self._idle.stale >= _STALE_AT_LEAST
        found, others = self._by_place(wrong & stale), self._by_place(~wrong & stale)
        for place, facts in found.items():
            known = {int(self.root[each.run]) for each in facts}
            alike = [each for each in others[place] if int(self.root[each.run]) not in known]
            number = len({int(self.root[each.run]) for each in alike})
            if number <= _UNUSUAL * ((self.moves > 0).sum() - len(known)):
                yield from (*facts, *alike)
            else:
                yield from (each for each in facts if self.stopped[each.run])

    def _by_place(self, chosen: NDArray[np.bool_]) -> dict[frozenset[str], list[_Found]]:
        """Return what runs repeated in some pieces, by the states."""
        found: dict[frozenset[str], list[_Found]] = defaultdict(list)
        for piece in np.flatnonzero(chosen).tolist():
            for each in self._of_piece(piece, _AGAIN, "fact"):
                found[frozenset(each.states)].append(each)
        return found

    def by_rule(self, good: int, bounds: Mapping[Repetition, float]) -> Iterator[_Found]:
        """Yield the runs that a rule is for, none that is known to have succeeded.

        Where there are enough successful runs to compare with, these are runs that have not
        stopped, and do more of it than successful runs.
        """
        limits: dict[Repetition, float] = self.limits
        pieces = self.success[self.root][self._idle.run] != 1
        if good >= FEWEST_GOOD:
            open_now = (self.success < 0) & (self.table.runs.outcome < 0)
            pieces = open_now[self.root][self._idle.run] & self._idle.at_end
            limits = {kind: max(self.limits[kind], bounds[kind] + 1) for kind in _KINDS}
        for piece in np.flatnonzero(pieces).tolist():
            yield from self._of_piece(piece, limits, "rule")
        if not good and self.table.facts is None:
            failed = np.flatnonzero((self.success == 0) & ~self.stopped)
            yield from self.beyond(failed, [limit - 1 for limit in self.limits.values()], "rule")

    def _of_piece(
        self, piece: int, limits: dict[Repetition, float], evidence: KindOfEvidence
    ) -> Iterator[_Found]:
        """Yield what a run repeated in some steps that brought nothing, if it is enough."""
        idle, best = self._idle, None
        for kind in _KINDS:
            each = idle.evidence[kind]
            if each.times[piece] >= limits[kind] and (
                best is None or each.visits[piece] > idle.evidence[best].visits[piece]
            ):
                best = kind
        if best is not None:
            each, before = idle.evidence[best], int(idle.before[piece])
            states = idle.measured.where(best, piece, int(each.place[piece]))
            onset, end = (before + int(column[piece]) for column in (each.onset, each.end))
            run, times = int(idle.run[piece]), int(each.times[piece])
            whole = self._found(run, best, evidence)
            around = whole.onset <= onset and end <= whole.end and whole.times <= times + 1
            if around and set(whole.states) == set(states):
                yield whole  # the same, with the step before that was not idle yet
            else:
                yield _Found(run, best, states, times, onset, end, evidence)

    def at_limit(self) -> tuple[RepeatingRun, ...]:
        """Return the runs that stopped at the limit, and what each of them repeated most."""
        runs = np.flatnonzero(self.stopped)
        found = {
            each.run: each
            for each in self.beyond(runs, [LEAST[kind] - 1 for kind in _KINDS], "fact")
        }
        listed = [found.get(run, _Found(run, None, (), 0, 0, 0, "fact")) for run in runs.tolist()]
        return tuple(run for run, _ in self.describe(listed))

    def describe(self, found: Iterable[_Found]) -> list[tuple[RepeatingRun, KindOfEvidence]]:
        """Return runs, each with the first that was found of it, worst first."""
        first: dict[int, _Found] = {}
        for each in found:
            first.setdefault(each.run, each)
        rows = list(first.values())
        runs = np.array([each.run for each in rows], dtype=np.int64)
        onset = np.array([each.onset for each in rows], dtype=np.int64)
        kept = np.array([each.kind is not None for each in rows], dtype=bool)
        after = np.where(kept, self.table.lengths[runs] - onset, 0)
        costs = sum_costs(self.table, runs, after)
        steps = self._count_steps(rows)
        order = np.lexsort((self.measured.names[runs], -after)).tolist()
        return [
            (self._row(rows[i], int(after[i]), float(costs[i]), steps[i]), rows[i].evidence)
            for i in order
        ]

    def _count_steps(self, found: list[_Found]) -> list[list[int]]:
        """Return how many steps of each `StepProgress` there are in what was found."""
        kinds = range(len(StepProgress))
        total = [np.concatenate([[0], np.cumsum(self._progress == kind)]) for kind in kinds]
        runs = np.array([each.run for each in found], dtype=np.int64)
        before = np.array([max(each.onset - 1, 0) for each in found], dtype=np.int64)
        end = np.array([each.end for each in found], dtype=np.int64)
        start = self.table.offsets[runs] + before
        stop = self.table.offsets[runs] + np.maximum(end, before)
        counts = [each[stop] - each[start] for each in total]
        return [list(map(int, each)) for each in zip(*counts, strict=True)]

    def _row(self, each: _Found, after: int, cost: float, steps: list[int]) -> RepeatingRun:
        columns, known = self.table.runs, each.kind is not None
        outcome, success = int(columns.outcome[each.run]), int(self.success[each.run])
        return RepeatingRun(
            each.run,
            columns.name[each.run],
            each.kind,
            Loop(each.states) if each.kind == "cycle" else each.states,
            each.times,
            each.onset if known else None,
            int(self.table.lengths[each.run]),
            after if known else None,
            cost if known and isfinite(cost) else None,
            None if success < 0 else bool(success),
            None if outcome < 0 else OUTCOMES[outcome],
            *steps,
        )


class _Idle(NamedTuple):
    """The steps in a row that brought runs nothing, as p runs of their own."""

    measured: MeasuredRuns
    evidence: dict[Repetition, Evidence]
    run: NDArray[np.int64]
    before: NDArray[np.int64]
    at_end: NDArray[np.bool_]
    stale: NDArray[np.int64]


def _evidence(measured: MeasuredRuns) -> dict[Repetition, Evidence]:
    return {
        "stay": measured.stays(),
        "shuttle": measured.shuttles(),
        "cycle": measured.cycles(),
    }


def _find_idle(table: RunTable, progress: NDArray[np.int8]) -> _Idle:
    """Return the parts of runs, between resumes, in which each step is stale or failed."""
    run, end = table.run_of_move, table.target == table.code("__end__")
    moves = np.flatnonzero((progress <= StepProgress.FAILED) & ~end)
    whose = run[moves]
    new = np.ones(len(moves), dtype=bool)
    new[1:] = (np.diff(moves) > 1) | (whose[1:] != whose[:-1])
    facts = None if table.facts is None else table.facts.select(moves)
    if facts is not None:
        new |= facts.resumed
    first = np.flatnonzero(new)
    offsets = np.append(first, len(moves))
    pieces = RunTable.from_codes(
        table.states,
        table.source[moves],
        table.target[moves],
        offsets,
        RunColumns.unknown(len(first)),
        facts=facts,
    )
    measured = MeasuredRuns.of(pieces)
    last = np.full(len(table) + 1, -1)  # of each run, the last move but the one to END
    np.maximum.at(last, run[~end], np.flatnonzero(~end))
    stale = np.append(0, np.cumsum(progress[moves] == StepProgress.STALE))
    return _Idle(
        measured,
        _evidence(measured),
        whose[first],
        moves[first] - table.offsets[whose[first]],
        moves[offsets[1:] - 1] == last[whose[first]],
        stale[offsets[1:]] - stale[offsets[:-1]],
    )


def _group(
    runs: Iterable[tuple[RepeatingRun, KindOfEvidence]],
    tests: tuple[RepetitionTest, ...],
    compared: tuple[int, int],
    content: float,
) -> list[RepetitionFinding]:
    """Put runs that repeat the same together, the strongest evidence first."""
    places: dict[tuple[Repetition, tuple[str, ...]], list[tuple[RepeatingRun, KindOfEvidence]]] = {}
    for run, evidence in runs:
        if run.kind is not None:
            places.setdefault((run.kind, run.states), []).append((run, evidence))
    test = {each.kind: each for each in tests}
    found = [
        RepetitionFinding(
            kind,
            states,
            next(each for each in _EVIDENCE if any(each == evidence for _, evidence in rows)),
            tuple(run for run, _ in rows),
            test[kind],
            compared,
            content,
            CONFIDENCE,
        )
        for (kind, states), rows in places.items()
    ]
    return sorted(
        found, key=lambda f: (_EVIDENCE.index(f.evidence), -len(f.runs), f.kind, f.states)
    )
