"""``detailed-balance demo``: an agent on a measured language model, and its report."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from detailed_balance.cli._options import OpenBrowser, takes_common_options
from detailed_balance.cli._output import late_progress, note, show


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="demo")(_demo)


@takes_common_options
def _demo(
    output: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("demo-output"),
    steps: Annotated[int, typer.Option(min=1, help="Steps of the agent, in all.")] = 20_000,
    threads: Annotated[int, typer.Option(min=1, help="Threads of the agent.")] = 64,
    open_: OpenBrowser = False,
) -> None:
    """Run an agent that answers as a real language model does, and report on it."""
    from detailed_balance.demo import run_demo  # loads LangGraph

    with late_progress() as progress:
        running = None if progress is None else partial(progress, "Running the agent")
        report = run_demo(output, steps=steps, threads=threads, progress=running)
    show(report)
    note(f"\nEverything is in {output}{os.sep}")
    if open_:
        typer.launch(str(output / "report.html"))
