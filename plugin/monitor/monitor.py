"""`Monitor`, which follows a record that grows and reports what happens in it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from detailed_balance.analyzers import TransitionCounts
from detailed_balance.analyzers.errors import InsufficientDataError, InvalidInputError
from detailed_balance.analyzers.runs.labels import ContextLike, Moment, make_context
from detailed_balance.callbacks.isolation import warn
from detailed_balance.monitor._record import FollowedRecord
from detailed_balance.monitor._schedule import Entry, Schedule
from detailed_balance.monitor._state_file import load_state, save_state
from detailed_balance.monitor.analysis import default_analyzers
from detailed_balance.monitor.analysis.alerts import Event
from detailed_balance.monitor.analysis.base import Analyzer, View
from detailed_balance.monitor.analysis.restarting_tests import RestartingDriftTest
from detailed_balance.monitor.analysis.status import Status
from detailed_balance.monitor.sinks import Sink, Sinks
from detailed_balance.render import safe_text
from detailed_balance.sources.baseline import read_baseline
from detailed_balance.sources.source import Merge, open_source

if TYPE_CHECKING:
    from types import TracebackType

    from detailed_balance.analyzers import Potential

__all__ = ["Monitor"]

SAVED_EVERY = 30.0
"""Seconds between two states written, at most; each event is written at once."""


class Monitor:
    """Follow a record that grows: count what is new, analyse it, and report what is found.

    Parameters
    ----------
    source : TransitionCallbackHandler, TransitionGraph, TransitionStore, path or URL
        What is recorded. It is only read.
    analyzers : iterable of Analyzer, optional
        What to look for, in this order; `default_analyzers` by default.
    every : float
        Seconds between two readings.
    sinks : iterable of callables or of objects with `emit`
        What gets each `Event`.
    context : mapping, optional
        Only moves that carry all these labels.
    baseline : object, optional
        Runs that went well: a store, a file, or a list of `Trajectory`. It distinguishes
        work-flows from faults, and shows drift.
    window : int
        How many moves are recent: loops, traps and new states come and go by them. Findings of runs
        come and go by runs.
    alpha : float
        The probability of a false alarm, for ever: of all tests of a report together, of all rates
        together, and of each of the live tests.
    block : str, optional
        What tells the task or batch of a run, ``"thread"`` or a label: rates are then of blocks,
        and finished runs are compared with the baseline by blocks (`DriftMartingale`), of which it
        needs 20.
    state : path, optional
        A file in which to keep what is known, so that a restart goes on from there; not together
        with `since`, `last` or `hide`, for which each start reads from the beginning.
    since, last, hide, merge
        As for `open_source`; `last` is counted from the start of the monitor. A run of which no
        time is known is in no such window. `hide` and `merge` hold for the baseline too.
    **options
        Of a file: which field holds what, as for `read_transitions`; each line is a move.

    Raises
    ------
    InvalidInputError
        Where an argument is not allowed, or the state is that of another source.
    ReadError
        Where the source, the baseline or the state cannot be read.

    Examples
    --------
    >>> from detailed_balance import TransitionGraph
    >>> graph = TransitionGraph()
    >>> monitor = Monitor(graph)
    >>> for _ in range(100):
    ...     for source, target in [("plan", "act"), ("act", "check"), ("check", "plan")]:
    ...         graph.record(source, target, trajectory="run 1")
    >>> monitor.poll()
    >>> [(finding.kind, finding.place) for finding in monitor.status().findings]
    [('driven', ('act', 'check', 'plan'))]
    """

    def __init__(
        self,
        source: Any,
        *,
        analyzers: Iterable[Analyzer] | None = None,
        every: float = 1.0,
        sinks: Iterable[Sink] = (),
        context: ContextLike = None,
        baseline: Any = None,
        window: int = 5_000,
        alpha: float = 0.05,
        block: str | None = None,
        state: str | PathLike[str] | None = None,
        since: Moment = None,
        last: str | None = None,
        hide: Iterable[str] = (),
        merge: Merge = None,
        **options: Any,
    ) -> None:
        if not every > 0:
            raise InvalidInputError(f"every={every!r}; it is a number of seconds above 0")
        chosen = default_analyzers() if analyzers is None else list(analyzers)
        self._every, self._alpha, self._block = every, alpha, block
        self._context = make_context(context)
        self._schedule, self._sinks = Schedule(chosen), Sinks(list(sinks))
        hide = (hide,) if isinstance(hide, str) else tuple(hide)
        self._baseline = read_baseline(baseline, context, hide=hide, merge=merge)
        self._path = None if state is None else Path(state)
        saved = None if self._path is None else load_state(self._path)
        opened = open_source(
            source, context=context, since=since, last=last, hide=hide, merge=merge, **options
        )
        feed, self._command = opened.follow(), opened.command
        if state is not None and feed.needs_moves:
            raise InvalidInputError(
                f"state={str(state)!r} cannot be used with since=, last= or hide=, for which every "
                "start reads from the beginning; leave out one of them (on the command line "
                "--state, or --since, --last and --hide)"
            )
        self._record = FollowedRecord(feed, self._context, window, alpha, self._begin_drift(block))
        if saved is not None:
            self._restore(saved)
        self._results: dict[str, Any] = {}
        self._analysing = threading.Lock()
        self._stopped = threading.Event()
        self._threads: list[threading.Thread] = []
        self._saved = time.monotonic()
        self._update_status()

    def start(self) -> Self:
        """Follow the source from now on, in threads of its own: one reads, one analyses."""
        if self._threads or self._stopped.is_set():
            raise InvalidInputError("this monitor was started before; make another one")
        for work in (self._keep_reading, self._keep_analysing):
            thread = threading.Thread(target=work, name="detailed-balance monitor", daemon=True)
            thread.start()
            self._threads.append(thread)
        return self

    def stop(self) -> None:
        """End the threads, read and analyse once more, write the state, close sinks and source."""
        if self._stopped.is_set():
            return
        self._stopped.set()
        for thread in self._threads:
            thread.join()
        self.poll()
        self._save(at_once=True)
        self._sinks.close()
        self._update_status()  # with what could not be delivered to the end
        self._record.close()

    def poll(self) -> None:
        """Read what is new, and run every analyzer once."""
        self._read()
        self._analyse(everything=True)

    def status(self) -> Status:
        """Return what is known now; nothing is computed for it."""
        return self._status

    def counts(self, *, recent: bool = False) -> TransitionCounts:
        """Return the counts of all that was read, or of the window."""
        return self._record.counts(recent=recent)

    def potential(self) -> Potential | None:
        """Return the last estimate of the potential, None where there is none yet."""
        return self._results.get("potential")

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _keep_reading(self) -> None:
        while not self._stopped.is_set():
            self._read()
            self._stopped.wait(self._every)

    def _keep_analysing(self) -> None:
        while not self._stopped.wait(min(self._every, max(0.05, self._schedule.wait()))):
            if self._record.ready:
                self._analyse(everything=False)

    def _read(self) -> None:
        self._record.read(self._stopped)
        self._update_status()

    def _analyse(self, *, everything: bool) -> None:
        with self._analysing:
            for entry in self._schedule.due(everything=everything):
                self._run(entry)
            self._update_status()
            self._save(at_once=False)

    def _run(self, entry: Entry) -> None:
        began, error = time.monotonic(), ""
        events: Sequence[Event] = ()
        try:
            view = View(
                time.time(),
                self._alpha,
                baseline=self._baseline,
                command=self._command,
                block=self._block,
                results=self._results,
                **self._record.view(),
            )
            events = self._record.register(list(entry.analyzer.check(view)))
        except Exception as found:  # an analysis that fails must not end the others
            error = safe_text(f"{type(found).__name__}: {found}", 300)
            if error != entry.error:
                warn("the analyzer %r of a monitor failed", entry.analyzer.name)
        entry.record(began, error)
        if events:
            self._update_status()
            self._sinks.emit(list(events))
            self._save(at_once=True)

    def _update_status(self) -> None:
        status = self._record.status(self._schedule, self._results)
        self._status = replace(status, undelivered=self._sinks.undelivered)

    def _begin_drift(self, block: str | None) -> RestartingDriftTest | None:
        runs = self._baseline.runs
        try:
            return RestartingDriftTest(runs, self._alpha, block=block) if runs else None
        except InsufficientDataError as error:
            warn("finished runs are not compared with the baseline: %s", error)
            return None

    def _save(self, *, at_once: bool) -> None:
        now = time.monotonic()
        if self._path is None or not (at_once or now - self._saved >= SAVED_EVERY):
            return
        self._saved = now
        try:
            save_state(self._path, {**self._record.to_dict(), "analyzers": self._saved_analyzers()})
        except OSError:
            warn("the state of a monitor could not be written to %s", self._path)

    def _saved_analyzers(self) -> dict[str, Any]:
        found = [
            (e.analyzer.name, getattr(e.analyzer, "to_dict", None)) for e in self._schedule.entries
        ]
        return {name: save() for name, save in found if save is not None}

    def _restore(self, saved: dict[str, Any]) -> None:
        try:
            self._record.restore(saved)
            for entry in self._schedule.entries:
                restore = getattr(entry.analyzer, "restore", None)
                if restore is not None and entry.analyzer.name in saved["analyzers"]:
                    restore(saved["analyzers"][entry.analyzer.name])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InvalidInputError(
                f"{self._path} does not fit this monitor: {error}; name another file, or delete it "
                "to start again"
            ) from None
