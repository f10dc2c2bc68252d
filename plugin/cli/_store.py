"""``detailed-balance import SOURCE STORE`` and ``prune STORE``: what fills and empties a store."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from detailed_balance.analyzers.errors import ReadError
from detailed_balance.analyzers.runs.labels import parse_duration
from detailed_balance.cli._shared import StoreArgument, late_progress, takes_reader_options

if TYPE_CHECKING:
    from detailed_balance.sources.imports import ImportSummary


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(name="import")(_import)
    app.command(name="prune")(_prune)


@takes_reader_options
def _import(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="Any trace: a file, or the URL of a database.")
    ],
    store: StoreArgument,
    prefix: Annotated[
        str, typer.Option(help="Put before the name of each run, to keep traces apart.")
    ] = "",
    *,
    reading: dict[str, Any],
) -> None:
    """Read a trace into a store, with the outcomes of its runs; never the same one twice."""
    from detailed_balance.sources.imports import import_trace  # loads SQLAlchemy

    with late_progress() as progress:
        summary = import_trace(source, store, prefix=prefix, progress=progress, **reading)
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
        lines.append(f"{summary.reordered:,} were out of order, by their time")
    return "\n".join(lines)


def _prune(
    store: StoreArgument,
    older_than: Annotated[
        str,
        typer.Option(metavar="AGE", help="Delete what is at least this old: 90m, 12h, 30d, 8w."),
    ],
) -> None:
    """Delete what was recorded long ago; agents may record meanwhile."""
    from detailed_balance.callbacks import TransitionStore  # loads SQLAlchemy
    from detailed_balance.readers.databases import store_url

    moment = time.time() - parse_duration(older_than)
    url = store_url(store)
    if url is None:
        raise ReadError(f"there is no store {store}")
    TransitionStore(url, create=False).close()  # it must be there; then it is brought up to date
    with TransitionStore(url) as opened:
        deleted = opened.forget(before=moment)
        typer.echo(f"{deleted:,} rows deleted, {len(opened):,} transitions left")
