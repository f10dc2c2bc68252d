"""`read_recording`: all that a trace holds, its runs as a `RunTable`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import networkx as nx
import numpy as np

from detailed_balance.analyzers import TransitionCounts
from detailed_balance.analyzers.errors import InvalidInputError, ReadError
from detailed_balance.analyzers.runs.table import RunTable
from detailed_balance.callbacks import Transition
from detailed_balance.readers._read_transitions import (
    Source,
    find_reader,
    make_options,
    name_source,
    number_rows,
    open_records,
    refuse_nothing,
)
from detailed_balance.readers.records.base import (
    BadLines,
    LineRecord,
    ReadOptions,
    Record,
    SkippedLine,
    as_read_error,
)
from detailed_balance.readers.records.columns import FACTS, FieldNames
from detailed_balance.readers.records.rows import read_records
from detailed_balance.readers.records.runs import MOST_COUNTED, split_runs, split_table
from detailed_balance.readers.registry import find_format
from detailed_balance.readers.tables.engine import MEMORY_LIMIT, TABLES, read_table
from detailed_balance.render.formatting import safe_text

if TYPE_CHECKING:
    from detailed_balance.analyzers import Trajectory

__all__ = ["Recording", "Sources", "read_recording"]

_LANGGRAPH = frozenset({"langgraph", "checkpoints"})
"""Here the number of a step is a superstep; elsewhere a recursion limit may count other steps."""

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
        How many steps were out of order, by their number or time.
    scores : tuple of str
        The names of the scores of traces, where there are several and no field of success was
        named, so that none of them says whether a run succeeded.
    """

    runs: RunTable | None
    counts: TransitionCounts
    read_count: int
    skipped: tuple[SkippedLine, ...] = ()
    skipped_count: int = 0
    duplicate_count: int = 0
    reordered_count: int = 0
    scores: tuple[str, ...] = ()


