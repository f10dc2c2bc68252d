"""``detailed-balance prune STORE --older-than 30d``."""

from __future__ import annotations

import re
import time
from typing import Annotated

import typer

from detailed_balance.analyzers.errors import ReadError
from detailed_balance.cli._shared import StoreArgument

_SECONDS = {"h": 3_600.0, "d": 86_400.0, "w": 7 * 86_400.0}


def register(app: typer.Typer) -> None:
    """Add the command to the others."""
    app.command()(prune)


def prune(
    store: StoreArgument,
    older_than: Annotated[
        str, typer.Option(metavar="AGE", help="What to delete: 12h, 30d or 8w old and older.")
    ],
) -> None:
    """Delete what was recorded long ago; agents may record meanwhile."""
    from detailed_balance.callbacks import TransitionStore  # loads SQLAlchemy
    from detailed_balance.readers.databases import store_url

    moment = time.time() - parse_age(older_than)
    url = store_url(store)
    if url is None:
        raise ReadError(f"there is no store {store}")
    TransitionStore(url, create=False).close()  # it must be there; then it is brought up to date
    with TransitionStore(url) as opened:
        deleted = opened.forget(before=moment)
        typer.echo(f"{deleted:,} rows deleted, {len(opened):,} transitions left")


def parse_age(text: str) -> float:
    """Return the seconds of an age.

    Raises
    ------
    typer.BadParameter
        Where it is none.

    Examples
    --------
    >>> parse_age("30d"), parse_age("1.5h")
    (2592000.0, 5400.0)
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([hdw])", text.strip())
    if not found:
        raise typer.BadParameter(
            f"{text!r} is no age; write 12h, 30d or 8w", param_hint="--older-than"
        )
    return float(found[1]) * _SECONDS[found[2]]
