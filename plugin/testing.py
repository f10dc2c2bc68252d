"""For tests of agents: `assert_same_landscape` holds new runs against recorded ones.

Nothing here needs pytest; its failures are plain assertion errors, which any runner shows.
"""

from __future__ import annotations

from typing import Any

__all__ = ["assert_same_landscape"]


def assert_same_landscape(
    baseline: object, agent_runs: object, *, alpha: float = 0.05, **options: Any
) -> None:
    """Fail where new runs of an agent are seen to differ from the baseline.

    Parameters
    ----------
    baseline, agent_runs : object
        As `a` and `b` of `compare`: a store, a file, a handler, a list of `Trajectory`. A handler
        should have a store, such as ``"sqlite://"``, since its graph alone does not know its runs.
    alpha : float
        The probability that this fails where nothing changed, at most. In a suite that runs every
        day, 0.001 fails by chance once in about three years.
    **options
        As for `compare`.

    Raises
    ------
    AssertionError
        Where something changed; it says what, and by how much.
    InsufficientDataError
        Where there is too little to be compared.

    Notes
    -----
    That nothing was seen is not proof that nothing changed: with 50 runs on each side, differences
    as large as those between two models are found more often than not.

    Examples
    --------
    >>> from detailed_balance.analyzers import Trajectory
    >>> old = [Trajectory((("plan", "search"), ("search", "answer")))] * 25
    >>> new = [Trajectory((("plan", "search"), ("search", "plan")) * 3)] * 25
    >>> assert_same_landscape(old, old)
    >>> try:
    ...     assert_same_landscape(old, new)
    ... except AssertionError as error:
    ...     print(str(error).splitlines()[0])
    WORSE    steps 2.0 -> 6.0
    """
    from detailed_balance.comparison import compare  # loads scipy

    comparison = compare(baseline, agent_runs, alpha=alpha, **options)
    if comparison.changed:
        raise AssertionError(str(comparison))
