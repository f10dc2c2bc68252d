"""The analyzer of runs: the findings of a report on the last runs, raised, renewed and ended."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from math import ceil, isnan
from typing import TYPE_CHECKING, Any

import numpy as np

from detailed_balance.analyzers.loop import Loop
from detailed_balance.analyzers.runs.roots import root_places
from detailed_balance.analyzers.runs.table import RunTable
from detailed_balance.diagnosis.finding import Finding
from detailed_balance.diagnosis.onsets import find_onsets
from detailed_balance.monitor.analysis._driven import is_loop_over, net_rounds
from detailed_balance.monitor.analysis._root_runs import (
    STUCK,
    RootRuns,
    RunFollower,
    RunKey,
    StuckRuns,
    run_key,
)
from detailed_balance.monitor.analysis._run_rates import RATES, RunRates
from detailed_balance.monitor.analysis.alerts import Alert, Observation
from detailed_balance.monitor.analysis.base import EXPECTED, FADED, AlphaSpending, View
from detailed_balance.report import Report, analyze
from detailed_balance.sources.source import open_source

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_RUNS = 2_000
"""So many root runs, the last ones, are reported on."""

FEWEST_RUNS = 10
"""With fewer runs that have stopped nothing is tested."""

NONE_OF = 59
"""What none of so many runs does, fewer than 5% of runs do, with confidence 95%."""

_FEWEST_EXPECTED = 3
_MOST_ALERTS = 1_000
_TOTALS = ("runs", "failed", "limited", "repeating")
_BY_OTHERS = ("cardinality",)
_AT_ONCE = ("waiting", "loss")
_TESTED = ("driven", "trap", "drift")


class DiagnosisAnalyzer:
    """Report on the last runs, and raise what the report finds.

    What needs no test is raised at any look, and so are open runs that get nowhere now
    (`StuckRuns`) and a driven loop that the live test has found. What a test supports is raised at
    looks that come after half as many new runs as were looked at, each at a level of its own
    (`AlphaSpending`). Besides, the rates of runs that fail, hit the limit or repeat themselves are
    tested after each run (`RunRates`): a rate that has gone up belongs to the finding of the same
    runs, or is a drift.

    A finding is over when enough runs came without it: where 10 would be expected at the rate seen
    before, fewer than a quarter did it; or none of the last 59 did, where 3 would be expected. It
    is raised again only by runs that are new.
    """

    name = "diagnosis"
    every = 5.0

    def __init__(self) -> None:
        self._stopped, self._spending = RunFollower(), AlphaSpending(fewest=FEWEST_RUNS)
        self._rates: RunRates | None = None
        self._saved_rates: Mapping[str, Any] | None = None
        self._totals: dict[str, int] = dict.fromkeys(_TOTALS, 0)
        self._repeating: set[RunKey] = set()  # the last runs that are counted as such
        self._strongest: dict[str, float] = {}  # of each alert, the largest share of runs
        self._last: dict[str, int] = {}  # and how many runs had stopped when it was seen last
        self._stuck = StuckRuns()
        self._looked = -1  # how much had been read then
        self._clean: RunKey | None = None  # the first run after the last problem

    def check(self, view: View) -> Iterator[Observation]:
        """Yield what is found in the last runs, and what is over."""
        view.results.update(self._totals, by_runs=self._totals["runs"] > 0)
        if view.news == self._looked and not any(map(_is_stuck, view.open_alerts())):
            return
        table = view.runs
        if table is None:
            return
        found = RootRuns.of(table)
        self._count(found, self._stopped.update(found), view)
        view.results.update(self._totals, by_runs=self._totals["runs"] > 0)
        stuck = tuple(self._stuck.find(found, view.time))
        if not self._totals["runs"]:
            yield from self._observe(stuck, found, view, tests=False)
            return
        held = int(found.stopped[found.places].sum())
        due = self._spending.due(self._totals["runs"], held)
        level = self._spending.level(view.alpha)
        report = _report(self._choose(found), view, level)
        view.results["verdict"] = report.verdict
        yield from self._observe((*stuck, *report.findings), found, view, tests=due)
        if view.evidence.quiet and not view.open_alerts("driven"):
            view.evidence.take_over()
        self._looked = view.news

    def _choose(self, found: RootRuns) -> RunTable:
        """Return the runs to report on: the last ones, since all problems were over.

        What was over long ago must not be evidence of something new.
        """
        places = found.places[-MOST_RUNS:]
        if self._clean is not None:
            keys = [run_key(found.table, place) for place in places.tolist()]
            places = places[keys.index(self._clean) :] if self._clean in keys else places
        if len(places) == len(found.places):
            return found.table
        kept = np.zeros(len(found.table), dtype=bool)
        kept[places] = True
        return found.table.select(kept[root_places(found.table)])

    def _count(self, found: RootRuns, places: NDArray[np.int64], view: View) -> None:
        """Take in runs that have stopped since the last time."""
        if self._rates is None:
            usual = RootRuns.of(RunTable.of(view.baseline.runs)) if view.baseline.runs else None
            self._rates = RunRates(view.alpha, usual, view.block)
            if self._saved_rates is not None:
                self._rates.restore(self._saved_rates)
        self._rates.update(found, places)
        self._totals["runs"] += len(places)
        self._totals["failed"] += int(found.failed[places].sum())
        self._totals["limited"] += int(found.limited[places].sum())
        self._count_repeating(found)
        if view.drift is not None:
            for place in places.tolist():
                view.drift.update(found.table[place])

    def _count_repeating(self, found: RootRuns) -> None:
        """Count runs that have stopped and are found to repeat themselves, each once.

        A run may be found later than it stops, by comparison with others.
        """
        roots = root_places(found.table)[list(find_onsets(found.table))]
        repeating = {run_key(found.table, place) for place in set(roots.tolist())}
        repeating &= self._stopped.seen
        self._totals["repeating"] += len(repeating - self._repeating)
        self._repeating = (self._repeating & self._stopped.seen) | repeating

    def _observe(
        self, findings: Sequence[Finding], found: RootRuns, view: View, *, tests: bool
    ) -> Iterator[Observation]:
        seen: set[str] = set()
        over: list[tuple[str, Finding]] = []
        for finding, at_once in self._add_rates(findings, found):
            known = view.registry.find(Observation(finding))
            name = finding.id if known is None else known.id
            if finding.kind in _BY_OTHERS or name in seen:
                continue
            seen.add(name)
            before = None if known is None or not known.is_open else known.finding
            if before is None and known is not None and self._is_old(finding, known, view):
                continue
            is_new = before is None or (before.severity, finding.severity) == ("watch", "problem")
            if is_new and not (tests or at_once or _is_alarmed(finding, view)):
                continue
            if _is_loop(finding):
                rate = net_rounds(view.recent, finding.place) / max(1, view.recent_total)
            else:
                of_stopped = finding.evidence != STUCK  # else it is not a share of runs that came
                rate = of_stopped * finding.affected / max(1, finding.total)
            strongest = 0.0 if before is None else self._strongest.get(name, 0.0)
            self._strongest[name], self._last[name] = max(rate, strongest), self._totals["runs"]
            if before is not None and self._is_over(name, finding, found, view):
                over.append((name, finding))
            else:
                yield Observation(finding)
        rest = (alert for alert in view.open_alerts() if alert.id not in seen)
        over += [(each.id, each.finding) for each in rest if self._is_gone(each, found, view)]
        yield from self._end(dict(over), found, view)
        while len(self._last) > _MOST_ALERTS:
            oldest = next(iter(self._last))
            del self._last[oldest], self._strongest[oldest]

    def _end(
        self, over: Mapping[str, Finding], found: RootRuns, view: View
    ) -> Iterator[Observation]:
        """Yield what is over; where no problem is left, remember where the clean runs begin."""
        problems = [a for a in view.open_alerts() if a.finding.severity == "problem"]
        if problems and all(alert.id in over for alert in problems):
            did = np.any([_mark(alert.finding.runs, found) for alert in problems], axis=0)
            last = NONE_OF if not did.any() else max(NONE_OF, _clear(did))
            first = found.places[-min(last, len(found.places))]
            self._clean = run_key(found.table, int(first))
        for finding in over.values():
            yield Observation(finding, _describe_end(finding, found))

    def _add_rates(
        self, findings: Sequence[Finding], found: RootRuns
    ) -> Iterator[tuple[Finding, bool]]:
        """Yield the findings, with the rates that have gone up, and whether they may be raised now.

        A rate belongs to the finding that names most of the runs that count for it.
        """
        said: dict[int, list[str]] = {}
        rest: dict[str, list[str]] = {}
        for what, graph, test in () if self._rates is None else self._rates.alarms():
            own = [i for i, finding in enumerate(findings) if finding.graph == graph]
            counted = found.counts_for(what, graph)[found.places]
            named = {i: int((_mark(findings[i].runs, found) & counted).sum()) for i in own}
            best = max(own, key=lambda i: (RATES[what] in findings[i].kinds, named[i]), default=-1)
            if best >= 0 and 2 * named[best] >= counted.sum():
                said.setdefault(best, []).append(test.describe(what))
            else:
                rest.setdefault(graph, []).append(test.describe(what))
        for i, finding in enumerate(findings):
            texts = said.get(i, [])
            if finding.kind == "drift":
                texts += rest.pop(finding.graph, [])
            if texts:
                yield _with_rate(finding, "; ".join(texts)), True
            else:
                yield finding, not _is_tested(finding)
        for graph, texts in rest.items():
            yield _describe_drift(graph, "; ".join(texts)), True

    def _is_old(self, finding: Finding, known: Alert, view: View) -> bool:
        """Say whether a finding that was over is of nothing that came since."""
        if _is_loop(finding):
            return is_loop_over(finding.place, self._strongest.get(known.id, 0.0), view)
        return bool(finding.runs) and set(finding.runs) <= set(known.finding.runs)

    def _is_over(self, name: str, finding: Finding, found: RootRuns, view: View) -> bool:
        """Say whether enough of the last runs are not of a finding."""
        did, rate = _mark(finding.runs, found), self._strongest.get(name, 0.0)
        if _is_loop(finding):
            return is_loop_over(finding.place, rate, view)
        if not rate or not did.any():
            return self._totals["runs"] - self._last.get(name, 0) >= NONE_OF
        if _clear(did) >= max(NONE_OF, _FEWEST_EXPECTED / rate):
            return True
        enough = ceil(EXPECTED / rate)
        return enough <= len(did) and int(did[-enough:].sum()) < FADED * EXPECTED

    def _is_gone(self, alert: Alert, found: RootRuns, view: View) -> bool:
        """Say whether what a report does not mention is over."""
        finding = alert.finding
        if alert.id not in self._last:  # raised by others, before runs were known to stop
            return finding.kind in ("driven", "trap") and view.by_runs
        by_rate = finding.kind == "drift" and isnan(finding.pvalue)
        if finding.kind in _AT_ONCE or by_rate or _is_stuck(alert):
            return True
        gone = bool(finding.runs) and not _mark(finding.runs, found).any()
        return gone or self._is_over(alert.id, finding, found, view)

    def to_dict(self) -> dict[str, Any]:
        """Return the state in types that JSON has."""
        return {
            "stopped": self._stopped.to_dict(),
            "looks": self._spending.to_list(),
            "rates": self._saved_rates if self._rates is None else self._rates.to_dict(),
            "totals": dict(self._totals),
            "repeating": [list(key) for key in self._repeating],
            "clean": None if self._clean is None else list(self._clean),
            "alerts": {name: [self._strongest[name], n] for name, n in self._last.items()},
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `to_dict` gave."""
        self._stopped.restore(state["stopped"])
        self._spending.restore(state["looks"])
        if state["rates"] is not None:
            RunRates(0.5, None, None).restore(state["rates"])  # refuses what is no such state
        self._saved_rates = state["rates"]
        self._totals = {name: int(state["totals"][name]) for name in _TOTALS}
        self._repeating = {(name, at, int(n)) for name, at, n in state["repeating"]}
        clean = state["clean"]
        self._clean = None if clean is None else (clean[0], clean[1], int(clean[2]))
        self._last = {str(name): int(n) for name, (_, n) in state["alerts"].items()}
        self._strongest = {str(name): float(r) for name, (r, _) in state["alerts"].items()}


