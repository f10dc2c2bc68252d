"""The formats that can be read, what reads each, and how the one of a file is found out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from detailed_balance.analyzers.errors import ReadError
from detailed_balance.readers.records.base import (
    BadLines,
    LineRecord,
    ReadOptions,
    Record,
)
from detailed_balance.readers.records.opening import Opening
from detailed_balance.render.formatting import safe_text

__all__ = ["FORMATS", "SUFFIXES", "describe_opening", "detect_format", "find_format"]

_KEYS_SHOWN = 12


@dataclass(frozen=True, slots=True)
class Format:
    """A format of file, and the module that reads it, which is loaded when it is first asked.

    Parameters
    ----------
    name : str
        What `format=` calls it.
    suffixes : tuple of str
        What the names of such files end with, apart from ``.gz``.
    module : str
        The module, relative to this package.
    detector, reader : str
        Its functions for the two methods below.
    """

    name: str
    suffixes: tuple[str, ...]
    module: str
    detector: str = "looks_like"
    reader: str = "read"

    def looks_like(self, opening: Opening) -> bool:
        """Say whether a file that begins so may be of this format."""
        return bool(self._load(self.detector)(opening))

    def read(self, path: Path, options: ReadOptions, bad: BadLines) -> Iterator[Record]:
        """Return an iterator over what the file holds."""
        records: Iterator[Record] = self._load(self.reader)(path, options, bad)
        return records

    def open_rows(
        self, path: Path, options: ReadOptions, bad: BadLines
    ) -> tuple[Iterator[LineRecord], ReadOptions]:
        """Return the rows of a table with their lines, and the options for its columns."""
        opened: tuple[Iterator[LineRecord], ReadOptions]
        opened = self._load("open_rows")(path, options, bad)
        return opened

    def _load(self, function: str) -> Callable[..., Any]:
        found: Callable[..., Any] = getattr(import_module(self.module, __package__), function)
        return found


_JSON = (".json", ".jsonl", ".ndjson")

# Where two formats share a suffix the first that fits is used: the general one stands last.
_FORMATS = (
    Format("langsmith", (".jsonl", ".ndjson", ".json", ".csv", ".parquet"), ".tracers.langsmith"),
    Format("langfuse", (".jsonl", ".ndjson", ".json", ".csv", ".parquet"), ".tracers.langfuse"),
    Format("any_agent", _JSON, ".trajectories.any_agent"),
    Format("mlflow", (".json", ".jsonl", ".ndjson", ".csv", ".parquet"), ".tracers.mlflow"),
    Format("jaeger", (".json", ".jsonl", ".ndjson"), ".tracers.jaeger"),
    Format("phoenix", (".json", ".jsonl", ".ndjson", ".csv", ".parquet"), ".tracers.phoenix"),
    Format("console", (".json", ".jsonl", ".ndjson"), ".tracers.console"),
    Format("otlp", (".jsonl", ".ndjson", ".json"), ".tracers.otlp"),
    Format("claude_code", _JSON, ".sessions.claude_code"),
    Format("codex", _JSON, ".sessions.codex"),
    Format("pi", _JSON, ".sessions.pi"),
    Format("inspect", (".eval", ".json"), ".trajectories.inspect_logs"),
    Format("atif", _JSON, ".trajectories.atif"),
    Format("mini_swe_agent", _JSON, ".trajectories.mini_swe_agent"),
    Format("openhands", _JSON, ".trajectories.openhands"),
    Format("swe_agent", (".traj", *_JSON), ".trajectories.swe_agent"),
    Format("tracetochain", _JSON, ".trajectories.swe_agent", "looks_like_corpus", "read_corpus"),
    Format("agentbench", _JSON, ".trajectories.agent_bench"),
    Format("who_and_when", _JSON, ".trajectories.who_and_when"),
    Format("toolbench", _JSON, ".trajectories.tool_bench"),
    Format("csv", (".csv", ".tsv"), ".tables.delimited"),
    Format("graphml", (".graphml",), ".graphs", "looks_like_graphml", "read_graphml"),
    Format("langgraph", (".db", ".sqlite", ".sqlite3"), ".checkpoints.langgraph"),
    Format("store", (".db", ".sqlite", ".sqlite3"), ".store"),
    Format("parquet", (".parquet", ".pq"), ".tables.parquet"),
    Format("xes", (".xes",), ".tables.xes"),
    Format("nodelink", (".json",), ".graphs", "looks_like_node_link", "read_node_link"),
    Format("answers", (".json",), ".answers"),
    Format("messages", (".json", ".jsonl", ".ndjson"), ".messages.message_lists"),
    Format("jsonl", (".jsonl", ".ndjson", ".json"), ".tables.json_files"),
)

FORMATS = tuple(sorted(format_.name for format_ in _FORMATS))
"""The formats that ``format=`` takes."""

SUFFIXES = tuple(sorted({suffix for format_ in _FORMATS for suffix in format_.suffixes}))
"""What the names of traces end with, apart from ``.gz``."""


def find_format(name: str) -> Format:
    """Return the format of this name, one of `FORMATS`."""
    return next(format_ for format_ in _FORMATS if format_.name == name)


def detect_format(path: Path) -> Format:
    """Find out the format of a file, by its name and by how it begins.

    Raises
    ------
    ReadError
        Where neither says it.
    """
    opening = Opening(path)
    last = next((s.lower() for s in reversed(path.suffixes) if s.lower() != ".gz"), "")
    named = [format_ for format_ in _FORMATS if last in format_.suffixes]
    for format_ in (*named, *_FORMATS):
        if format_.looks_like(opening):
            return format_
    formats = f"format= (on the command line --format) to one of {', '.join(FORMATS)}"
    if opening.layout is not None:
        raise ReadError(
            f"{path} holds JSON that no reader knows: {describe_opening(opening)}; if it is of a "
            f"format below all the same, set {formats}"
        )
    if not opening.head.strip():
        raise ReadError(f"{path} is empty: it holds no transitions")
    if named:
        return named[-1]  # it will say what is wrong
    known = ", ".join(SUFFIXES)
    raise ReadError(
        f"neither the name nor the content of {path} shows a format (known names are {known}, "
        f"each with .gz); set {formats}"
    )


def describe_opening(opening: Opening) -> str:
    """Say what the first value of JSON in a file is.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "a.json"
    ...     _ = path.write_text('{"log": [], "id": 7}')
    ...     describe_opening(Opening(path))
    "an object with the keys 'log', 'id'"
    """
    words = {"lines": "lines, the first ", "list": "a list, its first element ", "objects": ""}
    where = words[opening.layout or "objects"] if len(opening.records) > 1 else ""
    if not opening.objects:
        return f"{where}no object"
    keys = [f"'{safe_text(str(key), 40)}'" for key in opening.first]
    more = f" and {len(keys) - _KEYS_SHOWN} more" if len(keys) > _KEYS_SHOWN else ""
    return f"{where}an object with the keys {', '.join(keys[:_KEYS_SHOWN]) or 'none'}{more}"
