"""`Journal`, the log of a search: what was asked, answered and judged, one line of JSON each."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any

from detailed_balance.analyzers.errors import InvalidInputError, ReadError

__all__ = ["Journal"]


class Journal:
    """A file that is only appended to, and that a search goes on from.

    Each line is written at once, so that a search that is killed loses at most the line that it
    was writing; what is left of that is passed over.

    Parameters
    ----------
    path : path or None
        The file, made where there is none; None keeps nothing.
    settings : dict
        What a search must have in common with the one that it goes on with.

    Attributes
    ----------
    answers, verdicts : dict of int to dict
        What is known already, by the number of the proposal.

    Raises
    ------
    InvalidInputError
        Where the file is of a search with other settings, or another search is writing it.
    ReadError
        Where it holds something else.
    """

    def __init__(self, path: str | os.PathLike[str] | None, settings: dict[str, Any]) -> None:
        self.answers: dict[int, dict[str, Any]] = {}
        self.verdicts: dict[int, dict[str, Any]] = {}
        self._file: int | None = None
        if path is None:
            return
        self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            self._begin(Path(path), settings)
        except BaseException:
            os.close(self._file)
            raise

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            os.close(self._file)

    def answer(self, number: int, **record: Any) -> dict[str, Any]:
        """Keep what the chat model answered, or how it failed; return it as `answers` would."""
        self._write({"kind": "answer", "number": number, **record})
        return record

    def verdict(self, record: dict[str, Any]) -> None:
        """Keep how a proposal was judged."""
        self._write({"kind": "verdict", **record})

    def _write(self, record: dict[str, Any]) -> None:
        if self._file is not None:
            os.write(self._file, json.dumps(record).encode() + b"\n")

    def _begin(self, path: Path, settings: dict[str, Any]) -> None:
        assert self._file is not None  # noqa: S101 - opened just now
        _lock(self._file, path)
        text = path.read_bytes()
        records = [record for line in text.split(b"\n") if (record := _parse(line)) is not None]
        if not records and text.strip():
            raise ReadError(f"{path} is not a log of a search; give another file for `log`")
        if text and not text.endswith(b"\n"):  # killed while it was writing
            os.write(self._file, b"\n")
        if not records:
            self._write({"kind": "search", "settings": settings})
        elif (known := records[0].get("settings")) != json.loads(json.dumps(settings)):
            other = [key for key in settings if (known or {}).get(key) != settings[key]]
            raise InvalidInputError(
                f"{path} is the log of a search with other settings ({', '.join(other)}); take "
                "the same, or another file"
            )
        for record in records:
            if record["kind"] == "answer" and record.get("reply") is not None:
                self.answers[record["number"]] = record
            # Whoever gave no answer is asked again.
            if record["kind"] == "verdict" and record.get("status") != "no answer":
                self.verdicts[record["number"]] = record


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) and "kind" in record else None


def _lock(file: int, path: Path) -> None:
    try:
        import fcntl
    except ImportError:  # Windows, where no candidate can be run anyway
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise InvalidInputError(f"another search is writing {path}") from None
