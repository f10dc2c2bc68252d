"""Answers as JSON: the words given to each word, and expressions made from others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from detailed_balance.analyzers.errors import ReadError
from detailed_balance.readers.records.base import BadLines, LineRecord, ReadOptions, Record
from detailed_balance.readers.records.columns import FieldNames
from detailed_balance.readers.records.opening import Opening
from detailed_balance.readers.records.rows import read_records
from detailed_balance.readers.tables.json_files import load_document

__all__ = ["looks_like", "read"]

_SOURCES = "source_expressions"


def looks_like(opening: Opening) -> bool:
    """Say whether a file begins as a list of expressions, or with the answers to a word."""
    if opening.layout == "list":
        return any(_SOURCES in entry for entry in opening.objects)
    return (
        opening.layout == "objects"
        and bool(opening.first)
        and all(map(_is_answers, opening.first.values()))
    )


def _is_answers(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(answer, str | None) for answer in value)


def read(path: Path, options: ReadOptions, bad: BadLines) -> Iterator[Record]:
    """Yield a move for each answer, plain or gzip; the file is held in memory whole.

    The two forms are those of Song et al., arXiv:2512.10047: ``{word: [answers]}``, and a list of
    ``{"target_expression": ..., "source_expressions": [{"expression": ...}]}``, each source a
    move to the target. An answer that is null reached no state.
    """
    document = load_document(path)
    fields = options.fields
    if isinstance(document, list):
        rows = _read_expressions(document, fields, bad)
    elif isinstance(document, dict):
        if {fields.source, fields.target} <= document.keys():
            raise ReadError(
                f"{bad.name} is a table, not a list of answers: write it as JSON Lines, CSV or "
                "Parquet"
            )
        rows = _read_answers(document, fields, bad)
    else:
        raise ReadError(f"{bad.name} holds no answers: a list or an object of lists is needed")
    yield from read_records(rows, options.of_moves(), bad)
    if options.progress:
        options.progress(path.stat().st_size, path.stat().st_size)


def _read_answers(
    document: dict[str, Any], fields: FieldNames, bad: BadLines
) -> Iterator[LineRecord]:
    for word, answers in document.items():
        place = f"the answers to {word!r}"
        if not isinstance(answers, list):
            bad.report(place, "a list of answers is needed; this is another value")
            continue
        for answer in answers:
            yield place, {fields.source: word, fields.target: answer}


def _read_expressions(
    entries: list[Any], fields: FieldNames, bad: BadLines
) -> Iterator[LineRecord]:
    for number, entry in enumerate(entries, 1):
        place = f"entry {number}"
        sources = entry.get(_SOURCES) if isinstance(entry, dict) else None
        if not isinstance(sources, list) or "target_expression" not in entry:
            bad.report(place, f"an object with target_expression and a list {_SOURCES} is needed")
            continue
        for source in sources:
            if isinstance(source, dict):
                move = {fields.source: source.get("expression")}
                yield place, {**move, fields.target: entry["target_expression"]}
            else:
                bad.report(place, "a source is an object with an expression; this is another value")
