"""The analyzer that keeps the potential up to date."""

from __future__ import annotations

from collections.abc import Iterable

from detailed_balance.analyzers import Potential, estimate_potential
from detailed_balance.analyzers.errors import ConvergenceError, InsufficientDataError
from detailed_balance.monitor.analysis.alerts import Observation
from detailed_balance.monitor.analysis.base import View


class PotentialAnalyzer:
    """Estimate the potential of all that was recorded, from where it was; it finds nothing."""

    name = "potential"
    every = 5.0

    def __init__(self) -> None:
        self._seen = 0

    def check(self, view: View) -> Iterable[Observation]:
        """Leave the potential in the results, where there is something new."""
        if view.total != self._seen:
            self._seen = view.total
            last = view.results.get("potential")
            found = _estimate(view, last)
            if found is not None:
                view.results["potential"] = found
        return ()


def _estimate(view: View, last: Potential | None) -> Potential | None:
    try:
        return estimate_potential(view.counts.without_boundaries(), initial=last)
    except InsufficientDataError:
        return None
    except ConvergenceError as error:
        return error.estimate if isinstance(error.estimate, Potential) else None
