"""`open_source`: whatever holds transitions, read once, as runs and as counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from detailed_balance.analyzers import Outcome, TransitionCounts
from detailed_balance.analyzers.errors import InsufficientDataError, InvalidInputError
from detailed_balance.analyzers.results import Result
from detailed_balance.analyzers.runs.columns import OUTCOMES
from detailed_balance.analyzers.runs.labels import Context, ContextLike, Moment
from detailed_balance.analyzers.runs.roots import root_places
from detailed_balance.analyzers.runs.table import RunTable
from detailed_balance.sources._contents import Content, find_content
from detailed_balance.sources._paths import name_for_commands
from detailed_balance.sources.selection import Merge, Selection, no_such_labels

if TYPE_CHECKING:
    from detailed_balance.readers import SkippedLine, TransitionReader
    from detailed_balance.sources.selected_feed import SelectedFeed

__all__ = [
    "Merge",
    "Progress",
    "Source",
    "SourceInfo",
    "list_allowed_moves",
    "open_source",
    "read_runs",
    "read_trajectories",
]

Progress: TypeAlias = Callable[[str, int, int], None]
"""Called with the stage of the work, how much of it is done and how much there is (0: unknown)."""


@dataclass(frozen=True, slots=True)
class SourceInfo(Result):
    """Where counts came from.

    Parameters
    ----------
    description : str
        The source in words, safe to print.
    context : Context
        The labels that were asked for.
    trajectories : int or None
        How many root runs there are; None where the source does not know.
    skipped : tuple of SkippedLine
        The first 1,000 broken lines that were passed over.
    skipped_count : int
        How many there were.
    faults : int
        Errors while it was recorded; so many transitions may be missing.
    outcomes : mapping of Outcome to int
        How often root runs stopped in which way.
    scores : tuple of str
        The names of several scores of traces, none of which says whether a run succeeded, because
        no `success_field` names one.
    """

    description: str
    context: Context = ()
    trajectories: int | None = None
    skipped: tuple[SkippedLine, ...] = ()
    skipped_count: int = 0
    faults: int = 0
    outcomes: Mapping[Outcome, int] = field(default_factory=dict)
    scores: tuple[str, ...] = ()


class Source:
    """What holds transitions: its runs, its counts, and what it is; each read once, when asked for.

    `open_source` makes one.

    Attributes
    ----------
    description : str
        The source in words, safe to print.
    command : str
        What a command line calls it, quoted for a shell; empty where it has no such name.

    Examples
    --------
    >>> counts = TransitionCounts.from_edges([("search", "plan", 1), ("plan", "search", 3)])
    >>> source = open_source(counts)
    >>> source.runs() is None, source.counts().states
    (True, ('plan', 'search'))
    """

    def __init__(self, content: Content, selection: Selection, command: str = "") -> None:
        self.description, self.command = content.description, command
        self._content, self._selection = content, selection
        self._runs: RunTable | None = None
        self._counts: TransitionCounts | None = None
        self._is_read = False

    def runs(self) -> RunTable | None:
        """Return the runs; None where the source has no runs.

        Raises
        ------
        InsufficientDataError
            Where no run is left: none carries the labels, or none began in the time asked for.
        InvalidInputError
            Where runs are to be chosen, and the source knows none.
        ReadError
            Where the source cannot be read.
        """
        if not self._is_read:
            runs = self._content.runs()
            wanted = self._selection
            if runs is None and wanted.needs_runs:
                raise InvalidInputError(
                    f"{wanted.needs_runs}= needs runs, and {self.description} has none: "
                    f"{self._content.why_no_runs}"
                )
            if runs is not None:
                runs = wanted.select_runs(runs, self.description, strict=self._content.is_whole)
            self._runs, self._is_read = runs, True
        return self._runs

    def counts(self) -> TransitionCounts:
        """Return the counts of all moves, START, END and escapes included; states are sorted.

        Where runs were chosen they are those of the runs, else moves of no run count too.

        Raises
        ------
        InsufficientDataError, InvalidInputError, ReadError
            As from `runs`.
        """
        if self._counts is None:
            wanted, runs = self._selection, None
            if wanted.needs_runs or (wanted.labels and self._content.labels_are_of_runs):
                runs = self.runs()
            if runs is not None:
                self._counts = runs.counts()
            else:
                counts = self._content.counts(wanted.context)
                if wanted.labels and not len(counts):
                    seen = self._content.contexts()
                    raise InsufficientDataError(no_such_labels(wanted.labels, seen))
                self._counts = wanted.merge_counts(counts)
        return self._counts

    @property
    def info(self) -> SourceInfo:
        """Where the counts come from; what was not read yet is read for it."""
        runs, counts = self.runs(), self.counts()
        labels = self._selection.labels
        info = SourceInfo(self.description, labels, **self._content.account())
        whole = runs is not None and runs.total == int(counts.attempts.sum())
        if runs is None or not (self._content.is_whole or whole):
            return replace(info, outcomes=self._content.outcomes(labels))
        roots = root_places(runs) == np.arange(len(runs))
        kinds = Counter(runs.runs.outcome[roots].tolist())
        outcomes = {OUTCOMES[code]: kinds[code] for code in sorted(kinds) if code >= 0}
        return replace(info, trajectories=int(roots.sum()) or None, outcomes=outcomes)

    def choose(self, **wanted: Any) -> Source:
        """Return the same source with another choice of runs; what was read is not read again.

        Parameters
        ----------
        **wanted
            `context`, `since`, `until`, `last`, `hide`, `merge` and `block`, as for `open_source`.

        Examples
        --------
        >>> from detailed_balance.analyzers import Trajectory
        >>> runs = [Trajectory((("a", "b"),), context=(("model", name),)) for name in "xyy"]
        >>> len(open_source(runs).choose(context={"model": "y"}).runs())
        2
        """
        return Source(self._content, Selection.of(**wanted), self.command)

    def readers(self) -> Iterator[TransitionReader]:
        """Yield, for each file of the source, what reads its records one by one.

        Raises
        ------
        InvalidInputError
            Where the source is nothing that `read_transitions` reads.
        ReadError
            Where it cannot be read.
        """
        return self._content.readers()

    def follow(self) -> SelectedFeed:
        """Return what is recorded from now on, and what was before.

        Raises
        ------
        InvalidInputError
            Where the source is of no kind that grows, or `until` or `block` is given.
        ReadError
            Where it cannot be read.
        """
        from detailed_balance.sources.selected_feed import SelectedFeed

        self._selection.check_followed()
        return SelectedFeed(self._content.follow(self._selection.context), self._selection)


def open_source(
    source: object,
    *,
    context: ContextLike = None,
    since: Moment = None,
    until: Moment = None,
    last: str | None = None,
    hide: Iterable[str] = (),
    merge: Merge = None,
    block: str | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Source:
    """Open whatever holds transitions; nothing is read before it is asked for.

    Parameters
    ----------
    source : object
        A `TransitionCallbackHandler` (its store if it has one, else its graph and the runs that
        stopped last), a `TransitionGraph`, a `TransitionStore` or its URL; a path, a folder, a
        pattern such as ``"runs/*.jsonl"``, or a list of these; ``"-"`` for the standard input; a
        `RunTable`, `TransitionCounts`, or a list of `Trajectory`; a networkx graph; a square numpy
        array, scipy sparse matrix or DataFrame (pandas or polars) of counts; a DataFrame of steps
        or moves; an Ibis table. A `Source` comes back as it is.
    context : mapping, optional
        Only runs, or moves of no run, that carry all these labels.
    since, until : float, str or datetime, optional
        Only runs that began in ``since <= time < until``; see `RunTable.where`.
    last : str, optional
        Instead of `since`: only runs that began in this time up to now, such as ``"7d"`` (units s,
        m, h, d, w).
    hide : iterable of str
        States to take out of each run; see `RunTable.hide`.
    merge : mapping of str to str, or callable, optional
        New names of states, before any is hidden. A name may be a pattern with ``*``; exact names
        come first. States of one name become one.
    block : str, optional
        What tells the block of a run: ``"thread"``, or a label.
    progress : callable, optional
        See `Progress`.
    **options
        As for `read_recording`: which field of a file or a table holds what. Of a networkx graph,
        `weight` is the name of the attribute with the count of an edge.

    Raises
    ------
    InvalidInputError
        Where the source is of no known kind, or an option has an unknown name, or a value that is
        not allowed.
    ReadError
        Where a file is missing.

    Examples
    --------
    >>> import numpy as np
    >>> open_source(np.array([[0, 3], [1, 0]])).counts().states
    ('0', '1')
    """
    selection = Selection.of(
        context=context, since=since, until=until, last=last, hide=hide, merge=merge, block=block
    )
    options = {name: value for name, value in options.items() if value is not None}
    if isinstance(source, Source):
        if options or selection != Selection():
            raise InvalidInputError("this source is open; give options where it is opened")
        return source
    content = find_content(source, options, progress)
    chosen = {"context": context, "hide": hide, "merge": merge, "block": block}
    return Source(content, selection, name_for_commands(source, {**options, **chosen}))


def read_runs(source: object, **options: Any) -> RunTable:
    """Read the runs of a source as a table.

    Parameters
    ----------
    source : object
        As for `open_source`.
    **options
        As for `open_source`: `context`, `since`, `until`, `last`, `hide`, `merge` and `block`
        choose runs, and what they hold; the others say how a file is read.

    Returns
    -------
    RunTable
        In the order in which they began. It is a sequence of `Trajectory` too.

    Raises
    ------
    InvalidInputError
        Where the source has no runs, or an option has a value that is not allowed.
    InsufficientDataError
        Where no run is left.
    ReadError
        Where the source cannot be read.

    Examples
    --------
    >>> from detailed_balance import Transition, TransitionStore
    >>> with TransitionStore("sqlite://") as store:
    ...     store.append([Transition("plan", "search", "thread-1")])
    ...     store.judge("thread-1", success=True)
    ...     read_runs(store)[0]
    Trajectory(moves=(('plan', 'search'),), name='thread-1', outcome=None, success=True, error=None, context=())
    """  # noqa: E501 - a doctest's output stands in one line
    opened = open_source(source, **options)
    runs = opened.runs()
    if runs is None:
        raise InvalidInputError(f"{opened.description} has no runs: {opened._content.why_no_runs}")
    return runs


def read_trajectories(source: object, **options: Any) -> RunTable:
    """Read the runs of a source: the former name of `read_runs`, for scripts that still use it.

    Examples
    --------
    >>> from detailed_balance.analyzers import Trajectory
    >>> len(read_trajectories([Trajectory((("plan", "search"),))]))
    1
    """
    return read_runs(source, **options)


def list_allowed_moves(agent: object) -> Iterable[tuple[str, str]] | None:
    """Return the edges that the graph of an agent allows, START and END included.

    Parameters
    ----------
    agent : object
        A compiled graph, or anything with ``get_graph()`` whose `edges` have a `source` and a
        `target`; or what `check_balance` takes as `graph`. None stays None.

    Raises
    ------
    InvalidInputError
        Where it is of another kind.

    Notes
    -----
    Only the nodes of the graph itself are named, which is what `ActionStates` makes of nodes that
    did not only ask for tools. The tools that a model chose are not nodes, so a loop through them
    is never found to be structural by the graph. A node that returns a ``Command`` must say in its
    annotation where it may go, or these exits are missing here.

    Examples
    --------
    >>> list_allowed_moves([("plan", "act"), ("act", "plan")])
    [('plan', 'act'), ('act', 'plan')]
    """
    if agent is None:
        return None
    draw = getattr(agent, "get_graph", None)
    if draw is not None:
        return [(edge.source, edge.target) for edge in draw().edges]
    if isinstance(agent, Iterable) and not isinstance(agent, str | bytes):
        return agent
    raise InvalidInputError(
        f"agent={type(agent).__name__} object has no get_graph(); allowed are a compiled graph, "
        "a mapping of states to the states they may lead to, and pairs of states"
    )
