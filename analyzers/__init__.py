"""What measures: pure mathematics on transition counts and trajectories."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from detailed_balance.analyzers._solver.progress import Progress
    from detailed_balance.analyzers.action import (
        CustomViolation,
        Exponential,
        Softplus,
        ViolationFunction,
        check_violation_function,
        evaluate_action,
    )
    from detailed_balance.analyzers.balance.check import BalanceReport, check_balance
    from detailed_balance.analyzers.balance.one_way import OneWayCheck, check_one_way, unseen_bound
    from detailed_balance.analyzers.balance.power import needed_attempts, needed_one_way
    from detailed_balance.analyzers.balance.reversibility import (
        ReversibilityResult,
        reversibility_test,
    )
    from detailed_balance.analyzers.balance.violation import Violation
    from detailed_balance.analyzers.comparison.counts import compare_counts
    from detailed_balance.analyzers.comparison.kernels import KernelComparison, compare_kernels
    from detailed_balance.analyzers.comparison.potentials import (
        PotentialComparison,
        compare_potentials,
    )
    from detailed_balance.analyzers.comparison.runs import (
        Change,
        Differences,
        QuestionTest,
        compare_runs,
    )
    from detailed_balance.analyzers.counts import END, START, TransitionCounts
    from detailed_balance.analyzers.forecast.forecast import (
        Curve,
        FitCheck,
        Forecast,
        Prospect,
        forecast_outcome,
    )
    from detailed_balance.analyzers.forecast.step_limit import StepLimit, suggest_step_limit
    from detailed_balance.analyzers.guard.guard import RunGuard
    from detailed_balance.analyzers.guard.rules import StuckRules
    from detailed_balance.analyzers.guard.scores import OutcomeScore, RunScore
    from detailed_balance.analyzers.guard.watch import RunWatch
    from detailed_balance.analyzers.kernel import Kernel, estimate_kernel
    from detailed_balance.analyzers.markov._entropy_production import (
        EntropyProduction,
        entropy_production,
    )
    from detailed_balance.analyzers.markov.basins import Attractor, AttractorReport, find_attractors
    from detailed_balance.analyzers.markov.flux import NetFluxes, net_fluxes
    from detailed_balance.analyzers.markov.hodge import HodgeDecomposition, hodge_decomposition
    from detailed_balance.analyzers.markov.order import MarkovOrderTest, markov_order_test
    from detailed_balance.analyzers.markov.stationary import (
        StationaryDistribution,
        stationary_distribution,
    )
    from detailed_balance.analyzers.markov.traps import Trap, TrapReport, find_traps
    from detailed_balance.analyzers.potential._texts import (
        embedding_features,
        frequency_features,
        text_features,
    )
    from detailed_balance.analyzers.potential.directionality import (
        Directionality,
        score_directionality,
    )
    from detailed_balance.analyzers.potential.estimate import Potential, estimate_potential
    from detailed_balance.analyzers.potential.explicit import (
        ExplicitPotential,
        fit_explicit_potential,
    )
    from detailed_balance.analyzers.potential.features import (
        FeatureTable,
        expression_features,
        make_features,
        ngrams,
    )
    from detailed_balance.analyzers.potential.held_out_action import MeasuredAction, measure_action
    from detailed_balance.analyzers.potential.majority_vote import (
        majority_vote_kernel,
    )
    from detailed_balance.analyzers.potential.spread import (
        PotentialSpread,
        expected_minimum_action,
        fit_spread,
    )
    from detailed_balance.analyzers.repetition.classify import (
        RunReport,
        RunRow,
        RunRules,
        classify_runs,
    )
    from detailed_balance.analyzers.repetition.loop_places import LoopSeen, locate_loops
    from detailed_balance.analyzers.runs.trajectory import Outcome, Trajectory
    from detailed_balance.analyzers.sequential.balance_martingale import BalanceMartingale
    from detailed_balance.analyzers.sequential.drift_martingale import DriftMartingale
    from detailed_balance.analyzers.sequential.loop_evidence import LoopEvidence, MergedEvidence
    from detailed_balance.analyzers.sequential.run_evidence import RunEvidence

__all__ = [
    "END",
    "START",
    "Attractor",
    "AttractorReport",
    "BalanceMartingale",
    "BalanceReport",
    "Change",
    "Curve",
    "CustomViolation",
    "Differences",
    "Directionality",
    "DriftMartingale",
    "EntropyProduction",
    "ExplicitPotential",
    "Exponential",
    "FeatureTable",
    "FitCheck",
    "Forecast",
    "HodgeDecomposition",
    "Kernel",
    "KernelComparison",
    "LoopEvidence",
    "LoopSeen",
    "MarkovOrderTest",
    "MeasuredAction",
    "MergedEvidence",
    "NetFluxes",
    "OneWayCheck",
    "Outcome",
    "OutcomeScore",
    "Potential",
    "PotentialComparison",
    "PotentialSpread",
    "Progress",
    "Prospect",
    "QuestionTest",
    "ReversibilityResult",
    "RunEvidence",
    "RunGuard",
    "RunReport",
    "RunRow",
    "RunRules",
    "RunScore",
    "RunWatch",
    "Softplus",
    "StationaryDistribution",
    "StepLimit",
    "StuckRules",
    "Trajectory",
    "TransitionCounts",
    "Trap",
    "TrapReport",
    "Violation",
    "ViolationFunction",
    "check_balance",
    "check_one_way",
    "check_violation_function",
    "classify_runs",
    "compare_counts",
    "compare_kernels",
    "compare_potentials",
    "compare_runs",
    "embedding_features",
    "entropy_production",
    "estimate_kernel",
    "estimate_potential",
    "evaluate_action",
    "expected_minimum_action",
    "expression_features",
    "find_attractors",
    "find_traps",
    "fit_explicit_potential",
    "fit_spread",
    "forecast_outcome",
    "frequency_features",
    "hodge_decomposition",
    "locate_loops",
    "majority_vote_kernel",
    "make_features",
    "markov_order_test",
    "measure_action",
    "needed_attempts",
    "needed_one_way",
    "net_fluxes",
    "ngrams",
    "reversibility_test",
    "score_directionality",
    "stationary_distribution",
    "suggest_step_limit",
    "text_features",
    "unseen_bound",
]

# Loaded when first asked for, so that recording an agent loads no solver into it.
_HOMES = {
    "action": (
        "CustomViolation",
        "Exponential",
        "Softplus",
        "ViolationFunction",
        "check_violation_function",
        "evaluate_action",
    ),
    "markov.basins": ("Attractor", "AttractorReport", "find_attractors"),
    "balance.check": ("BalanceReport", "check_balance"),
    "comparison.kernels": ("KernelComparison", "compare_kernels"),
    "comparison.counts": ("compare_counts",),
    "counts": ("END", "START", "TransitionCounts"),
    "comparison.runs": ("Change", "Differences", "QuestionTest", "compare_runs"),
    "potential.directionality": (
        "Directionality",
        "score_directionality",
    ),
    "comparison.potentials": ("PotentialComparison", "compare_potentials"),
    "sequential.drift_martingale": ("DriftMartingale",),
    "markov._entropy_production": ("EntropyProduction", "entropy_production"),
    "sequential.loop_evidence": ("LoopEvidence", "MergedEvidence"),
    "potential.explicit": (
        "ExplicitPotential",
        "fit_explicit_potential",
    ),
    "potential.features": (
        "FeatureTable",
        "expression_features",
        "make_features",
        "ngrams",
    ),
    "markov.flux": ("NetFluxes", "net_fluxes"),
    "forecast.forecast": ("Curve", "FitCheck", "Forecast", "Prospect", "forecast_outcome"),
    "guard.guard": ("RunGuard",),
    "guard.rules": ("StuckRules",),
    "guard.scores": ("OutcomeScore", "RunScore"),
    "guard.watch": ("RunWatch",),
    "markov.hodge": ("HodgeDecomposition", "hodge_decomposition"),
    "kernel": ("Kernel", "estimate_kernel"),
    "markov.traps": ("Trap", "TrapReport", "find_traps"),
    "repetition.loop_places": ("LoopSeen", "locate_loops"),
    "markov.order": ("MarkovOrderTest", "markov_order_test"),
    "sequential.balance_martingale": ("BalanceMartingale",),
    "potential.held_out_action": ("MeasuredAction", "measure_action"),
    "balance.one_way": ("OneWayCheck", "check_one_way", "unseen_bound"),
    "potential.estimate": ("Potential", "estimate_potential"),
    "balance.power": ("needed_attempts", "needed_one_way"),
    "balance.reversibility": ("ReversibilityResult", "reversibility_test"),
    "sequential.run_evidence": ("RunEvidence",),
    "repetition.classify": ("RunReport", "RunRow", "RunRules", "classify_runs"),
    "_solver.progress": ("Progress",),
    "potential.spread": (
        "PotentialSpread",
        "expected_minimum_action",
        "fit_spread",
    ),
    "markov.stationary": ("StationaryDistribution", "stationary_distribution"),
    "forecast.step_limit": ("StepLimit", "suggest_step_limit"),
    "potential._texts": ("embedding_features", "frequency_features", "text_features"),
    "runs.trajectory": ("Outcome", "Trajectory"),
    "balance.violation": ("Violation",),
    "potential.majority_vote": ("majority_vote_kernel",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
