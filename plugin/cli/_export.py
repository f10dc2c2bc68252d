"""``detailed-balance export SOURCE OUT``: results into files that other programs open."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from detailed_balance.cli._shared import (
    late_progress,
    takes_source_options,
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="export")(_export)


@takes_source_options
def _export(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE", help="Any trace or store: a file, a folder of Parquet, a URL."
        ),
    ],
    out: Annotated[
        str,
        typer.Argument(
            metavar="OUT", help="The file; a folder for all as Parquet or CSV, with --format."
        ),
    ],
    what: Annotated[str, typer.Option(help="counts, potential, violations, or all.")] = "all",
    format: Annotated[  # noqa: A002 - the name of the option
        str | None,
        typer.Option(help="parquet, csv, graphml or json, if the name of OUT does not say."),
    ] = None,
    source_format: Annotated[
        str | None, typer.Option(help="The format of SOURCE, if its name does not say.")
    ] = None,
    *,
    reading: dict[str, Any],
) -> None:
    """Write counts, potential and violations as Parquet, CSV, GraphML or JSON."""
    from detailed_balance.export import export  # loads scipy

    options: dict[str, Any] = {"source_format": source_format, **reading}
    with late_progress() as progress:
        files = export(source, out, what=what, format=format, progress=progress, **options)  # type: ignore[arg-type] # export checks them
    for file in files:
        typer.echo(f"wrote {file}")
