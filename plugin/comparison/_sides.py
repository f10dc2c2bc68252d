"""`Side`, one of the two that are compared: its runs, its report, its forecast."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from detailed_balance.analyzers import Forecast, forecast_outcome
from detailed_balance.analyzers.errors import InsufficientDataError
from detailed_balance.analyzers.runs.labels import Moment, moment_of
from detailed_balance.analyzers.runs.roots import root_places
from detailed_balance.analyzers.runs.table import RunTable
from detailed_balance.render.formatting import show_context
from detailed_balance.report import Report, analyze
from detailed_balance.sources.source import Source, SourceInfo

_REPLICATES = 200

MOST_SIMULATED, FEWEST_SIMULATED = 10_000_000, 39
"""The check of fit simulates so many moves, or so many records: with fewer it could not reject."""


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
        What `analyze` says of it alone.
    runs : RunTable or None
        Its runs, those of subgraphs too; None where only counts are known.
    forecast : Forecast or None
        Of a run before its first move; None where no run is known to have succeeded or failed.
    source : str
        What a command line calls its source; empty where it has no such name.
    chosen : tuple of (str, str)
        The options of a command line that choose its runs.
    """

    name: str
    label: str
    report: Report
    runs: RunTable | None
    forecast: Forecast | None
    source: str = ""
    chosen: tuple[tuple[str, str], ...] = ()

    @property
    def command(self) -> str:
        """What a command line calls its runs; empty where it has no such name."""
        words = [word for option in self.chosen for word in option]
        if not (self.source and all(map(str.isprintable, words))):
            return ""
        return " ".join([self.source, *map(shlex.quote, words)])

    @property
    def roots(self) -> RunTable:
        """Its root runs: those that count."""
        return RunTable.of([]) if self.runs is None else _find_roots(self.runs)

    @property
    def judged(self) -> tuple[int, int]:
        """How many root runs succeeded, and how many were judged."""
        success = self.roots.runs.success
        return int((success == 1).sum()), int((success >= 0).sum())


def load_side(
    name: str,
    source: Source,
    window: tuple[Moment, Moment],
    settings: Mapping[str, Any],
) -> Side:
    """Read one side, and analyze it by itself.

    Parameters
    ----------
    name : str
        "A" or "B".
    source : Source
        Its runs, chosen.
    window : (Moment, Moment)
        When they began, at the earliest and before when.
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
    >>> from detailed_balance.sources import open_source
    >>> counts = TransitionCounts.from_edges([("a", "b", 30), ("b", "a", 10)])
    >>> load_side("A", open_source(counts), (None, None), {}).label
    'TransitionCounts'
    """
    runs, info = source.runs(), source.info
    report = analyze(source, **settings)
    chosen = [("--context", "=".join(label)) for label in info.context]
    chosen += [
        (flag, str(moment))
        for flag, moment in zip(("--since", "--until"), window, strict=True)
        if moment is not None
    ]
    return Side(
        name,
        _label(info, window),
        report,
        runs,
        _forecast(runs),
        source.command,
        tuple(chosen),
    )


def _label(info: SourceInfo, window: tuple[Moment, Moment]) -> str:
    since, until = (moment_of(moment) for moment in window)
    parts = [info.description, show_context(info.context)]
    parts += [f"since {window[0]}"] if since is not None else []
    parts += [f"until {window[1]}"] if until is not None else []
    return ", ".join(part for part in parts if part)


def _find_roots(runs: RunTable) -> RunTable:
    return runs.select(root_places(runs) == np.arange(len(runs)))


def _forecast(runs: RunTable | None) -> Forecast | None:
    """Return the forecast of success as it is told, whatever the outcome."""
    if runs is None:
        return None
    roots = _find_roots(runs)
    if not (roots.runs.success >= 0).any():
        return None
    unknown = np.full(len(roots), -1, dtype=np.int8)
    judged = replace(roots, runs=roots.runs._replace(outcome=unknown))
    simulated = max(FEWEST_SIMULATED, min(99, MOST_SIMULATED // max(roots.total, 1)))
    with suppress(InsufficientDataError):
        return forecast_outcome(judged, replicates=_REPLICATES, fit_replicates=simulated)
    return None
