"""``detailed-balance show SOURCE RUN``: the path of one run."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.console import Console

from detailed_balance.cli._shared import (
    JsonFile,
    RunUrl,
    SourceArgument,
    takes_source_options,
    write_json,
    write_out,
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="show")(_show)


@takes_source_options
def _show(
    source: SourceArgument,
    run: Annotated[
        str,
        typer.Argument(metavar="RUN", help="The key or id of a run, or its beginning."),
    ],
    json: JsonFile = None,
    run_url: RunUrl = None,
    *,
    reading: dict[str, Any],
) -> None:
    """Show the path of one run: what it did, where it began to repeat itself, and its outcome."""
    from detailed_balance.report.run_page import show_run  # loads scipy
    from detailed_balance.sources.source import read_runs

    page = show_run(read_runs(source, **reading), run, run_url=run_url)
    if write_json(page, json):
        return
    console = Console()
    with console.capture() as captured:
        console.print(page, soft_wrap=True)
    write_out(captured.get())
