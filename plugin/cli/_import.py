"""``detailed-balance import SOURCE STORE``: a trace into a store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from detailed_balance.cli._options import (
    ContextFields,
    EndState,
    FormatName,
    SkipBadLines,
    SourceField,
    StartState,
    StateField,
    SuccessField,
    TargetField,
    TimeField,
    TrajectoryField,
)
from detailed_balance.cli._shared import late_progress, reader_options

if TYPE_CHECKING:
    from detailed_balance.sources.imports import ImportSummary


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="import")(_import)


def _import(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="Any trace: a file, or the URL of a database.")
    ],
    store: Annotated[
        str, typer.Argument(metavar="STORE", help="A file for SQLite, or the URL of a store.")
    ],
    prefix: Annotated[
        str, typer.Option(help="Put before the name of each run, to keep traces apart.")
    ] = "",
    format: FormatName = None,  # noqa: A002 - the name of the option
    state_field: StateField = None,
    source_field: SourceField = None,
    target_field: TargetField = None,
    trajectory_field: TrajectoryField = None,
    time_field: TimeField = None,
    success_field: SuccessField = None,
    context_field: ContextFields = None,
    start_state: StartState = None,
    end_state: EndState = None,
    skip_bad_lines: SkipBadLines = False,
) -> None:
    """Read a trace into a store, with what became of its runs; never the same one twice."""
    from detailed_balance.sources.imports import import_trace  # loads SQLAlchemy

    options = reader_options(
        format=format,
        state_field=state_field,
        source_field=source_field,
        target_field=target_field,
        trajectory_field=trajectory_field,
        time_field=time_field,
        success_field=success_field,
        context_field=context_field,
        start_state=start_state,
        end_state=end_state,
        skip_bad_lines=skip_bad_lines,
    )
    with late_progress() as progress:
        summary = import_trace(source, store, prefix=prefix, progress=progress, **options)
    typer.echo(_describe(summary))


def _describe(summary: ImportSummary) -> str:
    if summary.already:
        return "nothing is new: the same trace was imported into this store before"
    lines = [
        f"imported {summary.transitions:,} transitions and {summary.endings:,} endings",
        f"of {summary.read + summary.skipped + summary.duplicates:,} records: "
        f"{summary.read:,} read, {summary.skipped:,} skipped, {summary.duplicates:,} duplicates",
    ]
    if summary.reordered:
        lines.append(f"{summary.reordered:,} stood in another place than their time tells")
    return "\n".join(lines)
