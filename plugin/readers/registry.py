"""The formats that can be read, and how the one of a file is found out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from detailed_balance.analyzers.errors import ReadError
from detailed_balance.readers import (
    _graphml as graphml,
    _node_link as nodelink,
    langgraph,
    messages,
    store,
)
from detailed_balance.readers.records.base import BadLines, ReadOptions, Record, peek_text
from detailed_balance.readers.spans import langfuse, langsmith, otlp
from detailed_balance.readers.tables import _json_lines as jsonl, delimited, parquet, xes

__all__ = ["FORMATS", "Format", "Reader", "detect_format", "find_format"]


class Reader(Protocol):
    """A module that reads one format of file; it loads what is heavy only when it reads."""

    def looks_like(self, head: bytes, path: Path) -> bool:
        """Say whether a file that begins so, unpacked, may be of this format."""
        ...

    def read(self, path: Path, options: ReadOptions, bad: BadLines) -> Iterator[Record]:
        """Yield what the file holds."""
        ...


@dataclass(frozen=True, slots=True)
class Format:
    """A format of file.

    Parameters
    ----------
    name : str
        What `format=` calls it.
    suffixes : tuple of str
        What the names of such files end with, apart from ``.gz``.
    reader : Reader
        Reads it.
    """

    name: str
    suffixes: tuple[str, ...]
    reader: Reader


# Where two formats share a suffix the first that fits is taken: the general one stands last.
_FORMATS = (
    Format("langsmith", (".jsonl", ".ndjson", ".json", ".parquet"), langsmith),
    Format("langfuse", (".jsonl", ".ndjson", ".json", ".csv", ".parquet"), langfuse),
    Format("otlp", (".jsonl", ".ndjson", ".json"), otlp),
    Format("csv", (".csv", ".tsv"), delimited),
    Format("graphml", (".graphml",), graphml),
    Format("langgraph", (".db", ".sqlite", ".sqlite3"), langgraph),
    Format("store", (".db", ".sqlite", ".sqlite3"), store),
    Format("parquet", (".parquet", ".pq"), parquet),
    Format("xes", (".xes",), xes),
    Format("nodelink", (".json",), nodelink),
    Format("messages", (".json", ".jsonl", ".ndjson"), messages),
    Format("jsonl", (".jsonl", ".ndjson"), jsonl),
)

FORMATS = tuple(sorted(format_.name for format_ in _FORMATS))
"""The formats that ``format=`` takes."""


def find_format(name: str) -> Format:
    """Return the format of this name, one of `FORMATS`."""
    return next(format_ for format_ in _FORMATS if format_.name == name)


def detect_format(path: Path) -> Format:
    """Find out the format of a file, by its name and by how it begins.

    Raises
    ------
    ReadError
        Where neither tells it.
    """
    head = peek_text(path)
    last = next((s.lower() for s in reversed(path.suffixes) if s.lower() != ".gz"), "")
    named = [format_ for format_ in _FORMATS if last in format_.suffixes]
    for format_ in (*named, *_FORMATS):
        if format_.reader.looks_like(head, path):
            return format_
    if named:
        return named[-1]  # it will say what is wrong
    known = ", ".join(sorted({suffix for format_ in _FORMATS for suffix in format_.suffixes}))
    raise ReadError(
        f"neither the name nor the content of {path} tells a format (known names are {known}, "
        f"each with .gz); set format= (on the command line --format) to one of {', '.join(FORMATS)}"
    )
