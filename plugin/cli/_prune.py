"""``detailed-balance prune STORE --older-than 30d``."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from detailed_balance.analyzers.errors import ReadError
from detailed_balance.analyzers.runs.labels import parse_duration
from detailed_balance.cli._shared import StoreArgument


def register(app: typer.Typer) -> None:
    """Add the command to the others."""
    app.command()(prune)


def prune(
    store: StoreArgument,
    older_than: Annotated[
        str, typer.Option(metavar="AGE", help="What to delete: 90m, 12h, 30d or 8w old and older.")
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
