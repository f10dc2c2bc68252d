"""``export SOURCE OUT`` and ``guard SOURCE``: what a record gives to other programs, as files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from detailed_balance.cli._options import JsonFile, SourceArgument, takes_source_options
from detailed_balance.cli._output import (
    check_outputs,
    deliver,
    late_progress,
    say,
    write_file,
    write_json,
)
from detailed_balance.render.formatting import safe_run

if TYPE_CHECKING:
    from detailed_balance.analyzers import GuardEvaluation

_NAMED = 10
_SELECTION = ("context", "since", "until", "last", "hide", "merge", "block")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(name="export")(_export)
    app.command(name="guard")(_guard)


@takes_source_options
def _export(
    source: SourceArgument,
    out: Annotated[
        str,
        typer.Argument(
            metavar="OUT", help="The file, or -; a folder for all as Parquet or CSV, with --to."
        ),
    ],
    what: Annotated[str, typer.Option(help="counts, potential, violations, or all.")] = "all",
    to: Annotated[
        str | None,
        typer.Option(help="parquet, csv, graphml or json, if the name of OUT does not say."),
    ] = None,
    *,
    reading: dict[str, Any],
) -> None:
    """Write counts, potential and violations as Parquet, CSV, GraphML or JSON."""
    from detailed_balance.export import export  # loads scipy

    settings: dict[str, Any] = {"what": what, "source_format": reading.pop("format", None)}
    if out == "-" and (to is None or (what == "all" and to in ("csv", "parquet"))):
        raise typer.BadParameter(
            "the standard output is one file without a name: say its format with --to (csv, "
            "parquet, graphml, json), and for csv and parquet one table with --what",
            param_hint="OUT",
        )

    def write(path: Path) -> list[Path]:
        with late_progress() as progress:
            return export(source, path, format=to, progress=progress, **settings, **reading)  # type: ignore[arg-type] # export checks them

    for file in write_file(out, write) or ():
        say(f"wrote {file}")


@takes_source_options
def _guard(
    source: SourceArgument,
    alpha: Annotated[
        float, typer.Option(help="The largest share of successful runs that the guard may stop.")
    ] = 0.1,
    by_runs: Annotated[
        bool,
        typer.Option(
            "--by-runs", help="Set the threshold by single runs, even where tasks are known."
        ),
    ] = False,
    text: Annotated[
        bool,
        typer.Option(
            "--text", help="Also read the text that the agent wrote (files of messages only)."
        ),
    ] = False,
    memory: Annotated[
        int, typer.Option(min=0, help="Depth of the context trees in the score; 0 for none.")
    ] = 0,
    save: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the guard, for RunGuard.load(FILE); - prints it."),
    ] = None,
    json: JsonFile = None,
    *,
    reading: dict[str, Any],
) -> None:
    """Say what a run guard would have stopped in recorded runs, and save it."""
    from detailed_balance.analyzers import OutcomeScore, evaluate_guard  # loads scipy
    from detailed_balance.readers import read_texts
    from detailed_balance.sources.source import read_runs

    check_outputs({"--json": json, "--save": save})
    texts = None
    if text:
        if "hide" in reading:
            raise typer.BadParameter(
                "--hide takes moves out of a run, so it is not clear what the agent wrote in the "
                "others; leave out one of the two",
                param_hint="--text",
            )
        chosen = {name: each for name, each in reading.items() if name not in _SELECTION}
        texts = read_texts(source, **chosen)
    found = evaluate_guard(
        read_runs(source, **reading),
        alpha,
        OutcomeScore(text="ngrams" if text else None, memory=memory),
        groups=False if by_runs else None,
        texts=texts,
    )
    lines = [found.describe(), *_name_stopped(found), *_say_saved(save)]
    files = {
        "--save": (save, found.guard.save),
        "--json": (json, lambda path: write_json(found.to_dict(), path)),
    }
    deliver(Text("\n".join(lines)), files, soft_wrap=True)


def _name_stopped(found: GuardEvaluation) -> Iterator[str]:
    """Name the runs that at least half of the repetitions stopped."""
    rows = zip(found.runs, found.success, found.stopped, strict=True)
    stopped = [(name, worked) for name, worked, share in rows if share >= 0.5]
    for title, kind in (("rightly stopped", False), ("wrongly stopped", True)):
        names = [safe_run(name) for name, worked in stopped if worked is kind]
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        yield f"  {title:<15} {', '.join(names[:_NAMED]) or 'none'}{more}"


def _say_saved(path: Path | None) -> Iterator[str]:
    if path is not None:
        yield f'  saved           {path}; RunGuardMiddleware(RunGuard.load({str(path)!r}), "end")'