def _is_stuck(alert: Alert) -> bool:
    """Say whether an alert is of open runs that get nowhere now."""
    return alert.finding.evidence == STUCK


def _is_alarmed(finding: Finding, view: View) -> bool:
    """Say whether the live test, which is valid at any time, has found the loop of a finding."""
    if not (_is_loop(finding) and view.evidence.alarm):
        return False
    found = {Loop(each.loop) for each in view.evidence.loops_with_evidence()}
    return Loop(finding.place) in found


def _is_tested(finding: Finding) -> bool:
    """Say whether a finding rests on a test, and not on facts or a rule."""
    return finding.kind != "limit" and (not isnan(finding.pvalue) or finding.kind in _TESTED)


def _is_loop(finding: Finding) -> bool:
    """Say whether a finding is about a loop: its runs are examples, so its steps are counted."""
    return finding.kind == "driven" and len(finding.place) > 2


def _report(table: RunTable, view: View, alpha: float) -> Report:
    labels = {name for context in table.contexts for name, _ in context}
    block = view.block if view.block in labels or view.block == "thread" else None
    usual = view.baseline
    baseline = RunTable.of(usual.runs) if usual.runs else usual.counts
    source = open_source(table, block=block)
    source.description, source.command = "the record", view.command
    return analyze(source, alpha=alpha, baseline=baseline)


