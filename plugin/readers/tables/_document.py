"""Files that are one JSON document."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

from detailed_balance.analyzers.errors import ReadError
from detailed_balance.readers.records.base import open_trace
from detailed_balance.render.formatting import safe_text

__all__ = ["first_keys", "load_document"]


def load_document(path: Path) -> Any:
    """Return the JSON document of a file, plain or gzip; it is held in memory whole.

    Raises
    ------
    ReadError
        Where it is damaged.
    """
    try:
        with open_trace(path) as (stream, _):
            return json.loads(stream.read().decode("utf-8-sig"))
    except (EOFError, OSError, zlib.error) as error:
        raise ReadError(f"{path} is damaged ({error})") from error
    except (ValueError, RecursionError) as error:
        raise ReadError(f"{path} is no valid JSON: {safe_text(str(error), 120)}") from error


def first_keys(head: bytes) -> frozenset[str]:
    r"""Return the keys of the object in the first line of a file; none where there is none.

    Examples
    --------
    >>> sorted(first_keys(b'{"messages": [], "id": 1}\n{"mess'))
    ['id', 'messages']
    """
    try:
        found = json.loads(head.partition(b"\n")[0].decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return frozenset()
    return frozenset(found) if isinstance(found, dict) else frozenset()
