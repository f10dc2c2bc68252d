"""What is known at one moment: counts, their potential, and the states by their ids."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from detailed_balance.analyzers import Potential, TransitionCounts, estimate_potential
from detailed_balance.analyzers.counts import BOUNDARIES
from detailed_balance.analyzers.errors import (
    ConvergenceError,
    InsufficientDataError,
    UnknownStateError,
)
from detailed_balance.analyzers.potential.ordering import StateOrder, order_states
from detailed_balance.dashboard._ids import state_id

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """Counts and potential of one moment, or of one range of time.

    Parameters
    ----------
    counts : TransitionCounts
        START and END included.
    potential : Potential or None
        None where there is too little to estimate one.
    ids : dict of str to str
        The states by their ids.
    flows : (n,) array of int
        Moves into and out of each state of `counts`, those to itself left out.
    order : StateOrder or None
        Where each state of the potential stands.

    Examples
    --------
    >>> snapshot = take_snapshot(TransitionCounts.from_edges([("a", "b", 3), ("b", "a", 1)]))
    >>> snapshot.flows.tolist(), snapshot.state(state_id("b"))
    ([4, 4], 'b')
    """

    counts: TransitionCounts
    potential: Potential | None
    ids: dict[str, str]
    flows: NDArray[np.int64]
    order: StateOrder | None

    def state(self, number: str) -> str:
        """Return the state with this id; raises `UnknownStateError` where there is none."""
        try:
            return self.ids[number]
        except KeyError:
            raise UnknownStateError(
                "no state with this address was recorded here; other labels or another range of "
                "time may have it"
            ) from None

    def flow(self, state: str) -> int:
        """Return the moves into and out of a state."""
        return int(self.flows[self.counts.index(state)])


def take_snapshot(counts: TransitionCounts, potential: Potential | None = None) -> Snapshot:
    """Prepare counts to be shown; the potential is estimated where none is given."""
    if potential is None:
        potential = _estimate(counts)
    ids = {state_id(state): state for state in counts.states if state not in BOUNDARIES}
    order = None if potential is None else order_states(potential)
    return Snapshot(counts, potential, ids, _flows(counts.counts), order)


def _estimate(counts: TransitionCounts) -> Potential | None:
    try:
        return estimate_potential(counts)
    except ConvergenceError as error:
        return cast("Potential | None", error.estimate)
    except InsufficientDataError:
        return None


def _flows(matrix: Any) -> NDArray[np.int64]:
    both = np.asarray(matrix.sum(axis=0) + matrix.sum(axis=1)).ravel()
    return np.asarray(both - 2 * matrix.diagonal(), dtype=np.int64)
