"""What a monitor knows as one JSON file, replaced as a whole, so that a restart loses nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from detailed_balance.analyzers.errors import InvalidInputError, ReadError
from detailed_balance.monitor._window_counts import Edge

FORMAT = 1
"""The version of the file."""

MOST_BYTES = 200_000_000
"""A larger file is not a state of ours."""


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write a state; whoever reads the file meanwhile, or after a crash, finds the old or the new.

    Raises
    ------
    OSError
        Where it cannot be written.
    """
    text = json.dumps({"format": FORMAT, **state}, allow_nan=True)
    with NamedTemporaryFile(
        "w", dir=path.parent, prefix=f".{path.name}.", encoding="ascii", delete=False
    ) as file:
        try:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise


def load_state(path: Path) -> dict[str, Any] | None:
    """Return what the file holds, None where there is none.

    Raises
    ------
    ReadError
        Where it cannot be read, or holds something else.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ReadError(f"{path} is too large for the state of a monitor; name another file")
        state = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ReadError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise ReadError(
            f"{path} is not a state of a monitor: not JSON; name another file"
        ) from None
    found = state.get("format") if isinstance(state, dict) else None
    if found != FORMAT:
        raise ReadError(
            f"{path} is not a state of a monitor of this release: its format is {found!r}, and not "
            f"{FORMAT}; name another file, or delete it to start again"
        )
    return dict(state)


def pack_moves(moves: Sequence[Edge]) -> dict[str, Any]:
    """Return moves in types that JSON has, each state named once.

    Examples
    --------
    >>> pack_moves([("a", "b"), ("b", None)])
    {'states': ['a', 'b'], 'moves': [[0, 1], [1, -1]]}
    """
    states: dict[str, int] = {}
    rows = [
        [states.setdefault(f, len(states)), -1 if g is None else states.setdefault(g, len(states))]
        for f, g in moves
    ]
    return {"states": list(states), "moves": rows}


def unpack_moves(packed: Mapping[str, Any]) -> list[Edge]:
    """Return what `pack_moves` packed.

    Raises
    ------
    InvalidInputError
        Where it is something else.

    Examples
    --------
    >>> unpack_moves(pack_moves([("a", "b"), ("b", None)]))
    [('a', 'b'), ('b', None)]
    """
    try:
        states = [*packed["states"], None]
        if not all(isinstance(state, str) for state in states[:-1]):
            raise TypeError("a state is not a text")
        return [(states[i], states[j]) for i, j in packed["moves"] if i >= 0 and j >= -1]
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise InvalidInputError(f"these are not moves: {error!r}") from None
