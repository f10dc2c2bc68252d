"""What an agent wrote, as evidence of failure: hashed n-grams, or embeddings."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Protocol, TypeAlias
from zlib import crc32

import numpy as np

from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.analyzers.guard._grams import UNIT, Grams, in_units, log_ratio

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from detailed_balance.analyzers.runs.table import RunTable

Texts: TypeAlias = Mapping[str, Sequence[str | None]]
"""What the agent wrote in each move of a run, by the run's key: None or "" where it wrote nothing.
Moves beyond the last text have none."""

LONGEST = 4_000
"""Characters of one text that are read."""

BUCKETS = 4_096
"""Into how many numbers n-grams are hashed."""

_WORD = re.compile(r"[^\W\d_]+|\d+")


class Embedder(Protocol):
    """Any ``Embeddings`` of LangChain."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]: ...


def align_texts(table: RunTable, texts: Texts) -> list[str]:
    """(m,) list: what was written in each of the m moves of runs; "" where nothing was.

    Raises
    ------
    InvalidInputError
        Where no run is among the texts, two runs have the same key, or a run has more texts than
        moves.
    """
    found = [""] * table.total
    seen: set[str] = set()
    for i, names in enumerate(zip(table.runs.run.tolist(), table.runs.name.tolist(), strict=True)):
        key = next((name for name in names if name is not None and name in texts), None)
        if key is None:
            continue
        if key in seen:
            raise InvalidInputError(
                f"two runs are called {key[:80]!r}, so it is not clear whose texts these are: give "
                f"each run a key of its own"
            )
        seen.add(key)
        written, begin = texts[key], int(table.offsets[i])
        if isinstance(written, str) or len(written) > table.lengths[i]:
            what = "one text" if isinstance(written, str) else f"{len(written)} texts"
            raise InvalidInputError(
                f"run {key[:80]!r} has {table.lengths[i]} moves and {what}: give a sequence with "
                f"one text, or None, for each move"
            )
        found[begin : begin + len(written)] = [(text or "")[:LONGEST] for text in written]
    if not seen and len(table):
        known = ", ".join(repr(str(name)[:40]) for name in list(texts)[:3]) or "none"
        raise InvalidInputError(
            f"none of the {len(table)} runs is among the texts; these are of runs {known}: give "
            f"texts by the names of the runs, as read_texts(path) does"
        )
    return found


@dataclass(frozen=True, slots=True)
class TextEvidence:
    """The log ratio of what failed runs write over what successful ones do, per text.

    Parameters
    ----------
    weights : tuple of int
        The log ratio of each bucket of n-grams, or the weight of each coordinate of an embedding,
        in units of 2**-30.
    intercept : int
        What is added per text, in units.
    embeddings : Embedder or None
        What embeds texts; None for hashed n-grams.
    """

    weights: tuple[int, ...]
    intercept: int = 0
    embeddings: Embedder | None = None

    def of_text(self, text: str | None) -> int:
        """Return the log ratio of one text, in units; 0 of an empty one."""
        if not text:
            return 0
        if self.embeddings is not None:
            return int(self._of_vectors(embed(self.embeddings, [text[:LONGEST]]))[0])
        return sum(self.weights[bucket] for bucket in hash_grams(text))

    def of_texts(self, read: ReadTexts) -> NDArray[np.int64]:
        """(m,) array of int64: the log ratio of the texts of moves, in units."""
        found = np.zeros(read.moves, dtype=np.int64)
        if read.grams is not None:
            np.add.at(found, read.grams.move, np.array(self.weights)[read.grams.gram])
        elif len(read.written):
            found[read.written] = self._of_vectors(read.vectors)
        return found

    def _of_vectors(self, vectors: NDArray[np.float64]) -> NDArray[np.int64]:
        if vectors.shape[1] != len(self.weights):
            raise InvalidInputError(
                f"the embeddings have {vectors.shape[1]} coordinates, and the score was fitted "
                f"with {len(self.weights)}: give the same embeddings as then"
            )
        # Rounded product by product, so that one text and many give the same.
        units: NDArray[np.int64] = in_units(vectors * (np.array(self.weights) * UNIT))
        return np.asarray(units.sum(axis=1) + self.intercept)


