"""Paths, folders and patterns as files; the standard input as a file."""

from __future__ import annotations

import glob
import os
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from detailed_balance.analyzers.errors import ReadError
from detailed_balance.callbacks.redaction import hide_secrets
from detailed_balance.readers.records.base import as_read_error
from detailed_balance.readers.registry import SUFFIXES
from detailed_balance.render.formatting import safe_text

_Path: TypeAlias = "str | os.PathLike[str]"


@as_read_error()
def find_paths(source: _Path) -> list[_Path]:
    """Return the files that a path, a folder or a pattern means, by name; a URL as it is.

    Hidden files and folders, and those that begin with an underscore, are passed over, as Spark
    and others do that write such folders.

    Raises
    ------
    ReadError
        Where no file is there, or a folder cannot be listed.

    Examples
    --------
    >>> find_paths("sqlite:///runs.db")
    ['sqlite:///runs.db']
    """
    text, path = os.fspath(source), Path(source)
    if "://" in text or path.is_file():
        return [source]
    shown = safe_text(text, 200)
    if path.is_dir():
        found = sorted(file for file in _walk(path) if _is_trace(file))
        if not found:
            raise ReadError(f"no file in {shown} has a name of a trace ({', '.join(SUFFIXES)})")
        return list(found)
    if not path.exists() and glob.has_magic(text):
        matched = sorted(Path(name) for name in glob.glob(text, recursive=True))
        files = [file for file in matched if file.is_file()]
        if not files:
            raise ReadError(f"no file matches {shown}")
        return list(files)
    return [source]  # the reader says what is wrong with it


def name_for_commands(source: object, options: Mapping[str, Any]) -> str:
    """Return what a command line calls a source; empty where it has no name that works there.

    Parameters
    ----------
    source : object
        As for `open_source`.
    options : mapping
        How it is read, and what is chosen of it; those that are texts become options.

    Examples
    --------
    >>> name_for_commands("sqlite:///my runs.db", {"context": {"model": "gpt"}})
    "'my runs.db' --context model=gpt"
    >>> name_for_commands("postgresql://me:x@host/db", {})
    ''
    """
    store = getattr(source, "store", None)
    holder = source if store is None else store
    text = getattr(holder, "url", holder)
    if not isinstance(text, str | os.PathLike) or text == "-":
        return ""
    name = os.fspath(text)
    shown = hide_secrets(name).removeprefix("sqlite:///")
    usable = shown.isprintable() and "***" not in shown and isinstance(name, str)
    if not (usable and shown):
        return ""
    words = [shown, *(word for name, value in options.items() for word in _flags(name, value))]
    return shlex.join(words) if all(word.isprintable() for word in words) else ""


def _flags(name: str, value: Any) -> Iterator[str]:
    """Yield an option of `open_source` as words of a command line."""
    flag = f"--{_RENAMED.get(name, name).replace('_', '-')}"
    if name == "boundaries":
        for which, state in zip(("start", "end"), value or (), strict=False):
            yield from (f"--{which}-state", state)
    elif value is True:
        yield flag
    elif isinstance(value, Mapping):
        for old, new in value.items():
            yield from (flag, f"{old}={new}")
    elif isinstance(value, str):
        yield from (flag, value)
    elif isinstance(value, list | tuple | set | frozenset):
        for each in value:
            yield from (flag, str(each))


_RENAMED = {
    "step_field": "order_field",
    "success_values": "success_value",
    "context_fields": "context_field",
}


def _walk(folder: Path) -> Iterator[Path]:
    """Yield the files in a folder that are not hidden; one that cannot be listed is an error."""

    def refuse(error: OSError) -> None:
        raise error

    for place, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if name[0] not in "._"]
        yield from (Path(place, name) for name in names if name[0] not in "._")


def _is_trace(file: Path) -> bool:
    last = next((s.lower() for s in reversed(file.suffixes) if s.lower() != ".gz"), "")
    return last in SUFFIXES and file.is_file()
