"""``import SOURCE STORE``, ``judge STORE FILE``, ``prune STORE``: what a store holds is changed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from detailed_balance.analyzers.errors import InvalidInputError, ReadError
from detailed_balance.analyzers.runs.labels import parse_duration
from detailed_balance.cli._options import (
    SkipBadLines,
    SourceArgument,
    StoreArgument,
    SuccessValue,
    takes_common_options,
    takes_reader_options,
)
from detailed_balance.cli._output import late_progress, note, say
from detailed_balance.render.formatting import count_noun, safe_text

if TYPE_CHECKING:
    from sqlalchemy import URL

    from detailed_balance.sources.imports import ImportSummary


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(name="import")(_import)
    app.command(name="judge")(_judge)
    app.command(name="prune")(_prune)


@takes_reader_options
def _import(
    source: SourceArgument,
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
    say(_describe(summary))


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


@takes_common_options
def _judge(
    store: StoreArgument,
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE", help="CSV with the columns run and success; - is the standard input."
        ),
    ],
    trajectory_field: Annotated[str, typer.Option(help="Field of the name of the run.")] = "run",
    success_field: Annotated[
        str, typer.Option(help="Field that says whether a run succeeded.")
    ] = "success",
    success_value: SuccessValue = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be recorded, and record nothing.")
    ] = False,
    skip_bad_lines: SkipBadLines = False,
) -> None:
    """Record which runs did their work: all that a table says, or nothing where a line is wrong."""
    from detailed_balance.callbacks import TransitionStore  # loads SQLAlchemy
    from detailed_balance.readers.judgements import read_judgements
    from detailed_balance.readers.records.base import BadLines, spool_input

    url, bad = _existing_store(store), BadLines(file, skip=skip_bad_lines)
    path, folder = (Path(file), None) if file != "-" else spool_input()
    found = read_judgements(
        path,
        bad,
        trajectory_field=trajectory_field,
        success_field=success_field,
        success_values=success_value or (),
    )
    del folder  # the temporary one of the standard input
    if not found:
        raise ReadError(
            f"{safe_text(file)} judges no run: no line has a value in {safe_text(success_field)}"
        )
    judged = {run: success for run, (success, _) in found.items()}
    with TransitionStore(url) as opened:
        unknown = opened.judge_runs(judged, skip_unknown=True, dry_run=True)
        if unknown:
            try:
                opened.judge_runs({run: judged[run] for run in unknown}, dry_run=True)
            except InvalidInputError as error:
                bad.report(found[unknown[0]][1], str(error))
        if not dry_run:
            opened.judge_runs(judged, skip_unknown=True)
    known = [success for run, success in judged.items() if run not in set(unknown)]
    say(
        f"{'would judge' if dry_run else 'judged'} {count_noun(len(known), 'run')}: "
        f"{sum(known):,} successful, {len(known) - sum(known):,} not"
    )
    for line in bad.first:
        note(f"left out, line {line.line}: {safe_text(line.reason, 400)}")


def _existing_store(store: str) -> str | URL:
    """Return the URL of a store, which must be there; it is then brought up to date."""
    from detailed_balance.callbacks import TransitionStore  # loads SQLAlchemy
    from detailed_balance.readers.databases import store_url

    url = store_url(store)
    if url is None:
        raise ReadError(f"there is no store {store}")
    TransitionStore(url, create=False).close()
    return url


@takes_common_options
def _prune(
    store: StoreArgument,
    older_than: Annotated[
        str,
        typer.Option(metavar="AGE", help="Delete what is at least this old: 90m, 12h, 30d, 8w."),
    ],
) -> None:
    """Delete what was recorded long ago; agents may record meanwhile."""
    from detailed_balance.callbacks import TransitionStore  # loads SQLAlchemy

    moment = time.time() - parse_duration(older_than)
    with TransitionStore(_existing_store(store)) as opened:
        deleted = opened.forget(before=moment)
        say(f"{deleted:,} rows deleted, {len(opened):,} transitions left")
