"""`Side`, one of the two that are compared: its runs, its report, its forecast."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from detailed_balance.analyzers import Forecast, Trajectory, forecast_outcome
from detailed_balance.analyzers.errors import InsufficientDataError
from detailed_balance.analyzers.runs.labels import Moment, moment_of
from detailed_balance.analyzers.runs.roots import root_runs
from detailed_balance.analyzers.runs.table import RunTable
from detailed_balance.render.formatting import show_context
from detailed_balance.report import Report, analyze
from detailed_balance.sources.source import SourceInfo, open_source

_REPLICATES = 200


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """One side of a comparison.

    Parameters
    ----------
    name : str
        "A" or "B".
    label : str
        What distinguishes it from the other, safe to print.
    report : Report
        What `analyze` says of it alone, without its single runs.
    runs : RunTable or None
        Its runs, those of subgraphs too; None where only counts are known.
    forecast : Forecast or None
        Of a run before its first move; None where no run is known to have succeeded or failed.
    """

    name: str
    label: str
    report: Report
    runs: RunTable | None
    forecast: Forecast | None

    @property
    def roots(self) -> list[Trajectory]:
        """Its root runs: those that count."""
        return root_runs(self.runs or ())

    @property
    def judged(self) -> tuple[int, int]:
        """How many root runs succeeded, and how many were judged."""
        known = [run.success for run in self.roots if run.success is not None]
        return sum(known), len(known)


def load_side(
    name: str,
    source: object,
    window: tuple[Moment, Moment],
    wanted: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> Side:
    """Read one side, and analyze it by itself.

    Parameters
    ----------
    name : str
        "A" or "B".
    source : object
        As for `open_source`.
    window : (Moment, Moment)
        Only runs that began since the first and before the second.
    wanted : mapping
        The other options of `open_source`.
    settings : mapping
        As for `analyze`.

    Raises
    ------
    InsufficientDataError
        Where nothing is left of it.
    InvalidInputError
        Where a window is asked of a source that does not know its runs.

    Examples
    --------
    >>> from detailed_balance import TransitionCounts
    >>> counts = TransitionCounts.from_edges([("a", "b", 30), ("b", "a", 10)])
    >>> load_side("A", counts, (None, None), {}, {}).label
    'TransitionCounts'
    """
    opened = open_source(source, since=window[0], until=window[1], **wanted)
    runs, info = opened.runs(), opened.info
    report = analyze(opened, runs=0, **settings)
    return Side(name, _label(info, window), report, runs or None, _forecast(runs))


def _label(info: SourceInfo, window: tuple[Moment, Moment]) -> str:
    since, until = (moment_of(moment) for moment in window)
    parts = [info.description, show_context(info.context)]
    parts += [f"since {window[0]}"] if since is not None else []
    parts += [f"until {window[1]}"] if until is not None else []
    return ", ".join(part for part in parts if part)


def _forecast(runs: Sequence[Trajectory] | None) -> Forecast | None:
    judged = [replace(run, outcome=None) for run in root_runs(runs or ())]
    if all(run.success is None for run in judged):
        return None
    with suppress(InsufficientDataError):
        return forecast_outcome(judged, replicates=_REPLICATES, fit_replicates=99)
    return None
