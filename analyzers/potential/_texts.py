"""Features of states that are words, texts, or anything that an embedding model reads."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import numpy as np

from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.analyzers.potential.features import FeatureFunction

__all__ = [
    "EmbeddingFeatures",
    "Vectors",
    "embedding_features",
    "frequency_features",
    "text_features",
]

Vectors: TypeAlias = "Callable[[list[str]], Sequence[Sequence[float]]]"
"""From texts to a vector each, all of one length."""

_VOWELS = frozenset("aeiou")


def text_features(state: str) -> dict[str, float]:
    """Return what can be counted in a text: characters by kind, words, and the sum of its letters.

    ``letter sum`` has A = 1 to Z = 26, as the word task of the paper has it.

    Examples
    --------
    >>> found = text_features("Attitude")
    >>> found["letter sum"], found["vowels"], found["words"], found["distinct characters"]
    (100, 4, 1, 6)
    """
    lower, words = state.lower(), state.split()
    letters = [c for c in lower if "a" <= c <= "z"]
    return {
        "length": len(state),
        "letters": sum(c.isalpha() for c in state),
        "vowels": sum(c in _VOWELS for c in letters),
        "capitals": sum(c.isupper() for c in state),
        "digits": sum(c.isdigit() for c in state),
        "other characters": sum(not (c.isalnum() or c.isspace()) for c in state),
        "distinct characters": len(set(lower)),
        "words": len(words),
        "word length": sum(map(len, words)) / len(words) if words else 0.0,
        "letter sum": sum(ord(c) - ord("a") + 1 for c in letters),
    }


def frequency_features(frequencies: Mapping[str, float]) -> FeatureFunction:
    """Return the feature function of how common the words of a text are.

    Parameters
    ----------
    frequencies : mapping of str to float
        How often each word occurs, as counts or as shares, in lower case. They should come from
        elsewhere: the frequencies of the states in the walk that is fitted are nearly its
        stationary distribution, and say little else.

    Returns
    -------
    callable
        ``log frequency``, the mean of the natural logarithms, that of the rarest word known for
        one that is unknown; and ``unknown words``, how many those are.

    Raises
    ------
    InvalidInputError
        Where no frequency is above 0.

    Examples
    --------
    >>> features = frequency_features({"the": 100, "cat": 1})
    >>> features("the cat"), features("the axolotl")["unknown words"]
    ({'log frequency': 2.302585092994046, 'unknown words': 0}, 1)
    """
    logs = {word.lower(): math.log(x) for word, x in frequencies.items() if x > 0}
    if not logs:
        raise InvalidInputError(f"none of {len(frequencies)} frequencies is above 0")
    rarest = min(logs.values())

    def features(state: str) -> dict[str, float]:
        words = state.lower().split()
        mean = sum(logs.get(word, rarest) for word in words) / max(len(words), 1)
        return {"log frequency": mean, "unknown words": sum(word not in logs for word in words)}

    return features


@dataclass(frozen=True, slots=True)
class EmbeddingFeatures:
    """The coordinates of a state's embedding, as features; see `embedding_features`.

    Parameters
    ----------
    vectors : callable
        From texts to vectors.
    prefix : str
        Before the number of each coordinate.
    batch : int
        Texts in one call.
    """

    vectors: Vectors
    prefix: str
    batch: int

    def __call__(self, state: str) -> Mapping[str, float]:
        """Return the features of one state."""
        return self.for_states([state])[0]

    def for_states(self, states: Sequence[str]) -> Sequence[Mapping[str, float]]:
        """Return the features of each state; the model is asked for `batch` of them at a time.

        Raises
        ------
        InvalidInputError
            Where the model does not give one vector of one length for each text.
        """
        rows: list[dict[str, float]] = []
        for first in range(0, len(states), self.batch):
            texts = list(states[first : first + self.batch])
            rows.extend(map(self._named, self._vectors(texts)))
        return rows

    def _named(self, vector: Sequence[float]) -> dict[str, float]:
        return {f"{self.prefix} {i}": float(x) for i, x in enumerate(vector)}

    def _vectors(self, texts: list[str]) -> np.ndarray[Any, Any]:
        found = self.vectors(texts)
        try:
            table = np.asarray(found, dtype=np.float64)
        except ValueError as error:
            raise InvalidInputError(
                f"the embedding model gave no table of numbers: {error}"
            ) from None
        if table.ndim != 2 or len(table) != len(texts):
            raise InvalidInputError(
                f"the embedding model gave an array of shape {table.shape} for {len(texts)} texts; "
                "it must give one vector for each"
            )
        return table


def embedding_features(
    embeddings: Any, *, prefix: str = "embedding", batch: int = 256
) -> EmbeddingFeatures:
    """Return the feature function of what a text means, the coordinates of its embedding.

    Parameters
    ----------
    embeddings : Embeddings or callable
        An embedding model of LangChain (its ``embed_documents`` is called), or a function from a
        list of texts to a vector each.
    prefix : str
        The features are called ``prefix 0``, ``prefix 1``...
    batch : int
        How many texts the model is given at a time.

    Raises
    ------
    InvalidInputError
        Where `embeddings` is neither, or `batch` is below 1.

    Examples
    --------
    >>> features = embedding_features(lambda texts: [[len(text), 1.0] for text in texts])
    >>> features("abc")
    {'embedding 0': 3.0, 'embedding 1': 1.0}
    """
    vectors = getattr(embeddings, "embed_documents", embeddings)
    if not callable(vectors):
        raise InvalidInputError(
            f"embeddings={embeddings!r}; allowed is a model with embed_documents(texts), as "
            "LangChain's have, or a function from texts to vectors"
        )
    if batch < 1:
        raise InvalidInputError(f"batch={batch!r}; a batch has at least one text")
    return EmbeddingFeatures(cast("Vectors", vectors), prefix, batch)
