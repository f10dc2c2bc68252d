"""`read_recording`: all that a trace holds, its runs as a `RunTable`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import networkx as nx
import numpy as np

from detailed_balance.analyzers import TransitionCounts
from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.analyzers.runs.table import RunTable
from detailed_balance.callbacks import Transition
from detailed_balance.readers._read_transitions import Source, make_options, open_records
from detailed_balance.readers.records.base import BadLines, Record, SkippedLine
from detailed_balance.readers.records.runs import split_runs

if TYPE_CHECKING:
    from detailed_balance.analyzers import Trajectory

__all__ = ["Recording", "Sources", "read_recording"]

Sources: TypeAlias = "Source | Sequence[str | os.PathLike[str]]"
"""What can be read as a whole: a source of `read_transitions`, or the paths of several files."""


@dataclass(frozen=True, slots=True)
class Recording:
    """What a trace holds.

    ``read_count + skipped_count + duplicate_count`` is the number of its records.

    Parameters
    ----------
    runs : RunTable or None
        The runs, as they began: those whose time is not known first, then by their time, by their
        name, by their place in the trace. None where no record belongs to a run.
    counts : TransitionCounts
        All moves, those of no run too, START, END and escapes included; the states are sorted.
    read_count : int
        How many records were read: lines, rows, messages, edges, as the format is.
    skipped : tuple of SkippedLine
        The first 1,000 records that were skipped.
    skipped_count : int
        How many records were skipped.
    duplicate_count : int
        How many records were left out because another said the same.
    reordered_count : int
        How many steps stood in another place than their number or time says.
    """

    runs: RunTable | None
    counts: TransitionCounts
    read_count: int
    skipped: tuple[SkippedLine, ...] = ()
    skipped_count: int = 0
    duplicate_count: int = 0
    reordered_count: int = 0


def read_recording(
    source: Sources,
    *,
    format: str | None = None,  # noqa: A002 - as in read_transitions
    cost_field: str | None = None,
    block_field: str | None = None,
    in_order: bool = False,
    skip_bad_lines: bool = False,
    **options: Any,
) -> Recording:
    r"""Read a trace as a whole: its runs, its counts, and an account of its records.

    A run is what bears one name in the field of the trajectory; a name that was used again, which
    a START shows, is several runs.

    Parameters
    ----------
    source : str, path, networkx graph or sequence of paths
        As for `read_transitions`; several files are one trace.
    format : str, optional
        As for `read_transitions`.
    cost_field : str, optional
        The field that says what a move cost, in tokens or money; empty counts as 0.
    block_field : str, optional
        The field with the task or batch of a run; its last one counts.
    in_order : bool
        Keep the runs in the order of the trace, where that is known to be the order of time.
    skip_bad_lines : bool
        Pass over broken records, and keep account of them.
    **options
        As for `read_transitions`.

    Raises
    ------
    InvalidInputError, ReadError
        As from `read_transitions`.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = Path(folder.name) / "steps.csv"
    >>> _ = path.write_text("run,tool\nA,search\nA,read\nB,search\n")
    >>> recording = read_recording(path, state_field="tool", trajectory_field="run")
    >>> recording.runs, recording.read_count
    (RunTable(runs=2, moves=5, states=4), 3)
    >>> folder.cleanup()
    """
    extra = [name for name in (cost_field, block_field) if name is not None]
    labels = options.pop("context_fields", ())
    labels = (labels,) if isinstance(labels, str) else tuple(labels)
    read_options = make_options(context_fields=(*labels, *extra), **options)
    runs: list[Trajectory] = []
    moves: list[Transition] = []
    accounts: list[BadLines] = []
    for each in _list_sources(source):
        found, account = open_records(each, format, read_options, skip=skip_bad_lines)
        kept: list[Record] = []
        for record in found:
            kept.append(record)
            if isinstance(record, Transition):
                moves.append(record)
        runs += [run.end(cost_field) for run in split_runs(kept)]
        accounts.append(account)
    counts = _count(moves)
    if not in_order:
        runs.sort(key=lambda run: (-inf if run.started is None else run.started, run.name or ""))
    return Recording(
        _make_table(runs, block_field, keep=block_field in labels) if runs else None,
        counts,
        sum(each.accepted - each.duplicates for each in accounts),
        tuple(line for each in accounts for line in each.first),
        sum(each.count for each in accounts),
        sum(each.duplicates for each in accounts),
        sum(each.reordered for each in accounts),
    )


def _make_table(runs: list[Trajectory], block_field: str | None, *, keep: bool) -> RunTable:
    """Return runs as a table, the label of this name as their blocks."""
    if block_field is None:
        return RunTable.from_trajectories(runs)
    told = [dict(run.context).get(block_field) for run in runs]
    if not keep:
        runs = [
            replace(run, context=tuple(label for label in run.context if label[0] != block_field))
            for run in runs
        ]
    table = RunTable.from_trajectories(runs)
    blocks = tuple(sorted({name for name in told if name is not None}))
    place = {None: -1} | {name: i for i, name in enumerate(blocks)}
    columns = table.runs._replace(block=np.array([place[name] for name in told], dtype=np.int64))
    return replace(table, runs=columns, blocks=blocks)


def _list_sources(source: Sources) -> Sequence[Source]:
    if isinstance(source, str | os.PathLike | nx.Graph):
        return [source]
    if isinstance(source, list) and source and isinstance(source[0], dict):
        return [cast("list[dict[str, Any]]", source)]
    if isinstance(source, Sequence) and source:
        return cast("Sequence[str | os.PathLike[str]]", source)
    raise InvalidInputError(
        "source must be a path, a URL, a networkx graph or several paths; got "
        f"{'no paths' if isinstance(source, Sequence) else type(source).__name__}"
    )


def _count(moves: Iterable[Transition]) -> TransitionCounts:
    edges = [(move.source, move.target, move.count) for move in moves]
    counts = TransitionCounts.from_edges(edges)
    order = sorted(counts.states)
    return counts.restrict(order) if order != list(counts.states) else counts
