"""`detailed-balance compare A [B]`: what a change did."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from detailed_balance.cli._options import (
    HtmlFile,
    JsonFile,
    JUnitFile,
    MinVisits,
    parse_conditions,
    parse_context,
    takes_source_options,
)
from detailed_balance.cli._output import FOUND, check_outputs, deliver, late_progress


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="compare")(_compare)


@takes_source_options
def _compare(
    a: Annotated[str, typer.Argument(metavar="A", help="Before: a file, or a store or its URL.")],
    b: Annotated[
        str | None, typer.Argument(metavar="B", help="After; by default A, by label or time.")
    ] = None,
    context_a: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Keep runs of A with this label.")
    ] = None,
    context_b: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Keep runs of B with this label.")
    ] = None,
    since_a: Annotated[
        str | None, typer.Option(metavar="TIME", help="Keep runs of A that began since then.")
    ] = None,
    until_a: Annotated[
        str | None, typer.Option(metavar="TIME", help="Keep runs of A that began before then.")
    ] = None,
    since_b: Annotated[
        str | None, typer.Option(metavar="TIME", help="Keep runs of B that began since then.")
    ] = None,
    until_b: Annotated[
        str | None, typer.Option(metavar="TIME", help="Keep runs of B that began before then.")
    ] = None,
    html: HtmlFile = None,
    json: JsonFile = None,
    junit: JUnitFile = None,
    fail_on: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WHAT",
            help="Exit with 2 on: problem (WORSE), drift (anything changed), failure (success "
            "fell), limit, repetition, trap (runs stay longer), violation (a driven loop is "
            "taken more). Several, or with commas.",
        ),
    ] = None,
    alpha: Annotated[
        float, typer.Option(help="Probability of a false alarm, over all questions.")
    ] = 0.05,
    replicates: Annotated[
        int | None, typer.Option(help="Permutations of runs; 9,999 by default.")
    ] = None,
    min_visits: MinVisits = 10.0,
    *,
    reading: dict[str, Any],
) -> None:
    """Say what a change did: two sources, or two labels or times of one, side by side."""
    from detailed_balance.comparison import CONDITIONS, compare  # loads scipy

    conditions = parse_conditions(fail_on or [], CONDITIONS)
    check_outputs({"--json": json, "--html": html, "--junit": junit})
    with late_progress() as progress:
        comparison = compare(
            a,
            b,
            context_a=parse_context(context_a or []),
            context_b=parse_context(context_b or []),
            since_a=since_a,
            until_a=until_a,
            since_b=since_b,
            until_b=until_b,
            alpha=alpha,
            replicates=replicates,
            min_visits=min_visits,
            progress=progress,
            **reading,
        )
    files = {
        "--json": (json, comparison.to_json),
        "--html": (html, comparison.to_html),
        "--junit": (junit, lambda path: comparison.to_junit(path, conditions or CONDITIONS)),
    }
    deliver(comparison, files)
    if comparison.failures(conditions):
        raise typer.Exit(FOUND)
