"""The paper's figures from the library's results, each a function that returns a `Figure`.

Song, Cao, Luo and Zhu, *Detailed balance in large language model-driven agents*,
arXiv:2512.10047. The axes are the paper's where they are known (Fig. 3, 4, 10, 11 and 12); the
other figures show its quantities in our way. ``plot_spread(potential).savefig("spread.png")``
writes one. The numbers that a figure draws are to be had without it: each function that computes
them stands beside the one that draws.
"""

from __future__ import annotations

from examples.paper.figures.balance import (
    TripletProducts,
    hold_pairs,
    multiply_triplets,
    plot_pair_balance,
    plot_triplet_balance,
)
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
from examples.paper.figures.one_way import plot_one_way
from examples.paper.figures.scores import pair_scores, plot_score
from examples.paper.figures.spread import (
    ActionCurve,
    follow_action,
    plot_spread,
    plot_temperature,
)
from examples.paper.figures.states import StateLevels, place_states, plot_states
from examples.paper.figures.voting import Vote, hold_votes, plot_voting

__all__ = [
    "PUBLISHED_SHARES",
    "ActionCurve",
    "Prediction",
    "SolverTrace",
    "StateLevels",
    "TripletProducts",
    "Vote",
    "count_features",
    "count_states_found",
    "follow_action",
    "hold_pairs",
    "hold_votes",
    "multiply_triplets",
    "pair_scores",
    "place_states",
    "plot_convergence",
    "plot_directionality",
    "plot_distributions",
    "plot_exploration",
    "plot_one_way",
    "plot_pair_balance",
    "plot_penalty",
    "plot_prediction",
    "plot_score",
    "plot_spread",
    "plot_states",
    "plot_temperature",
    "plot_triplet_balance",
    "plot_voting",
    "predict_states",
    "shuffle_directionality",
    "trace_solver",
]
