"""A guard in a file of JSON, with a check sum, and its scores."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from hashlib import sha256
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.analyzers.guard._texts import Embedder
from detailed_balance.analyzers.guard.conformal import JackknifeScore
from detailed_balance.analyzers.guard.rules import RepetitionLimits
from detailed_balance.analyzers.guard.scores import OutcomeScore, RunScore, StepCount

_FORMAT = "detailed-balance run guard"
_SCORES: dict[str, Any] = {
    "outcome": OutcomeScore,
    "rules": RepetitionLimits,
    "steps": StepCount,
}


def write_score(score: RunScore) -> dict[str, Any]:
    """Return a score as JSON can hold it.

    Raises
    ------
    InvalidInputError
        Where it is one of yours and has no ``to_dict``.
    """
    if isinstance(score, JackknifeScore):
        each = [write_score(one) for one in score.scores]
        return {"kind": "jackknife", "scores": each, "limits": list(score.limits)}
    write = getattr(score, "to_dict", None)
    if write is None:
        raise InvalidInputError(f"the score has no to_dict(), so it stays here: {score!r}")
    kinds = [kind for kind, home in _SCORES.items() if type(score) is home]
    return {"kind": kinds[0] if kinds else "custom", **write()}


def read_score(data: Mapping[str, Any], embeddings: Embedder | None) -> RunScore:
    """Return the score that `write_score` has written."""
    fields = dict(data)
    kind = fields.pop("kind", None)
    if kind == "jackknife":
        check_keys(fields, ("scores", "limits"))
        scores = tuple(read_score(each, embeddings) for each in fields["scores"])
        return JackknifeScore(scores, tuple(map(float, fields["limits"])))
    if kind not in _SCORES:
        raise InvalidInputError(
            f"the score is of the kind {kind!r}, not one of jackknife, {', '.join(_SCORES)}: "
            f"restore it yourself, and give it as score="
        )
    if kind == "outcome":
        return OutcomeScore.from_dict(fields, embeddings)
    score: RunScore = _SCORES[kind].from_dict(fields)
    return score


def save_guard(data: dict[str, Any], path: Path) -> None:
    """Write what `RunGuard.to_dict` gives, as a whole or not at all."""
    document = {"format": _FORMAT, "sha256": _sum(data), "guard": data}
    with NamedTemporaryFile(
        "w", encoding="utf-8", dir=path.parent, prefix=path.name, delete=False
    ) as file:
        try:
            json.dump(document, file)
            file.flush()
            os.fsync(file.fileno())
            file.close()
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise


def load_guard(path: Path) -> dict[str, Any]:
    """Return what `save_guard` wrote.

    Raises
    ------
    InvalidInputError
        Where the file is not a saved guard, or was cut or changed.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # bytes that are no UTF-8 too
        raise InvalidInputError(
            f"this is not a saved guard, or a part of it was lost ({str(error)[:200]}); save it "
            f"again"
        ) from error
    if not isinstance(document, dict) or document.get("format") != _FORMAT:
        raise InvalidInputError(
            "this is not a saved guard: RunGuard.save(path) and detailed-balance guard --save "
            "write them"
        )
    check_keys(document, {"format", "sha256", "guard"})
    data = document.get("guard")
    if not isinstance(data, dict) or document.get("sha256") != _sum(data):
        raise InvalidInputError(
            "the saved guard was changed or damaged: its check sum is not that of its contents; "
            "save it again"
        )
    return data


def check_keys(data: Mapping[str, Any], known: Collection[str]) -> None:
    """Raise `InvalidInputError` where a saved guard holds a key that is not known."""
    if unknown := sorted(data.keys() - set(known)):
        raise InvalidInputError(
            f"a saved guard has no {unknown[0]!r}; it holds {', '.join(sorted(known))}. Fit it "
            "again, or read it with the release that wrote it"
        )


def _sum(data: dict[str, Any]) -> str:
    text = json.dumps(data, sort_keys=True)
    return sha256(text.encode()).hexdigest()
