"""The rates of runs that fail, hit the limit or repeat themselves, at any time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import beta

from detailed_balance.analyzers import RateMartingale
from detailed_balance.analyzers.sequential.rates import block_means
from detailed_balance.monitor.analysis._root_runs import RootRuns

if TYPE_CHECKING:
    from numpy.typing import NDArray

RATES = {"failed": "failure", "limited": "limit", "repeating": "repetition"}
"""The rates that are watched, and the kind of finding that tells of the same fault."""

_WORDS = {
    "failed": "runs that fail",
    "limited": "runs that hit the recursion limit",
    "repeating": "runs that repeat themselves",
}

WARM_UP = 100
"""Without a baseline, so many runs are one."""

QUIET = 59
"""An alarm is over where a test that began after it stays under its line for so many runs."""

_RECENT = 40
_MOST_RATES = 100


class RateTest:
    """Whether one rate has gone up, and when that is over.

    Parameters
    ----------
    alpha : float
        The probability of a false alarm.
    baseline : (n,) array of float or None
        What usual runs did; the first 100 runs where there is none.
    bound : float
        The upper 95% bound of the rate of the baseline.
    """

    def __init__(
        self, alpha: float, baseline: NDArray[np.float64] | None = None, bound: float = 1.0
    ) -> None:
        self.alpha, self.bound = alpha, bound
        if baseline is None:
            self.main = RateMartingale(warm_up=WARM_UP, alpha=alpha)
        else:
            self.main = RateMartingale(baseline=baseline, alpha=alpha)
        self.second: RateMartingale | None = None
        self._recent: deque[float] = deque(maxlen=_RECENT)

    def update(self, value: float, block: str | None) -> None:
        """Add the next run."""
        self.main.update(value, block)
        self._recent.append(value)
        if self.main.warm_up is not None and self.main.runs == WARM_UP:
            self.bound = upper_bound(self.main.rate * WARM_UP, WARM_UP)
        if self.second is not None:
            self.second.update(value, block)
        if self.main.alarm and (self.second is None or self.second.alarm):
            limit = min(max(self.bound, 1e-6), 1 - 1e-6)
            self.second = RateMartingale(limit, alpha=self.alpha)

    @property
    def quiet(self) -> bool:
        """Whether the rate is no longer seen to be higher."""
        return self.second is not None and self.second.runs >= QUIET

    def take_over(self) -> None:
        """Let the second test take the place of the first."""
        if self.second is not None:
            self.main, self.second = self.second, None

    def describe(self, what: str) -> str:
        """Say it in a part of a sentence."""
        rate = sum(self._recent) / len(self._recent)
        return (
            f"{_WORDS[what]}: {rate:.0%} of the last {len(self._recent)}, at most "
            f"{self.bound:.0%} before"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the state in types that JSON has."""
        second = None if self.second is None else self.second.to_dict()
        recent, bound = list(self._recent), self.bound
        return {"main": self.main.to_dict(), "second": second, "recent": recent, "bound": bound}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> RateTest:
        """Go on from what `to_dict` gave."""
        main = RateMartingale.from_dict(state["main"])
        test = cls(main.alpha, bound=float(state["bound"]))
        test.main = main
        if state["second"] is not None:
            test.second = RateMartingale.from_dict(state["second"])
        test._recent.extend(map(float, state["recent"]))
        return test


class RunRates:
    """Watch the rates of each agent.

    The first rate that is seen has half of alpha, the next ones a sixth, a twelfth and so on: the
    probability that any of them ever alarms falsely is alpha at most.

    Parameters
    ----------
    alpha : float
        For all rates together.
    baseline : RootRuns or None
        Usual runs.
    block : str or None
        What tells the block of a run.
    """

    def __init__(self, alpha: float, baseline: RootRuns | None, block: str | None) -> None:
        self._alpha, self._baseline, self._block = alpha, baseline, block
        self.tests: dict[tuple[str, str], RateTest] = {}

    def update(self, found: RootRuns, places: NDArray[np.int64]) -> None:
        """Add runs, in the order given."""
        blocks = _blocks(found, self._block)
        for graph in sorted(set(found.graphs[places].tolist())):
            own = places[found.graphs[places] == graph].tolist()
            for what in RATES:
                if (test := self._test(what, graph)) is not None:
                    counted = found.counts_for(what, graph)
                    for place in own:
                        test.update(float(counted[place]), blocks[place])

    def alarms(self) -> Iterator[tuple[str, str, RateTest]]:
        """Yield what, of which agent, and the test of each rate that is higher now."""
        for (what, graph), test in self.tests.items():
            if test.main.alarm:
                if test.quiet:
                    test.take_over()
                else:
                    yield what, graph, test

    def _test(self, what: str, graph: str) -> RateTest | None:
        found = self.tests.get((what, graph))
        k = len(self.tests) + 1
        if found is None and k <= _MOST_RATES:
            alpha = self._alpha / (k * (k + 1))
            found = self.tests[what, graph] = RateTest(alpha, *self._usual(what, graph))
        return found

    def _usual(self, what: str, graph: str) -> tuple[NDArray[np.float64] | None, float]:
        usual = self._baseline
        if usual is None:
            return None, 1.0
        known = graph if graph in usual.graphs else ""  # an agent alone there has no name
        places = usual.places[usual.stopped[usual.places]]
        places = places[usual.graphs[places] == known]
        values = usual.counts_for(what, known)[places].astype(np.float64)
        if not len(values):
            return None, 1.0
        if self._block is not None:
            codes = usual.table.block_codes(self._block)[places]
            values = block_means(values, codes)
        return values, upper_bound(float(values.sum()), len(values))

    def to_dict(self) -> dict[str, Any]:
        """Return the state in types that JSON has."""
        return {"tests": [[*name, test.to_dict()] for name, test in self.tests.items()]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `to_dict` gave."""
        self.tests = {(w, g): RateTest.from_dict(each) for w, g, each in state["tests"]}


def upper_bound(total: float, number: int) -> float:
    """Return the upper 95% bound of a rate (Clopper and Pearson).

    Examples
    --------
    >>> round(upper_bound(0, 59), 3), upper_bound(5, 5)
    (0.05, 1.0)
    """
    return 1.0 if total >= number else float(beta.ppf(0.95, total + 1, number - total))


def _blocks(found: RootRuns, block: str | None) -> list[str | None]:
    """Return the name of the block of each run, None for one of no block."""
    table = found.table
    if block is None:
        return [None] * len(table)
    if block == "thread":
        return list(table.runs.thread)
    labels = [dict(context).get(block) for context in table.contexts]
    return [labels[place] for place in table.runs.context.tolist()]
