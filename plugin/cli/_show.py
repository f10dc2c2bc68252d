"""``detailed-balance show SOURCE RUN``: the path of one run."""

from __future__ import annotations

import json as json_format
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from detailed_balance.cli._shared import RunUrl, SourceArgument, takes_source_options


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="show")(_show)


@takes_source_options
def _show(
    source: SourceArgument,
    run: Annotated[
        str,
        typer.Argument(metavar="RUN", help="The key or the id of a run, or how it begins."),
    ],
    json: Annotated[
        Path | None, typer.Option(help="Write everything as JSON; - prints it instead.")
    ] = None,
    run_url: RunUrl = None,
    *,
    reading: dict[str, Any],
) -> None:
    """Show the path of one run: what it did, where it began to repeat itself, and its outcome."""
    from detailed_balance.report.run_page import show_run  # loads scipy
    from detailed_balance.sources.source import read_runs

    page = show_run(read_runs(source, **reading), run, run_url=run_url)
    if json is not None and str(json) != "-":
        page.to_json(json)
    if str(json) == "-":
        text = json_format.dumps(page.to_dict(), indent=1, allow_nan=False) + "\n"
    else:
        console = Console()
        with console.capture() as captured:
            console.print(page, soft_wrap=True)
        text = captured.get()
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:  # a reader such as head has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
