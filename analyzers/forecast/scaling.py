"""`SuccessScaling`: from the risk of a run, its state and its moves to a probability of success."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from detailed_balance.analyzers.counts import END
from detailed_balance.analyzers.forecast.calibration import PlattScaling, ProgressScaling
from detailed_balance.analyzers.results import Result

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from detailed_balance.analyzers.runs.table import RunTable

__all__ = ["StateOdds", "SuccessScaling", "moves_so_far"]

PRIOR = 10.0
"""Weight of what all states say, in first moves of runs."""


def moves_so_far(table: RunTable) -> NDArray[np.int64]:
    """(m,) array: how many moves its run has made with each of the m moves: 1, 2, 3, ..."""
    return np.asarray(np.arange(table.total) - table.offsets[:-1][table.run_of_move] + 1)


@dataclass(frozen=True, slots=True)
class StateOdds(Result):
    """The log odds ratio of failure of runs that come to each state, against all states.

    Each move to a state counts by 1 / k where it is the k-th of its run, so that long runs do not
    outweigh the others; states of few moves are shrunk to 0, the ratio of a state never seen.

    Parameters
    ----------
    values : dict of str to float
        The log odds ratio of each state.
    """

    values: Mapping[str, float] = field(repr=False)

    @classmethod
    def fit(cls, table: RunTable) -> StateOdds:
        """Count in runs of known success."""
        at, weight = _states(table), 1 / moves_so_far(table)
        failed = (table.success == 0)[table.run_of_move]
        inner = table.target != table.code(END)
        number = len(table.states)
        each = [
            np.bincount(at[inner & side], weight[inner & side], number)
            for side in (~failed, failed)
        ]
        worked, bad = (found.sum() + 0.5 for found in each)
        share = bad / (worked + bad)
        odds = np.log((each[1] + PRIOR * share) / (each[0] + PRIOR * (1 - share)))
        ratios = odds - np.log(share / (1 - share))
        return cls(dict(zip(table.states, ratios.tolist(), strict=True)))

    def of_moves(self, table: RunTable) -> NDArray[np.float64]:
        """(m,) array: the ratio of the state that each move comes to; an escape stays."""
        known = np.array([self.values.get(state, 0.0) for state in table.states])
        return np.asarray(known[_states(table)], dtype=np.float64)


def _states(table: RunTable) -> NDArray[np.int64]:
    """(m,) array: the state in which a run is after each move."""
    return np.where(table.target < 0, table.source, table.target).astype(np.int64)


@dataclass(frozen=True, slots=True)
class SuccessScaling(Result):
    """The probability of success at a risk: of a run that goes on, and of one that is over.

    Parameters
    ----------
    running : ProgressScaling
        Of runs that go on; fitted at all of their moves, the k-th of a run with the weight 1 / k,
        so that early and late moves count alike.
    states : StateOdds
        How runs in each state end.
    ended : PlattScaling
        Of runs that have moved to END, by their risk alone.
    """

    running: ProgressScaling
    states: StateOdds
    ended: PlattScaling

    @classmethod
    def fit(
        cls, table: RunTable, risks: NDArray[np.float64], odds: NDArray[np.float64]
    ) -> SuccessScaling:
        """Fit to runs of known success.

        Parameters
        ----------
        table : RunTable
            The runs, with m moves.
        risks, odds : (m,) arrays of float
            The risk after each move, and the log odds ratio of its state; both from other runs.

        Raises
        ------
        InsufficientDataError
            Where all runs that made a move before END succeeded, or none.
        """
        good = (table.success == 1)[table.run_of_move]
        over = table.target == table.code(END)
        moves = moves_so_far(table)[~over]
        running = ProgressScaling.fit(
            risks[~over], odds[~over], moves, good[~over], weights=1 / moves
        )
        worked, failed = int(good[over].sum()), int((~good[over]).sum())
        if worked and failed:
            ended = PlattScaling.fit(risks[over], good[over])
        else:  # the runs that are over had one outcome, or there are none: Laplace's estimate
            ended = PlattScaling(0.0, float(np.log((failed + 1) / (worked + 1))))
        return cls(running, StateOdds.fit(table), ended)

    def __call__(self, table: RunTable, risks: NDArray[np.float64]) -> NDArray[np.float64]:
        """(m,) array: the probability of success after each of the m moves of runs."""
        running = self.running(risks, self.states.of_moves(table), moves_so_far(table))
        return np.where(table.target == table.code(END), self.ended(risks), running)

    def of_move(self, risk: float, source: str, target: str | None, moves: int) -> float:
        """Return the probability of success of one run after so many moves; this is the last."""
        if target == END:
            return float(self.ended([risk])[0])
        odds = self.states.values.get(source if target is None else target, 0.0)
        return float(self.running([risk], [odds], [moves])[0])