@as_read_error()
def read_recording(
    source: Sources,
    *,
    format: str | None = None,  # noqa: A002 - as in read_transitions
    cost_field: str | None = None,
    block_field: str | None = None,
    in_order: bool = False,
    only_counts: bool = False,
    skip_bad_lines: bool = False,
    memory_limit: str = MEMORY_LIMIT,
    temp_directory: str | os.PathLike[str] | None = None,
    failed_field: str | None = None,
    tokens_field: str | None = None,
    call_field: str | None = None,
    answer_field: str | None = None,
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
    failed_field, tokens_field, call_field, answer_field : str, optional
        Fields of a table that tell the facts of a step, `StepFacts`: whether it failed (true, 1,
        false, 0), the tokens that it used, what was called, and what was answered. Calls and
        answers may be any text or JSON; of them it is kept only which are the same, and how long.
    in_order : bool
        Keep runs of which no time is known in the order of the trace, and not by their names.
    only_counts : bool
        Leave the runs out, which take memory.
    skip_bad_lines : bool
        Pass over broken records, and keep account of them.
    memory_limit : str
        The memory that DuckDB may use, which sorts tables; the rest of a sort goes to the disk.
    temp_directory : path, optional
        Where to; by default the folder of the system for temporary files.
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
    labels = options.pop("context_fields", ())
    labels = (labels,) if isinstance(labels, str) else tuple(labels)
    read_options = make_options(
        context_fields=labels,
        cost_field=cost_field,
        block_field=block_field,
        failed_field=failed_field,
        tokens_field=tokens_field,
        call_field=call_field,
        answer_field=answer_field,
        **options,
    )
    sources = _list_sources(source)
    bad = BadLines("", skip=skip_bad_lines, several=len(sources) > 1)
    sources, found = zip(*_find_readers(sources, format, bad), strict=True)
    _check_facts(read_options.fields, found)
    if not bad.count and len(set(found)) == 1 and found[0] in TABLES:
        content = read_table(
            [Path(each) for each in sources],
            found[0],
            read_options,
            in_order=in_order,
            only_counts=only_counts,
            memory_limit=memory_limit,
            temp_directory=temp_directory,
        )
        if content is not None:
            bad.name = str(sources[-1])
            bad.accepted, bad.duplicates = content.rows, content.duplicates
            moves = bool(content.counts.attempts.sum())
            refuse_nothing(moves, sources[0], found[0], bad, options=read_options)
            read = content.rows - content.duplicates
            account = (read, (), 0, content.duplicates, content.reordered)
            return Recording(content.runs, content.counts, *account)
    settings = {"in_order": in_order, "only_counts": only_counts}
    return _read_records(sources, found, read_options, bad, **settings)


def _find_readers(
    sources: Sequence[Any], format_: str | None, bad: BadLines
) -> list[tuple[Any, str]]:
    """Return each source with its reader; one that has none is reported to `bad`."""
    found = []
    for source in sources:
        try:
            found.append((source, find_reader(source, format_)))
        except ReadError as error:
            bad.name = str(source)
            bad.report_file(error)
    if not found:
        raise ReadError(f"none of {len(sources):,} files can be read; {bad.first[0].reason}")
    return found


def _check_facts(fields: FieldNames, readers: Sequence[str]) -> None:
    """Refuse fields of facts for formats that are not tables, which have facts of their own.

    Raises
    ------
    InvalidInputError
        Where one is named all the same.
    """
    others = sorted(set(readers) - TABLES - {"rows", "xes"})
    for role in FACTS if others else ():
        if (name := getattr(fields, role)) is not None:
            raise InvalidInputError(
                f"{role}_field={safe_text(repr(name), 60)} is for tables: CSV, JSON Lines, "
                f"Parquet, XES and DataFrames; {others[0]} has its own facts of steps"
            )


def _read_records(
    sources: Sequence[Any],
    readers: Sequence[str],
    options: ReadOptions,
    bad: BadLines,
    *,
    in_order: bool,
    only_counts: bool,
) -> Recording:
    """Read a trace record by record."""
    cost_field, of_moves = None, False
    if readers[0] == "rows":
        bad.name = name_source(sources[0], "rows")
        options = replace(options, every_ending=True)
        records = read_records(number_rows(sources[0]), options, bad)
        of_moves = not options.reads_steps
    elif len(set(readers)) == 1 and readers[0] in TABLES:
        options = replace(options, every_ending=True)
        rows, options = _open_rows(sources, readers[0], options, bad)
        records, of_moves = read_records(rows, options, bad), not options.reads_steps
    else:
        fields, cost_field = options.fields, options.fields.cost
        if cost_field is not None:  # the format says what a move is; its cost is one of its labels
            fields = replace(fields, context=(*fields.context, cost_field), cost=None)
        records = _open_each(sources, readers, replace(options, fields=fields), bad)
    kept = list(records)
    moves = [record for record in kept if isinstance(record, Transition)]
    refuse_nothing(bool(moves), sources[0], readers[0], bad, options=options)
    if only_counts or sum(move.count - 1 for move in moves if _is_of_run(move)) > MOST_COUNTED:
        found = []
    else:
        found = split_table(kept) if of_moves else split_runs(kept)
    langgraph = _LANGGRAPH.issuperset(readers)
    runs = [run.end(cost_field, langgraph=langgraph) for run in found]
    runs.sort(
        key=lambda run: (
            -inf if run.started is None else run.started,
            "" if in_order else run.name or "",
        )
    )
    table = _make_table(runs, options.fields) if runs else None
    read = bad.accepted - bad.duplicates
    account = (read, tuple(bad.first), bad.count, bad.duplicates, bad.reordered)
    scores = tuple(sorted(bad.score_names)) if len(bad.score_names) > 1 else ()
    return Recording(table, _count(moves), *account, scores)


def _is_of_run(move: Transition) -> bool:
    return move.run is not None or move.trajectory is not None


def _open_rows(
    sources: Sequence[Any], reader: str, options: ReadOptions, bad: BadLines
) -> tuple[Iterator[LineRecord], ReadOptions]:
    """Return the rows of files of one format, one after another, and the options for them."""
    bad.name = str(sources[0])
    open_rows = find_format(reader).open_rows
    first, options_there = open_rows(Path(sources[0]), options, bad)

    def rows() -> Iterator[LineRecord]:
        yield from first
        for source in sources[1:]:
            bad.name = str(source)
            yield from open_rows(Path(source), options, bad)[0]

    return rows(), options_there


def _open_each(
    sources: Sequence[Any], readers: Sequence[str], options: ReadOptions, bad: BadLines
) -> Iterator[Record]:
    files = _name_files(sources) if bad.several else [None]
    for source, reader, file in zip(sources, readers, files, strict=True):
        bad.name, bad.file = name_source(source, reader), file
        moves, before = not bad.several, bad.accepted - bad.duplicates
        try:
            for record in open_records(source, reader, options, bad):
                moves = moves or isinstance(record, Transition)
                yield record
            if bad.accepted - bad.duplicates > before:
                refuse_nothing(moves, source, reader, bad, options=options)
        except ReadError as error:
            bad.report_file(error)


def _name_files(sources: Sequence[Any]) -> list[str]:
    """Return what several files are called among each other: their paths where they part.

    Examples
    --------
    >>> _name_files(["runs/a/1.json", "runs/b/1.json"])
    ['a/1.json', 'b/1.json']
    """
    paths = [Path(os.path.abspath(source)) for source in sources]
    root = os.path.commonpath([path.parent for path in paths])
    return [path.relative_to(root).as_posix() for path in paths]


def _make_table(runs: list[Trajectory], fields: FieldNames) -> RunTable:
    """Return runs as a table, the label of the block as their blocks."""
    if fields.block is None:
        return RunTable.from_trajectories(runs)
    told = [dict(run.context).get(fields.block) for run in runs]
    if fields.block not in fields.context:
        bare = [tuple(label for label in run.context if label[0] != fields.block) for run in runs]
        runs = [replace(run, context=labels) for run, labels in zip(runs, bare, strict=True)]
    table = RunTable.from_trajectories(runs)
    blocks = tuple(sorted({name for name in told if name is not None}))
    place = {None: -1} | {name: i for i, name in enumerate(blocks)}
    columns = table.runs._replace(block=np.array([place[name] for name in told], dtype=np.int64))
    return replace(table, runs=columns, blocks=blocks)


def _list_sources(source: Sources) -> Sequence[Any]:
    if isinstance(source, str | os.PathLike | nx.Graph):
        return [source]
    if isinstance(source, list) and source and isinstance(source[0], dict):
        return [source]
    if isinstance(source, Sequence) and source:
        return source
    raise InvalidInputError(
        "source must be a path, a URL, a networkx graph or several paths; got "
        f"{'no paths' if isinstance(source, Sequence) else type(source).__name__}"
    )


def _count(moves: Iterable[Transition]) -> TransitionCounts:
    edges = [(move.source, move.target, move.count) for move in moves]
    counts = TransitionCounts.from_edges(edges)
    order = sorted(counts.states)
    return counts.restrict(order) if order != list(counts.states) else counts
