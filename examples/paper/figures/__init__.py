"""The paper's figures, each a function that returns a `Figure`.

Song, Cao, Luo and Zhu, *Detailed balance in large language model-driven agents*,
arXiv:2512.10047. Fig. 2 to 12 have the paper's axes; the other figures show its quantities in our
way. The numbers that a figure draws are to be had without it: each function that computes them
stands beside the one that draws.
"""

from __future__ import annotations

from examples.paper.figures.balance import plot_pairs, plot_triplets
from examples.paper.figures.convergence import SolverTrace, plot_convergence, trace_solver
from examples.paper.figures.directionality import (
    PUBLISHED_SHARES,
    plot_directionality,
    shuffle_directionality,
)
from examples.paper.figures.explicit import (
    Prediction,
    count_features,
    plot_penalty,
    plot_prediction,
    predict_states,
)
from examples.paper.figures.exploration import (
    count_states_found,
    plot_distributions,
    plot_exploration,
)
from examples.paper.figures.levels import plot_levels
from examples.paper.figures.one_way import plot_one_way
from examples.paper.figures.scores import plot_moves
from examples.paper.figures.spread import (
    ActionCurve,
    Histogram,
    follow_action,
    plot_spread,
    plot_temperature,
)
from examples.paper.figures.voting import Vote, hold_votes, plot_voting

__all__ = [
    "PUBLISHED_SHARES",
    "ActionCurve",
    "Histogram",
    "Prediction",
    "SolverTrace",
    "Vote",
    "count_features",
    "count_states_found",
    "follow_action",
    "hold_votes",
    "plot_convergence",
    "plot_directionality",
    "plot_distributions",
    "plot_exploration",
    "plot_levels",
    "plot_moves",
    "plot_one_way",
    "plot_pairs",
    "plot_penalty",
    "plot_prediction",
    "plot_spread",
    "plot_temperature",
    "plot_triplets",
    "plot_voting",
    "predict_states",
    "shuffle_directionality",
    "trace_solver",
]
