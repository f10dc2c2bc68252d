"""``detailed-balance export SOURCE OUT``: results into files that other programs open."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from detailed_balance.commands.options import (
    ContextFields,
    ContextLabels,
    CountField,
    OrderField,
    SourceField,
    StateField,
    TargetField,
    TimeField,
    TrajectoryField,
)

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="export")(_export)


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
        typer.Option(help="parquet, csv, graphml or json, if the name of OUT does not tell."),
    ] = None,
    source_format: Annotated[
        str | None, typer.Option(help="The format of SOURCE, if it does not tell.")
    ] = None,
    context: ContextLabels = None,
    state_field: StateField = None,
    source_field: SourceField = None,
    target_field: TargetField = None,
    trajectory_field: TrajectoryField = None,
    order_field: OrderField = None,
    time_field: TimeField = None,
    count_field: CountField = None,
    context_field: ContextFields = None,
) -> None:
    """Write counts, potential and violations as Parquet, CSV, GraphML or JSON."""
    from detailed_balance import cli
    from detailed_balance.export.export import export  # loads scipy

    options: dict[str, Any] = {
        "source_format": source_format,
        "context": cli.parse_context(context or []),
        "state_field": state_field,
        "source_field": source_field,
        "target_field": target_field,
        "trajectory_field": trajectory_field,
        "step_field": order_field,
        "time_field": time_field,
        "count_field": count_field,
        "context_fields": context_field,
    }
    given = {name: value for name, value in options.items() if value}
    with cli.late_progress() as progress:
        files = export(source, out, what=what, format=format, progress=progress, **given)  # type: ignore[arg-type] # export checks them
    for file in files:
        typer.echo(f"wrote {file}")