def _mark(runs: Sequence[str], found: RootRuns) -> NDArray[np.bool_]:
    """Return, of the root runs in order, which are of a finding, or have such a run inside."""
    names, columns = set(runs), found.table.runs
    named = zip(columns.name.tolist(), columns.run.tolist(), strict=True)
    did = np.array([bool(names & {name, run}) for name, run in named], dtype=bool)
    marked = np.zeros(len(found.table), dtype=bool)
    marked[root_places(found.table)[did]] = True
    return marked[found.places]


def _with_rate(finding: Finding, said: str) -> Finding:
    evidence = "; ".join(filter(None, [finding.evidence, f"the rate has gone up: {said}"]))
    also = (*finding.also, *(("drift",) if "drift" not in finding.kinds else ()))
    since = finding.since if finding.onset is not None else said
    return replace(finding, severity="problem", also=also, evidence=evidence, since=since)


def _describe_drift(graph: str, said: str) -> Finding:
    """Return the finding of rates that have gone up, where no other one names these runs."""
    evidence = "a test of the rate after each run, valid however often you look"
    return Finding("drift", "problem", said, graph=graph, evidence=evidence)


def _clear(did: NDArray[np.bool_]) -> int:
    """Return how many of the last runs did not do it."""
    return len(did) - 1 - int(np.flatnonzero(did)[-1])


def _describe_end(finding: Finding, found: RootRuns) -> str:
    did = _mark(finding.runs, found)
    if finding.kind == "drift" or _is_loop(finding) or not did.any():
        return f"the last runs no longer show it; it was: {finding.headline}"
    last = max(NONE_OF, _clear(did))
    done = int(did[-last:].sum())
    return f"{done or 'none'} of the last {last:,} runs did it; it was: {finding.headline}"