@dataclass(frozen=True, slots=True, eq=False)
class ReadTexts:
    """Texts of the m moves of runs, read once: their n-grams, or their embeddings.

    Parameters
    ----------
    moves : int
        m.
    written : (k,) array of int64
        The moves with a text.
    grams : Grams or None
        The n-grams, as often as they come.
    vectors : (k, d) array
        The embeddings.
    """

    moves: int
    written: NDArray[np.int64]
    grams: Grams | None
    vectors: NDArray[np.float64]
    embeddings: Embedder | None

    @classmethod
    def of(cls, texts: Sequence[str], embeddings: Embedder | None) -> ReadTexts:
        """Read the texts of moves; "" is none."""
        written = [i for i, text in enumerate(texts) if text]
        places = np.array(written, dtype=np.int64)
        if embeddings is not None:
            vectors = embed(embeddings, [texts[i] for i in written])
            return cls(len(texts), places, None, vectors, embeddings)
        hashed = [hash_grams(texts[i]) for i in written]
        move = np.repeat(places, [len(each) for each in hashed])
        gram = np.array([bucket for each in hashed for bucket in each], dtype=np.int64)
        none = np.zeros((0, 0))
        return cls(len(texts), places, Grams(move, gram, BUCKETS), none, None)

    def fit(
        self, table: RunTable, bad: NDArray[np.bool_], good: NDArray[np.bool_], prior: float
    ) -> TextEvidence:
        """Learn from bad and successful runs, (r,) masks; others are left out."""
        if self.grams is not None:
            ratio, _ = log_ratio(self.grams.held(table), bad, good, prior)
            return TextEvidence(tuple(ratio.tolist()))
        run = table.run_of_move[self.written]
        sides = [self.vectors[runs[run]] for runs in (bad, good)]
        width = self.vectors.shape[1] if self.vectors.ndim == 2 else 0
        if not all(len(side) for side in sides):
            return TextEvidence((0,) * width, 0, self.embeddings)
        # Two normal distributions with the same independent variances, shrunk to their mean.
        centres = [side.mean(axis=0) for side in sides]
        spread = np.concatenate([s - c for s, c in zip(sides, centres, strict=True)]).var(axis=0)
        weights = (centres[0] - centres[1]) / (spread + spread.mean() + 1e-12)
        middle = -float(weights @ (centres[0] + centres[1])) / 2
        return TextEvidence(
            tuple(in_units(weights).tolist()), int(in_units(middle)), self.embeddings
        )


def embed(embeddings: Embedder, texts: list[str]) -> NDArray[np.float64]:
    """(n, d) array: the embeddings of texts, each different one asked for once."""
    different = list(dict.fromkeys(texts))
    if not different:
        return np.zeros((0, 0))
    vectors = np.asarray(embeddings.embed_documents(different), dtype=np.float64)
    if vectors.ndim != 2 or len(vectors) != len(different) or not np.isfinite(vectors).all():
        raise InvalidInputError(
            f"embed_documents gave an array of shape {vectors.shape} for {len(different)} texts; "
            f"it should give one finite vector for each"
        )
    place = {text: i for i, text in enumerate(different)}
    return vectors[[place[text] for text in texts]]


def hash_grams(text: str) -> list[int]:
    """Return the buckets of the words of a text and of its pairs of words; a number is ``#``.

    Examples
    --------
    >>> hash_grams("Room 12") == hash_grams("room 7"), len(hash_grams("one two three"))
    (True, 5)
    """
    words = ["#" if word[0].isdigit() else word for word in _WORD.findall(text[:LONGEST].lower())]
    pairs = [f"{one} {other}" for one, other in pairwise(words)]
    return [crc32(gram.encode("utf-8", "replace")) % BUCKETS for gram in (*words, *pairs)]
