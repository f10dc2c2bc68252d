"""What the pages on runs show: how many of each sort, a list of them, and one by itself."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass
from math import inf
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from detailed_balance.analyzers import Outcome
from detailed_balance.analyzers.errors import InvalidInputError, UnknownStateError
from detailed_balance.analyzers.results import plain
from detailed_balance.analyzers.runs.columns import OUTCOMES
from detailed_balance.analyzers.runs.labels import Context
from detailed_balance.analyzers.runs.roots import root_places
from detailed_balance.analyzers.runs.table import RunTable
from detailed_balance.dashboard._ids import show_run_key, state_id
from detailed_balance.dashboard._overview import Range
from detailed_balance.dashboard._records import Records
from detailed_balance.diagnosis.onsets import find_onsets
from detailed_balance.render.formatting import safe_run, safe_text, show_context
from detailed_balance.report.run_page import RunPage, show_run
from detailed_balance.report.run_path import PathLine

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from detailed_balance.analyzers import RepeatingRun

ROWS_SHOWN = 100
"""Runs on a page, at most."""

LINES_SHOWN = 500
"""Lines of the path of one run, at most."""

SORTS = ("start", "moves", "after", "tokens", "cost")
"""What runs can be sorted by; the largest come first."""

KINDS = ("repeating", "stay", "shuttle", "cycle")
"""What runs can be chosen by, besides their outcome."""

OUTCOMES_ASKED = ("unsuccessful", "unknown", *(str(each) for each in OUTCOMES))
"""Outcomes that can be asked for: *unsuccessful* runs did not do their work, as judged or else by
their outcome."""

_LIMIT = OUTCOMES.index(Outcome.RECURSION_LIMIT)
_SHORTEST_KEPT, _SHARE = 5.0, 0.1


@dataclass(frozen=True, slots=True, eq=False)
class KnownRuns:
    """The r runs of a record, as they were read last.

    Parameters
    ----------
    table : RunTable
        The runs, in the order in which they began.
    is_part : bool
        Whether others began before.
    onsets : dict of int to RepeatingRun
        Those that begin to repeat themselves, by their places.
    root : (r,) array of int64
        The place of the root run of each.
    tokens, cost : (r,) arrays of float64
        What the moves of each took, NaN where not known.
    places : dict of str to int
        The places of runs by their addresses.
    """

    table: RunTable
    is_part: bool
    onsets: dict[int, RepeatingRun]
    root: NDArray[np.int64]
    tokens: NDArray[np.float64]
    cost: NDArray[np.float64]
    places: dict[str, int]

    @classmethod
    def of(cls, table: RunTable, is_part: bool) -> KnownRuns:
        """Find what runs repeat, and what they took."""
        facts = table.facts
        tokens = None if facts is None else np.where(facts.tokens < 0, np.nan, facts.tokens)
        cost = table.costs if table.costs is not None or facts is None else facts.cost
        places = {
            state_id(key): place
            for column in (table.runs.name, table.runs.run)
            for place, key in enumerate(column.tolist())
            if key is not None
        }
        found = find_onsets(table), root_places(table)
        return cls(table, is_part, *found, _sum(table, tokens), _sum(table, cost), places)

    @property
    def repeating(self) -> NDArray[np.bool_]:
        """(r,) array: whether it is a root run in which some run repeats itself."""
        return np.isin(np.arange(len(self.table)), self.root[list(self.onsets)])

    def choose(self, context: Context, within: Range) -> NDArray[np.int64]:
        """Return the places of the root runs with these labels that began in a range of time."""
        columns, wanted, (since, until) = self.table.runs, set(context), within
        carries = np.array([wanted <= set(each) for each in self.table.contexts], dtype=bool)
        roots = np.unique(self.root)
        kept, started = carries[columns.context[roots]], columns.started[roots]
        if since is not None:
            kept &= started >= since
        if until is not None:
            kept &= started < until
        chosen: NDArray[np.int64] = roots[kept]
        return chosen

    def tiles(self, places: NDArray[np.int64]) -> dict[str, int]:
        """Count some runs, and those that did not do their work, hit the limit, or repeat."""
        return {
            "runs": len(places),
            "failed": int((self.table.runs.success[places] == 0).sum()),
            "limited": int((self.table.runs.outcome[places] == _LIMIT).sum()),
            "repeating": int(self.repeating[places].sum()),
        }

    def filter(
        self,
        places: NDArray[np.int64],
        *,
        outcome: str = "",
        kind: str = "",
        text: str = "",
        keys: Collection[str] | None = None,
    ) -> NDArray[np.int64]:
        """Return those of some runs that are of an outcome and a kind, and have a text in the key.

        `keys` are the keys of the runs of a finding.
        """
        columns = self.table.runs
        kept = np.ones(len(places), dtype=bool)
        if outcome == "unsuccessful":
            kept &= columns.success[places] == 0
        elif outcome:
            code = -1 if outcome == "unknown" else OUTCOMES.index(Outcome(outcome))
            kept &= columns.outcome[places] == code
        if kind == "repeating":
            kept &= self.repeating[places]
        elif kind:
            of_kind = [place for place, run in self.onsets.items() if run.kind == kind]
            kept &= np.isin(places, self.root[of_kind])
        if text or keys is not None:
            low = text.casefold()
            names = columns.name[places].tolist()
            ids = columns.run[places].tolist()
            kept &= np.array(
                [
                    (low in (name or "").casefold() or low in (own or "").casefold())
                    and (keys is None or name in keys or own in keys)
                    for name, own in zip(names, ids, strict=True)
                ],
                dtype=bool,
            )
        chosen: NDArray[np.int64] = places[kept]
        return chosen

    def sort(self, places: NDArray[np.int64], by: str) -> NDArray[np.int64]:
        """Return some runs in order: the latest first, or the largest."""
        places = places[::-1]
        if by == "start":
            return places
        after = {place: run.after or 0 for place, run in self.onsets.items()}
        values: NDArray[Any] = {
            "moves": self.table.lengths,
            "tokens": self.tokens,
            "cost": self.cost,
        }.get(by, np.array([after.get(i, 0) for i in range(len(self.table))]))[places]
        return places[np.argsort(-np.nan_to_num(values, nan=-np.inf), kind="stable")]

    def row(self, place: int) -> dict[str, Any]:
        """Return what a table says of one run."""
        table, columns, onset = self.table, self.table.runs, self.onsets.get(place)
        outcome, success = int(columns.outcome[place]), int(columns.success[place])
        return {
            **show_run_key(columns.run[place] or columns.name[place]),
            "label": safe_run(columns.name[place] or columns.run[place] or ""),
            "outcome": None if outcome < 0 else OUTCOMES[outcome].value,
            "success": None if success < 0 else bool(success),
            "judged": bool(columns.judged[place]),
            "started": columns.started[place],
            "parent": show_run_key(columns.parent[place])["id"],
            "moves": int(table.lengths[place]),
            "tokens": self.tokens[place],
            "cost": self.cost[place],
            "repeats": None if onset is None else onset.kind,
            "after": None if onset is None else onset.after,
            "labels": show_context(table.contexts[int(columns.context[place])])[:200],
        }

    def find(self, number: str) -> int:
        """Return the place of the run with this address.

        Raises
        ------
        UnknownStateError
            Where there is none.
        """
        try:
            return self.places[number]
        except KeyError:
            raise UnknownStateError("no run with this address is among those kept here") from None


def _sum(table: RunTable, values: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """(r,) array: the sum over the moves of each run; NaN where nothing is known."""
    if values is None:
        return np.full(len(table), np.nan)
    known, run = ~np.isnan(values), table.run_of_move
    total = np.bincount(run[known], values[known], minlength=len(table))
    return np.where(np.bincount(run[known], minlength=len(table)) > 0, total, np.nan)


class RunReader:
    """Read the runs of a record, again where there are more.

    Reading them and looking for what they repeat takes at most a tenth of the time; whoever asks
    meanwhile gets what was read before.

    Parameters
    ----------
    records : Records
        What is read.
    """

    def __init__(self, records: Records) -> None:
        self._records = records
        self._lock = Lock()
        self._known: KnownRuns | None = None
        self._mark: object = None
        self._old = -inf

    def get(self) -> KnownRuns | None:
        """Return the runs; None where the source knows none, or has none so far."""
        if self._lock.acquire(blocking=self._mark is None):
            try:
                if time.monotonic() >= self._old:
                    self._read()
            finally:
                self._lock.release()
        return self._known

    def _read(self) -> None:
        began, mark = time.monotonic(), self._records.mark()
        if mark != self._mark:
            runs, is_part = self._records.runs()
            self._known = KnownRuns.of(runs, is_part) if runs else None
            self._mark = mark
        took = time.monotonic() - began
        self._old = began + max(_SHORTEST_KEPT, took / _SHARE)


def list_runs(
    known: KnownRuns | None,
    context: Context,
    within: Range,
    *,
    sort: str,
    page: int,
    **chosen: Any,
) -> dict[str, Any]:
    """Return a page of runs, and how many there are."""
    if known is None:
        return {"runs": [], "found": 0, "all": 0, "page": 1, "pages": 1, "is_part": False}
    there = known.choose(context, within)
    found = known.sort(known.filter(there, **chosen), sort)
    pages = max(1, -(-len(found) // ROWS_SHOWN))
    first = ROWS_SHOWN * (min(page, pages) - 1)
    shown = {
        "runs": [known.row(place) for place in found[first : first + ROWS_SHOWN].tolist()],
        "found": len(found),
        "all": len(there),
        "page": min(page, pages),
        "pages": pages,
        "is_part": known.is_part,
    }
    return dict(plain(shown))


def show_one(known: KnownRuns | None, number: str, run_url: str | None) -> dict[str, Any]:
    """Return the page of one run."""
    if known is None:
        raise UnknownStateError("this source has no runs")
    place = known.find(number)
    page = show_run(known.table, place, onsets=known.onsets, run_url=run_url)
    return dict(plain({**_show_page(page), **known.row(place)}))


def _show_page(page: RunPage) -> dict[str, Any]:
    lines = map(_show_line, page.shown(LINES_SHOWN))
    rows = [{"name": label, "value": text} for label, text in page.head.rows if label != "link"]
    return {"summary": page.head.text, "rows": rows, "link": page.link, "lines": list(lines)}


def _show_line(line: PathLine | int) -> dict[str, Any]:
    if isinstance(line, int):
        return {"left_out": line}
    run = None if line.run is None else show_run_key(line.run)["id"]
    return {**line.to_dict(), "steps": line.steps, "chance": line.chance or None, "run": run}


def check_choice(name: str, given: str, allowed: Collection[str]) -> str:
    """Return what is asked for.

    Raises
    ------
    InvalidInputError
        Where that is none of the allowed ones.
    """
    if given and given not in allowed:
        raise InvalidInputError(
            f"{name} is one of {', '.join(allowed)}; got {safe_text(given, 40)}"
        )
    return given
