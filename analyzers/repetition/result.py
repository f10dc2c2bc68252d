"""What `find_repetition` returns: runs that repeat themselves too much, and why that is said."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from detailed_balance.analyzers.repetition.classify import RepetitionRules
from detailed_balance.analyzers.results import Result, Table, TableResult, safe_name
from detailed_balance.analyzers.runs.trajectory import Outcome

__all__ = [
    "FEWEST_GOOD",
    "LEAST",
    "KindOfEvidence",
    "RepeatingRun",
    "Repetition",
    "RepetitionFinding",
    "RepetitionReport",
    "RepetitionTest",
]

Repetition: TypeAlias = Literal["stay", "shuttle", "cycle"]
"""What a run may do over and over."""

KindOfEvidence: TypeAlias = Literal["fact", "contrast", "rule"]
"""What a finding rests on, the strongest first."""

FEWEST_GOOD = 20
"""With fewer successful runs the rules speak too."""

LEAST = {"stay": 5, "shuttle": 5, "cycle": 3}
"""Less is not a repetition, however little successful runs repeat: a bound is at least one under
this."""

_UNITS = {"stay": "visit", "shuttle": "change", "cycle": "round"}
_PLACE = ("kind", "states")
_NAMED = 3


@dataclass(frozen=True, slots=True)
class RepeatingRun(Result):
    """What one run does over and over.

    Parameters
    ----------
    place : int
        Which of the runs it is, from 0.
    name : str or None
        Its key.
    kind : {"stay", "shuttle", "cycle"} or None
        What it does; None for a run at the limit that repeats nothing.
    states : tuple of str
        Where: one state, two, or a `Loop`.
    times : int
        Visits in a row (stay), changes in a row (shuttle), or rounds (cycle).
    onset : int or None
        The moves before that began.
    steps : int
        Its moves.
    after : int or None
        The moves from the onset on.
    cost_after : float or None
        What these cost, where that is known.
    success : bool or None
        Whether it did its work.
    outcome : Outcome or None
        Its outcome.
    stale, failed, new, unknown : int
        Of the steps that it did so in: how many got the same answer to the same call as before in
        the run, failed otherwise, brought a new call or answer, and of how many nothing is known.
    """

    place: int
    name: str | None
    kind: Repetition | None
    states: tuple[str, ...]
    times: int
    onset: int | None
    steps: int
    after: int | None
    cost_after: float | None
    success: bool | None
    outcome: Outcome | None
    stale: int
    failed: int
    new: int
    unknown: int


@dataclass(frozen=True, slots=True)
class RepetitionTest(Result):
    """Whether failed runs do more of one kind than successful runs.

    Parameters
    ----------
    kind : {"stay", "shuttle", "cycle"}
        Of each run, its longest stay or shuttle, or the loop with most rounds.
    bound : float
        The upper tolerance bound of successful runs, infinite where there are none.
    good, failed : int
        How many good and failed runs are beyond it.
    pvalue : float
        How often as many would be with permuted outcomes, or by the lengths of runs alone,
        whichever is more; adjusted for the three kinds.
    """

    kind: Repetition
    bound: float
    good: int
    failed: int
    pvalue: float


@dataclass(frozen=True, slots=True)
class RepetitionFinding(Result):
    """Runs that repeat themselves in one place.

    Parameters
    ----------
    kind : {"stay", "shuttle", "cycle"}
        What they do.
    states : tuple of str
        Where: one state, two, or a `Loop`.
    evidence : {"fact", "contrast", "rule"}
        "fact": they stopped failed or at the limit while the same call got the same answer again
        and again. "contrast": failed runs are beyond the bound of good ones. "rule": a stated limit
        is exceeded, and there are too few successful runs to compare with.
    runs : tuple of RepeatingRun
        Which, those with the most moves after they started repeating first.
    test : RepetitionTest
        How good and failed runs compare in this kind.
    compared : (int, int)
        How many good and failed runs that rests on.
    content, confidence : float
        The share of successful runs within the bound, with that confidence.
    """

    kind: Repetition
    states: tuple[str, ...]
    evidence: KindOfEvidence
    runs: tuple[RepeatingRun, ...]
    test: RepetitionTest
    compared: tuple[int, int]
    content: float
    confidence: float

    def describe(self) -> str:
        """Say it in one sentence."""
        most = max(run.times for run in self.runs)
        names = [safe_name(run.name) for run in self.runs[:_NAMED] if run.name is not None]
        more = ", ..." if len(self.runs) > _NAMED else ""
        named = f" ({', '.join(names)}{more})" if names else ""
        after = sum(run.after or 0 for run in self.runs)
        parts = [
            f"{_count(len(self.runs), 'run')}{named} {_describe_kind(self.kind, self.states)}, "
            f"up to {_count(most, _UNITS[self.kind])}",
            self._because(),
            f"{after:,} moves after they started repeating",
            *self._progress(),
        ]
        return "; ".join(parts)

    def _because(self) -> str:
        test, (good, failed) = self.test, self.compared
        if self.evidence == "fact":
            lost = sum(
                not run.success or run.outcome is Outcome.RECURSION_LIMIT for run in self.runs
            )
            who = "they" if lost == len(self.runs) else f"{lost:,} of them"
            return f"{who} stopped there while the same call got the same answer again and again"
        if self.evidence == "rule":
            if good >= FEWEST_GOOD:
                return "by a rule, for runs that have not stopped"
            number = _count(good, "successful run")
            few = f"{number} are too few" if good else "there is no successful run"
            return f"by a rule, because {few} to compare with"
        return (
            f"{test.failed:,} of {_count(failed, 'failed run')} have more than {test.bound:.0f}, "
            f"and {test.good:,} of {good:,} successful ones (a bound that {self.content:.0%} of "
            f"successful runs keep to; p = {test.pvalue:.2g})"
        )

    def _progress(self) -> Iterator[str]:
        """Yield what the repeated steps brought, where that is known."""
        names = ("stale", "failed", "new", "unknown")
        number = {name: sum(getattr(run, name) for run in self.runs) for name in names}
        words = {"stale": "the same call with the same answer", "failed": "failed", "new": "new"}
        said = [f"{number[name]:,} {words[name]}" for name in words if number[name]]
        if said:
            yield f"of {_count(sum(number.values()), 'repeated step')} {', '.join(said)}"


@dataclass(frozen=True, slots=True)
class RepetitionReport(TableResult):
    """Which runs repeat themselves too much, and what that rests on.

    Parameters
    ----------
    findings : tuple of RepetitionFinding
        Facts first, then contrasts, then rules; in each the place with the most runs first.
    limits : tuple of RepeatingRun
        The runs that were stopped at the recursion limit, and what each of them repeated most, if
        that is 5 visits, 5 changes or 3 rounds; those with the most moves after they started
        repeating first. That says what they did, and not that it is more than successful runs do.
    tests : tuple of RepetitionTest
        One for each kind.
    runs : int
        How many root runs with moves there are.
    good, failed : int
        How many of them succeeded and failed, those at the limit left out: they are compared.
    units : int
        The successful runs that a bound rests on, or their blocks.
    content, confidence : float
        The share of successful runs within a bound, and with what confidence.
    alpha, replicates, block, seed, rules
        The settings.
    """

    findings: tuple[RepetitionFinding, ...]
    limits: tuple[RepeatingRun, ...]
    tests: tuple[RepetitionTest, ...]
    runs: int
    good: int
    failed: int
    units: int
    content: float
    confidence: float
    alpha: float
    replicates: int
    block: str | None
    seed: int
    rules: RepetitionRules

    def describe(self) -> str:
        """Say each finding in one sentence, or that there is none, and what the limit stopped."""
        said = [f"{finding.describe()}." for finding in self.findings]
        if not said:
            said = [f"{self._describe_none()}."]
        if self.limits:
            repeating = sum(run.kind is not None for run in self.limits)
            runs = _count(len(self.limits), "run")
            said.append(f"{runs} stopped at the recursion limit, {repeating:,} while repeating.")
        return " ".join(said)

    def _describe_none(self) -> str:
        if not self.good or not self.failed:
            return (
                "Whether runs repeat themselves too much is not known: "
                f"{_count(self.good, 'successful run')} and {_count(self.failed, 'failed run')}"
            )
        bounds = ", ".join(_count(int(test.bound), _UNITS[test.kind]) for test in self.tests)
        return (
            "Failed runs do not repeat themselves significantly more than successful ones, of "
            f"which {self.content:.0%} keep to {bounds}"
        )

    def to_table(self) -> Table:
        """Return the runs of the findings as columns, finding by finding."""
        columns = [name for name in RepeatingRun.__dataclass_fields__ if name not in _PLACE]
        rows = [(finding, run) for finding in self.findings for run in finding.runs]
        table: Table = {name: [getattr(f, name) for f, _ in rows] for name in (*_PLACE, "evidence")}
        table |= {name: [getattr(run, name) for _, run in rows] for name in columns}
        for name in ("bound", "pvalue"):
            table[name] = [getattr(finding.test, name) for finding, _ in rows]
        return table

    def _content(self) -> dict[str, Any]:
        return self._fields()


def _describe_kind(kind: Repetition, states: tuple[str, ...]) -> str:
    names = [safe_name(state) for state in states]
    if kind == "stay":
        return f"stay in {names[0]}"
    if kind == "shuttle":
        return f"go back and forth between {' and '.join(names)}"
    return f"go round {' -> '.join((*names, names[0]))}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
