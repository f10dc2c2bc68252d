"""What LangGraph's savers wrote, as plain values: no class is imported, nothing is unpickled."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["OPAQUE", "unpack"]

OPAQUE = object()
"""Stands for a value that is not read, because only code could read it."""

_PLAIN = {0, 1, 2, 4, 5}
"""Extension types of a triple (module, class, what it is made from): only the last is taken."""

_SNAPSHOT = 7


def unpack(kind: str | None, data: Any) -> Any:
    r"""Return a value that a saver wrote, objects as the plain values that they were made from.

    The savers write msgpack, in which objects are extension types that name a class. Here the
    name is passed over: a message is the mapping of its fields, a ``Send`` the list of its
    arguments, a set a list. Pickled and encrypted values, arrays and the like are `OPAQUE`.

    Raises
    ------
    ValueError
        Where `data` is damaged.

    Examples
    --------
    >>> unpack("msgpack", b"\x92\x01\xa1x"), unpack("null", b""), unpack("pickle", b"") is OPAQUE
    ([1, 'x'], None, True)
    """
    if kind in ("null", "empty"):
        return None
    if data is None or kind not in ("msgpack", "json"):
        return OPAQUE
    try:
        return json.loads(data) if kind == "json" else _unpack(bytes(data))
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _unpack(data: bytes) -> Any:
    import ormsgpack  # comes with LangGraph; loaded for checkpoints alone

    return ormsgpack.unpackb(data, ext_hook=_open_extension, option=ormsgpack.OPT_NON_STR_KEYS)


def _open_extension(code: int, data: bytes) -> Any:
    value = _unpack(data) if code in _PLAIN or code == _SNAPSHOT else OPAQUE
    if code in _PLAIN:
        return value[2] if isinstance(value, list) and len(value) > 2 else OPAQUE
    return value
