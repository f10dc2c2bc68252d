"""The order of runs by their names, which does not depend on the order of a record."""

from __future__ import annotations

from functools import partial
from operator import is_not
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["rank_names"]


def rank_names(names: NDArray[Any]) -> NDArray[np.int64]:
    """(r,) array of int64: the place of each of r names among all, sorted; -1 for None.

    Examples
    --------
    >>> rank_names(np.array(["b", None, "a", "b"], dtype=object)).tolist()
    [1, -1, 0, 1]
    """
    values = names.tolist()
    different = sorted(filter(partial(is_not, None), dict.fromkeys(values)))
    ranks: dict[str | None, int] = dict(zip(different, range(len(different)), strict=True))
    ranks[None] = -1
    return np.fromiter(map(ranks.__getitem__, values), dtype=np.int64, count=len(values))
