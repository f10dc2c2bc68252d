"""The JSON files of the paper's records: written by our own agents, and their scores read."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from detailed_balance.analyzers import TransitionCounts
from detailed_balance.analyzers.errors import ReadError

__all__ = [
    "log_error_of_score",
    "read_log_errors",
    "score_of_log_error",
    "write_answers",
    "write_expressions",
]

_REFERENCE = float(np.log10(0.0602))
"""log10 of the mean squared error that the authors score 20."""


def log_error_of_score(score: float) -> float:
    """Return log10 of the mean squared error that has this score in the paper's records.

    Examples
    --------
    >>> round(log_error_of_score(20.0), 3), round(log_error_of_score(35.0), 3)
    (-1.22, -2.22)
    """
    return _REFERENCE - (score - 20) / 15


def score_of_log_error(log_error: float) -> float:
    """Return the score of an expression, the inverse of `log_error_of_score`.

    Examples
    --------
    >>> round(score_of_log_error(log_error_of_score(31.5)), 6)
    31.5
    """
    return 20 + 15 * (_REFERENCE - log_error)


def read_log_errors(path: Path) -> dict[str, float]:
    """Return log10 of the mean squared error of each expression of a file that has scores.

    The first score of an expression counts. A file of answers to words has none.

    Raises
    ------
    ReadError
        Where the file is not JSON.
    """
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8") as file:
            content = json.load(file)
    except (OSError, ValueError, RecursionError) as error:
        raise ReadError(f"{path} is not readable JSON: {str(error)[:120]}") from error
    found: dict[str, float] = {}
    for entry in content if isinstance(content, list) else ():
        sources = entry.get("source_expressions") if isinstance(entry, dict) else None
        for part in sources if isinstance(sources, list) else ():
            if isinstance(part, dict):
                _keep(found, part.get("expression"), part.get("score"))
        if isinstance(entry, dict):
            _keep(found, entry.get("target_expression"), entry.get("target_score"))
    return found


def _keep(found: dict[str, float], expression: Any, score: Any) -> None:
    number = isinstance(score, int | float) and not isinstance(score, bool)
    if isinstance(expression, str) and number and np.isfinite(score):
        found.setdefault(expression, log_error_of_score(float(score)))


def write_expressions(
    path: Path, counts: TransitionCounts, log_errors: Mapping[str, float]
) -> None:
    """Write each move as a list's ``{target_expression, target_score, source_expressions}``.

    Escapes are written with a target that is null. A name that ends in ``.gz`` is packed.
    """
    scores = {state: round(score_of_log_error(value), 4) for state, value in log_errors.items()}
    entries = []
    for source, target, often in _moves(counts):
        made = {"expression": source, "score": scores.get(source)}
        entry = {"target_expression": target, "target_score": scores.get(target or "")}
        entries += [{**entry, "source_expressions": [made]}] * often
    _write(path, entries)


def write_answers(path: Path, counts: TransitionCounts) -> None:
    """Write each move as ``{word: [answers]}``; escapes are left out, as the authors do."""
    answers: dict[str, list[str]] = {state: [] for state in counts.states}
    for source, target, often in _moves(counts):
        if target is not None and target != source:
            answers[source] += [target] * often
    _write(path, answers)


def _moves(counts: TransitionCounts) -> list[tuple[str, str | None, int]]:
    edges = counts.counts.tocoo()
    places = zip(edges.row.tolist(), edges.col.tolist(), edges.data.tolist(), strict=True)
    moves = [(counts.states[i], counts.states[j], n) for i, j, n in places]
    escapes = zip(counts.states, counts.escapes.tolist(), strict=True)
    return [*sorted(moves), *((state, None, n) for state, n in escapes if n)]


def _write(path: Path, content: Any) -> None:
    text = json.dumps(content, indent=0).encode()
    path.write_bytes(gzip.compress(text, mtime=0) if path.suffix == ".gz" else text)
