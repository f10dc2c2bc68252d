"""`FollowedRecord`, what a monitor has read so far; the one place that several threads share."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from detailed_balance.analyzers import TransitionCounts
from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.analyzers.runs.labels import Context
from detailed_balance.analyzers.runs.table import RunTable
from detailed_balance.callbacks.graph import Move
from detailed_balance.callbacks.isolation import warn
from detailed_balance.callbacks.redaction import hide_secrets
from detailed_balance.monitor._schedule import Schedule
from detailed_balance.monitor._state_file import pack_moves, unpack_moves
from detailed_balance.monitor._window_counts import WindowCounts
from detailed_balance.monitor.analysis.alerts import AlertRegistry, Event, Observation
from detailed_balance.monitor.analysis.restarting_tests import (
    RestartingBalanceTest,
    RestartingDriftTest,
)
from detailed_balance.monitor.analysis.status import Status, compose_verdict
from detailed_balance.render import safe_text
from detailed_balance.sources.feeds import RECENT, MoveBatch
from detailed_balance.sources.selected_feed import SelectedFeed

_POINTS = 100
"""So many points of the evidence are recorded within one batch."""

_OF_RUNS = ("runs", "failed", "limited", "repeating")

_MOST_NAMES = 100_000
"""Trajectories are counted by name up to so many, where they have no START."""


class FollowedRecord:
    """Read increments, and keep what follows from them.

    Parameters
    ----------
    feed : SelectedFeed
        Where to read.
    context : Context
        The labels asked for.
    window : int
        How many moves are recent.
    alpha : float
        The level of the live tests.
    drift : RestartingDriftTest or None
        The live test of runs against the baseline.

    Attributes
    ----------
    ready : bool
        Whether the first reading has ended; before, an analysis would see a part of the record.
    trouble : str
        Why the last reading failed; empty if it did not.
    """

    def __init__(
        self,
        feed: SelectedFeed,
        context: Context,
        window: int,
        alpha: float,
        drift: RestartingDriftTest | None,
    ) -> None:
        self._feed, self._context = feed, context
        self._counter, self._evidence = WindowCounts(window), RestartingBalanceTest(alpha)
        self._drift, self._registry = drift, AlertRegistry()
        self._cursor: str | None = None
        self._window_moves: list[tuple[str, str | None]] = []
        self._names: set[str] = set()
        self._started = self._updated = time.time()
        self._lag = 0.0
        self._news = 0
        self._lock = threading.RLock()
        self._reading = threading.Lock()
        self._begun = False
        self.ready = False
        self.trouble = ""

    def read(self, stopped: threading.Event) -> None:
        """Read what is new; `trouble` says what went wrong, and the next time is another try."""
        began = time.monotonic()
        with self._reading:
            try:
                if not self._begun:
                    self._begin()
                self._read_on(stopped)
                self.trouble, self._updated = "", time.time()
            except Exception as error:  # whatever a database may raise
                if not self.trouble:
                    warn("a monitor cannot read %s and will try again", self._feed.name)
                self.trouble = safe_text(hide_secrets(f"{type(error).__name__}: {error}"), 200)
        if not self.ready and not self.trouble and self._feed.unseen:
            named = ", ".join(self._unseen)
            warn("%s has no state %s so far, which hide= names", self._feed.name, named)
        self.ready = True
        with self._lock:
            self._lag = time.monotonic() - began
            self._evidence.check(time.time(), self._counter.total)

    @property
    def _unseen(self) -> tuple[str, ...]:
        return tuple(safe_text(state, 60) for state in self._feed.unseen)

    def _begin(self) -> None:
        counts = self._feed.start(self._cursor, max(self._counter.window, RECENT))
        if counts is None:
            warn("%s is a different record than before; started again", self._feed.name)
            self._window_moves = []
            counts = self._feed.start(None, max(self._counter.window, RECENT))
        with self._lock:
            if counts is not None:
                self._counter.start(counts)
            self._counter.fill_window(self._window_moves)
            self._window_moves = []
            self._begun = True

    def _read_on(self, stopped: threading.Event) -> None:
        more = True
        while more:
            batch = self._feed.read()
            with self._lock:
                self._append(batch)
            more = batch.more and not (stopped.is_set() and threading.current_thread().daemon)

    def _append(self, batch: MoveBatch) -> None:
        moves = batch.moves
        self._follow_evidence(batch)
        self._counter.add([(f, g) for f, g, _, _, n, _ in moves if n == 1])
        self._counter.add_counted(((f, g), n) for f, g, _, _, n, _ in moves if n > 1)
        self._count_names(moves)
        self._news += len(moves) + batch.endings
        self._cursor = batch.cursor

    def _follow_evidence(self, batch: MoveBatch) -> None:
        """Feed the test, and record for the plot how it grew over what was recorded before."""
        every = list(batch.moves)
        total, part = self._counter.total, max(1, len(every) // _POINTS)
        for start in range(0, len(every), part):
            moves = every[start : start + part]
            whose = ((run or t, f, g) for f, g, t, _, n, run in moves if n == 1)
            self._evidence.update((key, f, g) for key, f, g in whose if key is not None)
            total += sum(move[4] for move in moves)
            if len(moves) == part > 1 and batch.times:
                self._evidence.record(batch.times[start + part - 1], total)

    def _count_names(self, moves: Sequence[Move]) -> None:
        if not self._counter.runs and len(self._names) < _MOST_NAMES:
            self._names.update(move[2] for move in moves if move[2] is not None)

    def counts(self, *, recent: bool) -> TransitionCounts:
        """Return the counts of all, or of the window."""
        with self._lock:
            return self._counter.counts(recent=recent)

    def view(self) -> dict[str, Any]:
        """Return what a `View` takes of it."""
        with self._lock:
            return {
                "total": self._counter.total,
                "recent_total": self._counter.recent,
                "evidence": self._evidence,
                "registry": self._registry,
                "snapshot": self._snapshot,
                "read_runs": self._read_runs,
                "news": self._news,
                "drift": self._drift,
                "losses": self._feed.losses(),
                "trouble": self.trouble,
            }

    def _read_runs(self) -> RunTable | None:
        with self._reading:
            return self._feed.runs()

    def _snapshot(self) -> tuple[TransitionCounts, TransitionCounts]:
        with self._lock:
            return self._counter.counts(), self._counter.counts(recent=True)

    def register(self, observations: Sequence[Observation]) -> list[Event]:
        """FollowedRecord observations in the registry, and return the events that follow."""
        with self._lock:
            return self._registry.record(observations, now=time.time())

    def status(self, schedule: Schedule, results: Mapping[str, Any]) -> Status:
        """Return what is known now."""
        with self._lock:
            counter, evidence, alerts = self._counter, self._evidence, self._registry.alerts()
            return Status(
                source=self._feed.name,
                context=self._context,
                transitions=counter.transitions,
                escapes=counter.escapes,
                states=counter.states,
                edges=counter.edges,
                trajectories=counter.runs or len(self._names),
                started=self._started,
                updated=self._updated,
                lag=self._lag,
                lost=sum(self._feed.losses().values()),
                unseen=self._unseen,
                alpha=evidence.main.alpha,
                log_e_value=evidence.log_e_value,
                alarm=evidence.alarm,
                **{name: results.get(name, 0) for name in _OF_RUNS},
                verdict=compose_verdict(alerts, results.get("verdict")),
                evidence=evidence.points(),
                alerts=alerts,
                traps=results.get("traps", ()),
                analyses=tuple(entry.analysis() for entry in schedule.entries),
            )

    def close(self) -> None:
        """Let go of the source."""
        self._feed.close()

    def to_dict(self) -> dict[str, Any]:
        """Return the whole state in types that JSON has; the counts stay in the source."""
        with self._lock:
            return {
                "source": self._feed.name,
                "context": [list(label) for label in self._context],
                "merge": self._feed.merge,
                "cursor": self._cursor,
                "window": pack_moves(self._counter.window_moves()),
                "evidence": self._evidence.to_dict(),
                "drift": None if self._drift is None else self._drift.to_dict(),
                "registry": self._registry.to_dict(),
            }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `to_dict` gave, before the first reading.

        Raises
        ------
        InvalidInputError
            Where it is the state of another source, other labels or other names of states, or none
            at all.
        """
        asked = {"source": self._feed.name, "context": [list(label) for label in self._context]}
        asked["merge"] = self._feed.merge
        for name, value in asked.items():
            if state.get(name) != value:
                raise InvalidInputError(f"its {name} is {state.get(name)!r}, and not {value!r}")
        if not isinstance(state["cursor"], str | None):
            raise InvalidInputError(f"its cursor is {state['cursor']!r}")
        evidence = RestartingBalanceTest.from_dict(state["evidence"])
        registry = AlertRegistry.from_dict(state["registry"])
        if evidence.main.alpha != self._evidence.main.alpha:
            raise InvalidInputError(f"its alpha is {evidence.main.alpha!r}")
        if self._drift is not None and state["drift"] is not None:
            self._drift.restore(state["drift"])
        self._window_moves = unpack_moves(state["window"])
        self._cursor, self._evidence, self._registry = state["cursor"], evidence, registry
