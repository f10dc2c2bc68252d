"""How many attempts it would take to see what the data so far cannot show."""

from __future__ import annotations

from math import ceil, cosh, log, log1p

from scipy.stats import norm

from detailed_balance.analyzers.errors import InvalidInputError

__all__ = ["POWER", "needed_attempts", "needed_one_way"]

POWER = 0.8
"""The chance of finding a violation, wherever this library says how much data is enough."""


def needed_attempts(
    affinity: float,
    *,
    length: int = 3,
    share: float = 1.0,
    tests: int = 1,
    alpha: float = 0.05,
    power: float = POWER,
) -> int:
    """Return the attempts from each state of a loop that would show that it is driven.

    With the push spread evenly, a pair taken m times takes the forward way with probability
    p = 1 / (1 + exp(-A / k)), so that A has the variance k / (m p (1 - p)), and
    m = k (z_alpha + z_power)^2 / (p (1 - p) A^2).

    Parameters
    ----------
    affinity : float
        A, the affinity to be seen, in nats.
    length : int
        k, the states of the loop; 1 stands for a single pair, held against a known potential.
    share : float
        The share of the attempts from each state that go to its two neighbours in the loop. With
        1, the result is how often each pair must be taken, both ways together.
    tests : int
        Loops tested at once; alpha is divided by it, which is what the strongest one must pass.
    alpha : float
        The level of the two-sided test.
    power : float
        The probability of finding it.

    Returns
    -------
    int
        Rounded up.

    Raises
    ------
    InvalidInputError
        Where an argument has a value that is not allowed.

    Examples
    --------
    >>> needed_attempts(1.0)  # 3 (1.960 + 0.842)^2 / (0.5826 * 0.4174)
    97
    >>> needed_attempts(1.0, share=0.5)
    194
    """
    if affinity == 0:
        raise InvalidInputError("affinity=0; no data shows that. Say what would matter, as 1.0")
    _check_number("length", length, 1)
    _check_number("tests", tests, 1)
    for name, value in (("alpha", alpha), ("power", power)):
        _check_share(name, value, value < 1)
    _check_share("share", share, share <= 1)
    level = float(norm.isf(alpha / 2 / tests) + norm.ppf(power))
    # 1 / (p (1 - p)) = 2 + 2 cosh(A / k)
    pairs = length * (level / affinity) ** 2 * (2 + 2 * cosh(affinity / length))
    return ceil(pairs / share)


def needed_one_way(back: float, *, tests: int = 1, alpha: float = 0.05) -> int:
    """Return the attempts after which a move that was never seen is significantly rare.

    The probability of n attempts without it is (1 - back)^n.

    Parameters
    ----------
    back : float
        The probability of the move in one attempt, if detailed balance held.
    tests : int
        Pairs looked at; alpha is divided by it.
    alpha : float
        The level.

    Raises
    ------
    InvalidInputError
        Where an argument has a value that is not allowed.

    Examples
    --------
    >>> needed_one_way(0.5), needed_one_way(0.01)  # 0.5^5 = 0.031, 0.99^299 = 0.0495
    (5, 299)
    """
    _check_share("back", back, back < 1)
    _check_share("alpha", alpha, alpha < 1)
    _check_number("tests", tests, 1)
    return ceil(log(alpha / tests) / log1p(-back))


def _check_number(name: str, value: int, least: int) -> None:
    if value < least:
        raise InvalidInputError(f"{name}={value!r}; it is {least} or more")


def _check_share(name: str, value: float, within: bool) -> None:
    if not (value > 0 and within):
        raise InvalidInputError(f"{name}={value!r}; it lies between 0 and 1")
