"""`WatchedRates`: several rates, and one probability of a false alarm for all of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.analyzers.results import safe_name
from detailed_balance.analyzers.sequential.rates import Block, RateMartingale

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = ["WatchedRates"]

_SETTINGS = ("alpha", "warm_up", "max_streams")
_COUNTS = ("expected", "dropped")
_VERSION = 1


class WatchedRates:
    """Watch several rates at once: of failures, of runs at the limit, by graph and label.

    Each is a *stream* with a name, which begins when its name is first seen, and is watched by a
    `RateMartingale` of its own.

    The promise
        If the null hypotheses of all streams are true, there is ever an alarm of any of them with
        probability at most alpha. If some are false, the true ones have a false alarm with
        probability at most alpha (the family-wise error rate). Streams may depend on each other,
        as failures and limits of the same runs do.

    Parameters
    ----------
    limits : mapping of str to float, optional
        The rate that is allowed in a stream, as `limit` of `RateMartingale`.
    baselines : mapping of str to (n,) array of float, optional
        Values of earlier units of a stream, as `baseline` of `RateMartingale`.
    warm_up : int
        In other streams the first so many units are the baseline.
    alpha : float
        Probability of a false alarm of any stream, over all time.
    max_streams : int
        Values of streams beyond these are left out, and counted in `dropped`.

    Raises
    ------
    InvalidInputError
        Where an argument is not allowed, or a stream has a limit and a baseline.

    Notes
    -----
    With K streams in `limits` and `baselines`, each of them has alpha / (K + 1), whether it is ever
    seen or not; the others have alpha / (k (k + 1)) for k = K + 1, K + 2, ... in the order in which
    they are first seen. These add up to alpha. A stream that is likely to go wrong should be named
    beforehand, or come early.

    Examples
    --------
    >>> rates = WatchedRates(limits={"failed": 0.1, "limit": 0.02})
    >>> for failed in [0] * 50 + [1, 0, 1, 1] * 5:
    ...     rates.update("failed", failed)
    ...     rates.update("limit", 0)
    >>> rates.alarms
    {'failed': 61}
    """

    def __init__(
        self,
        *,
        limits: Mapping[str, float] | None = None,
        baselines: Mapping[str, ArrayLike] | None = None,
        warm_up: int = 100,
        alpha: float = 0.05,
        max_streams: int = 1_000,
    ) -> None:
        limits, baselines = dict(limits or {}), dict(baselines or {})
        if both := sorted(set(limits) & set(baselines)):
            raise InvalidInputError(
                f"{both[0]!r} has a limit and a baseline; leave out one, or watch it by two names"
            )
        self.expected = len(limits) + len(baselines)
        if max_streams < max(self.expected, 1):
            raise InvalidInputError(
                f"max_streams={max_streams!r}; it is at least 1, and at least the number of "
                f"streams in limits and baselines, {self.expected}"
            )
        RateMartingale(warm_up=warm_up, alpha=alpha)  # refuses what is not allowed
        self.alpha, self.warm_up, self.max_streams = alpha, warm_up, max_streams
        self.dropped = 0
        own = alpha / (self.expected + 1)
        self._streams = {
            **{name: RateMartingale(limit, alpha=own) for name, limit in limits.items()},
            **{name: RateMartingale(baseline=b, alpha=own) for name, b in baselines.items()},
        }

    def update(self, name: str, value: float, block: Block = None) -> None:
        """Add the value of the next run to a stream; see `RateMartingale.update`."""
        stream = self._streams.get(name)
        if stream is None:
            if len(self._streams) >= self.max_streams:
                self.dropped += 1
                return
            k = len(self._streams) + 1
            stream = RateMartingale(warm_up=self.warm_up, alpha=self.alpha / (k * (k + 1)))
            self._streams[name] = stream
        stream.update(value, block)

    def flush(self) -> None:
        """Bet on the blocks that are open; see `RateMartingale.flush`."""
        for stream in self._streams.values():
            stream.flush()

    @property
    def streams(self) -> dict[str, RateMartingale]:
        """The streams by name: those named beforehand, then the others as they were first seen."""
        return dict(self._streams)

    @property
    def alarms(self) -> dict[str, int]:
        """The streams with an alarm, and after how many of their units it came."""
        found = ((name, stream.alarmed_at) for name, stream in self._streams.items())
        return {name: at for name, at in found if at is not None}

    @property
    def intervals(self) -> dict[str, tuple[float, float]]:
        """Where each rate lies: all at once, and at all looks, with confidence 1 - alpha."""
        return {name: stream.interval for name, stream in self._streams.items()}

    def describe(self) -> str:
        """Say which rates have gone up."""
        found = [
            f"{safe_name(name)}: {stream.describe()}"
            for name, stream in self._streams.items()
            if stream.alarm
        ]
        return "; ".join(found) or f"no evidence of a higher rate in {len(self._streams):,} streams"

    def to_dict(self) -> dict[str, Any]:
        """Return the whole state in types that JSON has."""
        return {
            "version": _VERSION,
            **{name: getattr(self, name) for name in (*_SETTINGS, *_COUNTS)},
            "streams": [[name, stream.to_dict()] for name, stream in self._streams.items()],
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> WatchedRates:
        """Go on from what `to_dict` returned; the numbers to come are the same.

        Raises
        ------
        InvalidInputError
            Where it is something else.
        """
        rates = cls.__new__(cls)
        try:
            if state["version"] != _VERSION:
                raise ValueError(f"version {state['version']!r}; this release reads {_VERSION}")
            for name in (*_SETTINGS, *_COUNTS):
                setattr(rates, name, state[name])
            rates._streams = {
                name: RateMartingale.from_dict(stream) for name, stream in state["streams"]
            }
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidInputError(f"this is not a state of WatchedRates: {error!r}") from None
        return rates
