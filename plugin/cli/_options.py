"""Options that several commands share: how a trace is read, and what of it is kept."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

FormatName: TypeAlias = Annotated[
    str | None, typer.Option(help="The format, if the file does not tell.")
]
"""``--format``."""

StateField: TypeAlias = Annotated[
    str | None, typer.Option(help="Field of a step's state, or a text like {node}:{tool}.")
]
"""``--state-field``."""

SourceField: TypeAlias = Annotated[str | None, typer.Option(help="Field of the state left.")]
"""``--source-field``."""

TargetField: TypeAlias = Annotated[str | None, typer.Option(help="Field of the state reached.")]
"""``--target-field``."""

TrajectoryField: TypeAlias = Annotated[str | None, typer.Option(help="Field of the run.")]
"""``--trajectory-field``."""

OrderField: TypeAlias = Annotated[str | None, typer.Option(help="Field of a step's number.")]
"""``--order-field``."""

TimeField: TypeAlias = Annotated[str | None, typer.Option(help="Field of the time.")]
"""``--time-field``."""

CountField: TypeAlias = Annotated[str | None, typer.Option(help="Field of a count.")]
"""``--count-field``."""

SuccessField: TypeAlias = Annotated[
    str | None, typer.Option(help="Field that says whether a run succeeded.")
]
"""``--success-field``."""

CostField: TypeAlias = Annotated[str | None, typer.Option(help="Field of what a move cost.")]
"""``--cost-field``."""

ContextFields: TypeAlias = Annotated[
    list[str] | None, typer.Option(metavar="NAME", help="A field that becomes a label.")
]
"""``--context-field``."""

ContextLabels: TypeAlias = Annotated[
    list[str] | None, typer.Option(metavar="NAME=VALUE", help="Keep transitions with this label.")
]
"""``--context``."""

StartState: TypeAlias = Annotated[
    str | None, typer.Option(help="What the trace calls the start of a run.")
]
"""``--start-state``."""

EndState: TypeAlias = Annotated[
    str | None, typer.Option(help="What the trace calls the end of a run.")
]
"""``--end-state``."""

SkipBadLines: TypeAlias = Annotated[
    bool, typer.Option("--skip-bad-lines", help="Pass over broken records, and say so.")
]
"""``--skip-bad-lines``."""
