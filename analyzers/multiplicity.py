"""P-values: their level, and those of several tests together."""

from __future__ import annotations

from collections.abc import Mapping

from detailed_balance.analyzers.errors import InvalidInputError

__all__ = ["adjust_holm", "check_level", "check_replicates", "enough_replicates"]

FEWEST_REPLICATES = 19
"""The fewest that can reach p = 0.05."""

_MOST_REPLICATES = 9_999
_BELOW = 50
"""So many times smaller than the level the smallest p-value can be."""


def check_level(alpha: float) -> None:
    """Refuse a level that is not between 0 and 1.

    Raises
    ------
    InvalidInputError
        Where it is not.

    Examples
    --------
    >>> check_level(0.05)
    """
    if not 0 < alpha < 1:
        raise InvalidInputError(f"alpha={alpha!r}; a level lies between 0 and 1")


def enough_replicates(alpha: float) -> int:
    """Return how many replicates a test at a level takes: 999 at 0.05, more at lower levels.

    The smallest p-value is then a fiftieth of the level, so that it can be adjusted for other
    tests, down to p = 0.0001.

    Examples
    --------
    >>> enough_replicates(0.05), enough_replicates(0.01), enough_replicates(1e-9)
    (999, 4999, 9999)
    """
    return max(999, min(_MOST_REPLICATES, round(_BELOW / alpha) - 1))


def check_replicates(replicates: int) -> None:
    """Refuse fewer than 19 replicates of a resampled test, which never reach p = 0.05.

    Raises
    ------
    InvalidInputError
        Where there are fewer.

    Examples
    --------
    >>> check_replicates(999)
    """
    if replicates < FEWEST_REPLICATES:
        raise InvalidInputError(
            f"replicates={replicates!r}; {FEWEST_REPLICATES} are the fewest that can reach p = 0.05"
        )


def adjust_holm(pvalues: Mapping[str, float]) -> dict[str, float]:
    """Return p-values adjusted for their number, whatever the dependence of the tests.

    The smallest is multiplied by their number m, the next by m - 1 and so on, none below the one
    before it.

    Parameters
    ----------
    pvalues : mapping of str to float
        The p-value of each test, by its name.

    References
    ----------
    S. Holm, Scandinavian Journal of Statistics 6 (1979) 65.

    Examples
    --------
    >>> adjust_holm({"a": 0.04, "b": 0.01, "c": 0.03})
    {'a': 0.06, 'b': 0.03, 'c': 0.06}
    """
    adjusted, most = {}, 0.0
    for i, (p, name) in enumerate(sorted((p, name) for name, p in pvalues.items())):
        most = max(most, min(1.0, (len(pvalues) - i) * p))
        adjusted[name] = most
    return dict(sorted(adjusted.items()))
