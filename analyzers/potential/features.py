"""Features of states: the numbers that an explicit potential is made of."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np

from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.analyzers.results import Table, TableResult

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "FeatureFunction",
    "FeatureTable",
    "embedding_features",
    "expression_features",
    "frequency_features",
    "make_features",
    "ngrams",
    "text_features",
]

FeatureFunction: TypeAlias = Callable[[str], Mapping[str, float]]
"""From a state to its features by name; a name that is missing is 0."""

Vectors: TypeAlias = "Callable[[list[str]], Sequence[Sequence[float]]]"
"""From texts to a vector each, all of one length."""

_VOWELS = frozenset("aeiou")

_OPERATORS = "+-*/^%"


@dataclass(frozen=True, slots=True, eq=False)
class FeatureTable(TableResult):
    """The features of states.

    Parameters
    ----------
    states : tuple of str, length n
        The states.
    names : tuple of str, length p
        The features, sorted.
    values : (n, p) array of float
        ``values[i, j]`` is feature names[j] of states[i].
    """

    states: tuple[str, ...]
    names: tuple[str, ...]
    values: NDArray[np.float64]

    def to_table(self) -> Table:
        """Return the columns state and each feature."""
        columns = zip(self.names, self.values.T.tolist(), strict=True)
        return {"state": list(self.states), **dict(columns)}


def make_features(
    states: Sequence[str],
    features: FeatureFunction | Iterable[FeatureFunction],
    *,
    names: Sequence[str] | None = None,
    min_states: int = 1,
) -> FeatureTable:
    """Compute the features of states.

    Parameters
    ----------
    states : sequence of str, length n
        The states.
    features : callable or several
        Each from a state to a mapping of name to number; of two with the same name the last counts.
        One that has a method ``for_states``, from states to a mapping each, is asked once.
    names : sequence of str, optional
        The features to keep; by default those that `min_states` states or more have.
    min_states : int
        See `names`.

    Raises
    ------
    InvalidInputError
        Where a feature function raises, or gives no finite number; the message names the state.

    Examples
    --------
    >>> table = make_features(["ab", "b"], lambda state: {"length": len(state)})
    >>> table.names, table.values.tolist()
    (('length',), [[2.0], [1.0]])
    """
    functions = [features] if callable(features) else list(features)
    columns = [_evaluate(function, states) for function in functions]
    rows = [_merge(state, parts) for state, *parts in zip(states, *columns, strict=True)]
    if names is None:
        seen = Counter(name for row in rows for name, value in row.items() if value)
        names = sorted(name for name, count in seen.items() if count >= min_states)
    values = np.array([[row.get(name, 0.0) for name in names] for row in rows], dtype=np.float64)
    return FeatureTable(tuple(states), tuple(names), values.reshape(len(rows), len(names)))


def _evaluate(function: FeatureFunction, states: Sequence[str]) -> Sequence[Mapping[str, float]]:
    """Return the features of each state; a function that takes many at once is asked once."""
    together = getattr(function, "for_states", None)
    if together is None:
        return [_evaluate_one(function, state) for state in states]
    found: Sequence[Mapping[str, float]] = together(states)
    return found


def _evaluate_one(function: FeatureFunction, state: str) -> dict[str, float]:
    try:
        return {str(name): float(value) for name, value in function(state).items()}
    except Exception as error:
        raise InvalidInputError(
            f"the features of state {state[:80]!r} cannot be computed "
            f"({type(error).__name__}: {error}); a feature function maps a str to numbers "
            "by name"
        ) from error


def _merge(state: str, parts: Iterable[Mapping[str, float]]) -> dict[str, float]:
    row = {name: value for part in parts for name, value in part.items()}
    if bad := [name for name, value in row.items() if not np.isfinite(value)]:
        raise InvalidInputError(f"feature {bad[0]!r} of state {state[:80]!r} is {row[bad[0]]!r}")
    return row


def ngrams(longest: int = 2, *, lower: bool = True) -> FeatureFunction:
    """Return the feature function of a text: its length, and how often it has each n-gram.

    Parameters
    ----------
    longest : int
        The n of the longest n-grams of characters; ``^`` and ``$`` stand for the ends.
    lower : bool
        Whether upper and lower case are the same.

    Examples
    --------
    >>> ngrams(1)("Aha")
    {'length': 3, 'a': 2, 'h': 1}
    >>> sorted(ngrams(2)("ha"))
    ['^h', 'a', 'a$', 'h', 'ha', 'length']
    """

    def features(state: str) -> dict[str, float]:
        text = state.lower() if lower else state
        found: Counter[str] = Counter(text)
        for n in range(2, longest + 1):
            padded = f"^{text}$"
            found.update(padded[i : i + n] for i in range(len(padded) - n + 1))
        return {"length": len(text), **found}

    return features


def expression_features(state: str) -> dict[str, Any]:
    """Return the features of a formula as text: its length, depth, numbers, names and operators.

    Nothing is parsed, and nothing evaluated: a state may be anything.

    Examples
    --------
    >>> found = expression_features("2.5 * sin(x + 1)")
    >>> found["depth"], found["numbers"], found["names"], found["operator *"]
    (1, 2, 2, 1)
    """
    depth = deepest = 0
    for character in state:
        depth += (character == "(") - (character == ")")
        deepest = max(deepest, depth)
    words = "".join(c if c.isalnum() or c in "._" else " " for c in state).split()
    numbers = sum(word[0].isdigit() or word[0] == "." for word in words)
    operators = {f"operator {sign}": state.count(sign) for sign in _OPERATORS if sign in state}
    return {
        "length": len(state),
        "depth": deepest,
        "numbers": numbers,
        "names": len(words) - numbers,
        "operators": sum(operators.values()),
        **operators,
    }


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
