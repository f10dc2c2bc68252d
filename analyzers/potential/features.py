"""Features of states: the numbers that an explicit potential is made of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from detailed_balance.analyzers.errors import InvalidInputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["FeatureFunction", "FeatureTable", "expression_features", "make_features", "ngrams"]

FeatureFunction: TypeAlias = Callable[[str], Mapping[str, float]]
"""From a state to its features by name; a name that is missing is 0."""

_OPERATORS = "+-*/^%"


@dataclass(frozen=True, slots=True, eq=False)
class FeatureTable:
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
