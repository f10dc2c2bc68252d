"""P-values of several tests together."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["adjust_holm"]


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
