"""`ThinnedSeries`: a time series of bounded length, for plots of something that runs for long."""

from __future__ import annotations

from typing import Any

__all__ = ["ThinnedSeries"]


class ThinnedSeries:
    """Points (time, value), of which every first, second, fourth ... is kept as they grow many.

    Parameters
    ----------
    limit : int
        The most points that are kept, at least 2. At the limit every other one is dropped, and from
        then on only half as many are taken.

    Examples
    --------
    >>> series = ThinnedSeries(limit=4)
    >>> for time in range(9):
    ...     series.add(time, float(time))
    >>> series.points
    [(0, 0.0), (4, 4.0), (8, 8.0)]
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.points: list[tuple[int, float]] = []
        self._stride = 1
        self._skipped = 0

    def add(self, time: int, value: float) -> None:
        """Take a point, or leave it out."""
        if self._skipped:
            self._skipped -= 1
            return
        if len(self.points) == self.limit:
            self.points = self.points[::2]
            self._stride *= 2
        self.points.append((time, value))
        self._skipped = self._stride - 1

    def to_dict(self) -> dict[str, Any]:
        """Return the state in types that JSON has."""
        points = [list(point) for point in self.points]
        return {"points": points, "stride": self._stride, "skipped": self._skipped}

    @classmethod
    def from_dict(cls, limit: int, state: dict[str, Any]) -> ThinnedSeries:
        """Restore what `to_dict` gave."""
        series = cls(limit)
        series.points = [(int(time), float(value)) for time, value in state["points"]]
        series._stride, series._skipped = int(state["stride"]), int(state["skipped"])
        return series
