"""`name_agents`: which agent each run is of, because agents are never pooled."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from detailed_balance.analyzers.runs.roots import root_places
from detailed_balance.diagnosis.words import UNNAMED

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from detailed_balance.analyzers import RunTable

__all__ = ["name_agents"]


def name_agents(runs: RunTable) -> NDArray[np.object_]:
    """(r,) array of str: the agent of each run, by the label `graph` of its root run.

    Empty everywhere where all runs with moves are of one agent.

    Examples
    --------
    >>> from detailed_balance.analyzers import RunTable, Trajectory
    >>> runs = [Trajectory((("a", "b"),), context=(("graph", name),)) for name in ("x", "y")]
    >>> name_agents(RunTable.of(runs)).tolist(), name_agents(RunTable.of(runs[:1])).tolist()
    (['x', 'y'], [''])
    """
    names = [str(dict(context).get("graph") or UNNAMED) for context in runs.contexts]
    of_roots = runs.runs.context[root_places(runs)]
    agents: NDArray[np.object_] = np.array([*names, ""], dtype=object)[of_roots]
    if len(set(agents[runs.lengths > 0].tolist())) < 2:
        agents[:] = ""
    return agents
