"""What measures: pure mathematics on transition counts and trajectories."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from detailed_balance.analyzers.action import (
        CustomViolation,
        Exponential,
        Softplus,
        ViolationFunction,
        check_violation_function,
        evaluate_action,
    )
    from detailed_balance.analyzers.attractors import Attractor, AttractorReport, find_attractors
    from detailed_balance.analyzers.balance import BalanceReport, check_balance
    from detailed_balance.analyzers.comparison import KernelComparison, compare_kernels
    from detailed_balance.analyzers.count_differences import compare_counts
    from detailed_balance.analyzers.counts import END, START, TransitionCounts
    from detailed_balance.analyzers.differences import (
        Change,
        Differences,
        QuestionTest,
        compare_runs,
    )
    from detailed_balance.analyzers.directionality import (
        Directionality,
        score_directionality,
    )
    from detailed_balance.analyzers.displacement import PotentialComparison, compare_potentials
    from detailed_balance.analyzers.drift import DriftMartingale
    from detailed_balance.analyzers.entropy import EntropyProduction, entropy_production
    from detailed_balance.analyzers.evidence import LoopEvidence, MergedEvidence
    from detailed_balance.analyzers.explicit import (
        ExplicitPotential,
        fit_explicit_potential,
    )
    from detailed_balance.analyzers.features import (
        FeatureTable,
        expression_features,
        make_features,
        ngrams,
    )
    from detailed_balance.analyzers.flux import NetFluxes, net_fluxes
    from detailed_balance.analyzers.forecast import (
        Curve,
        FitCheck,
        Forecast,
        Prospect,
        forecast_outcome,
    )
    from detailed_balance.analyzers.guard import RunGuard
    from detailed_balance.analyzers.guard_rules import StuckRules
    from detailed_balance.analyzers.guard_scores import OutcomeScore, RunScore
    from detailed_balance.analyzers.guard_watch import RunWatch
    from detailed_balance.analyzers.hodge import HodgeDecomposition, hodge_decomposition
    from detailed_balance.analyzers.kernel import Kernel, estimate_kernel
    from detailed_balance.analyzers.landscape import Trap, TrapReport, find_traps
    from detailed_balance.analyzers.loop_places import LoopSeen, locate_loops
    from detailed_balance.analyzers.markov import MarkovOrderTest, markov_order_test
    from detailed_balance.analyzers.martingale import BalanceMartingale
    from detailed_balance.analyzers.measured_action import MeasuredAction, measure_action
    from detailed_balance.analyzers.one_way import OneWayCheck, check_one_way, unseen_bound
    from detailed_balance.analyzers.potential import Potential, estimate_potential
    from detailed_balance.analyzers.power import needed_attempts, needed_one_way
    from detailed_balance.analyzers.reversibility import ReversibilityResult, reversibility_test
    from detailed_balance.analyzers.run_evidence import RunEvidence
    from detailed_balance.analyzers.run_kinds import RunReport, RunRow, RunRules, classify_runs
    from detailed_balance.analyzers.solution import Progress
    from detailed_balance.analyzers.spread import (
        PotentialSpread,
        expected_minimum_action,
        fit_spread,
    )
    from detailed_balance.analyzers.stationary import (
        StationaryDistribution,
        stationary_distribution,
    )
    from detailed_balance.analyzers.step_limit import StepLimit, suggest_step_limit
    from detailed_balance.analyzers.texts import (
        embedding_features,
        frequency_features,
        text_features,
    )
    from detailed_balance.analyzers.trajectory import Outcome, Trajectory
    from detailed_balance.analyzers.violation import Violation
    from detailed_balance.analyzers.voting import (
        majority_vote_kernel,
    )

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
    "attractors": ("Attractor", "AttractorReport", "find_attractors"),
    "balance": ("BalanceReport", "check_balance"),
    "comparison": ("KernelComparison", "compare_kernels"),
    "count_differences": ("compare_counts",),
    "counts": ("END", "START", "TransitionCounts"),
    "differences": ("Change", "Differences", "QuestionTest", "compare_runs"),
    "directionality": (
        "Directionality",
        "score_directionality",
    ),
    "displacement": ("PotentialComparison", "compare_potentials"),
    "drift": ("DriftMartingale",),
    "entropy": ("EntropyProduction", "entropy_production"),
    "evidence": ("LoopEvidence", "MergedEvidence"),
    "explicit": (
        "ExplicitPotential",
        "fit_explicit_potential",
    ),
    "features": (
        "FeatureTable",
        "expression_features",
        "make_features",
        "ngrams",
    ),
    "flux": ("NetFluxes", "net_fluxes"),
    "forecast": ("Curve", "FitCheck", "Forecast", "Prospect", "forecast_outcome"),
    "guard": ("RunGuard",),
    "guard_rules": ("StuckRules",),
    "guard_scores": ("OutcomeScore", "RunScore"),
    "guard_watch": ("RunWatch",),
    "hodge": ("HodgeDecomposition", "hodge_decomposition"),
    "kernel": ("Kernel", "estimate_kernel"),
    "landscape": ("Trap", "TrapReport", "find_traps"),
    "loop_places": ("LoopSeen", "locate_loops"),
    "markov": ("MarkovOrderTest", "markov_order_test"),
    "martingale": ("BalanceMartingale",),
    "measured_action": ("MeasuredAction", "measure_action"),
    "one_way": ("OneWayCheck", "check_one_way", "unseen_bound"),
    "potential": ("Potential", "estimate_potential"),
    "power": ("needed_attempts", "needed_one_way"),
    "reversibility": ("ReversibilityResult", "reversibility_test"),
    "run_evidence": ("RunEvidence",),
    "run_kinds": ("RunReport", "RunRow", "RunRules", "classify_runs"),
    "solution": ("Progress",),
    "spread": (
        "PotentialSpread",
        "expected_minimum_action",
        "fit_spread",
    ),
    "stationary": ("StationaryDistribution", "stationary_distribution"),
    "step_limit": ("StepLimit", "suggest_step_limit"),
    "texts": ("embedding_features", "frequency_features", "text_features"),
    "trajectory": ("Outcome", "Trajectory"),
    "violation": ("Violation",),
    "voting": ("majority_vote_kernel",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
