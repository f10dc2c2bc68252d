"""`ThinnedSeries`: a time series of bounded length, for plots of something that runs for long."""

from __future__ import annotations

from collections.abc import Mapping
from operator import pos
from typing import Any, Generic, TypeVar, cast

__all__ = ["ThinnedSeries"]

Point = TypeVar("Point", bound=tuple[float, ...])


class ThinnedSeries(Generic[Point]):
    """Points, of which every first, second, fourth ... is kept as they grow many.

    Parameters
    ----------
    limit : int
        The most points that are kept, at least 2. At the limit every other one is dropped, and from
        then on only half as many are kept.

    Examples
    --------
    >>> series = ThinnedSeries(limit=4)
    >>> for time in range(9):
    ...     series.append((time, float(time)))
    >>> series.points
    [(0, 0.0), (4, 4.0), (8, 8.0)]
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.points: list[Point] = []
        self._stride = 1
        self._skipped = 0

    def append(self, point: Point) -> None:
        """Keep a point, or leave it out."""
        if self._skipped:
            self._skipped -= 1
            return
        if len(self.points) == self.limit:
            self.points = self.points[::2]
            self._stride *= 2
        self.points.append(point)
        self._skipped = self._stride - 1

    def to_dict(self) -> dict[str, Any]:
        """Return the state in types that JSON has."""
        points = [list(point) for point in self.points]
        return {"points": points, "stride": self._stride, "skipped": self._skipped}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `to_dict` gave."""
        # The plus sign leaves numbers as they are, and refuses what is none.
        self.points = [cast("Point", tuple(map(pos, point))) for point in state["points"]]
        self._stride, self._skipped = int(state["stride"]), int(state["skipped"])
