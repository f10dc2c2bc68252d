from .action import (
    CustomViolation as CustomViolation,
    Exponential as Exponential,
    Softplus as Softplus,
    ViolationFunction as ViolationFunction,
    check_violation_function as check_violation_function,
)
from .balance.check import BalanceReport as BalanceReport, check_balance as check_balance
from .balance.loops import (
    TripletNull as TripletNull,
    TripletTable as TripletTable,
    calibrate_triplets as calibrate_triplets,
    measure_triplets as measure_triplets,
)
from .balance.one_way import (
    OneWayCheck as OneWayCheck,
    check_one_way as check_one_way,
    unseen_bound as unseen_bound,
)
from .balance.outcomes import (
    LoopContrast as LoopContrast,
    contrast_loops as contrast_loops,
    contrast_with_baseline as contrast_with_baseline,
)
from .balance.power import needed_attempts as needed_attempts, needed_one_way as needed_one_way
from .balance.reversibility import (
    ReversibilityResult as ReversibilityResult,
    reversibility_test as reversibility_test,
)
from .balance.run_wise import (
    LoopOrientation as LoopOrientation,
    MixtureTest as MixtureTest,
    mixture_test as mixture_test,
    orientation_test as orientation_test,
)
from .balance.violation import Violation as Violation
from .boundaries import END as END, START as START
from .comparison.counts import compare_counts as compare_counts
from .comparison.kernels import (
    KernelComparison as KernelComparison,
    compare_kernels as compare_kernels,
)
from .comparison.potentials import (
    PotentialComparison as PotentialComparison,
    compare_potentials as compare_potentials,
)
from .comparison.result import (
    Change as Change,
    ComparisonTest as ComparisonTest,
    RunComparison as RunComparison,
)
from .comparison.runs import compare_runs as compare_runs
from .convergence import Progress as Progress
from .counts import TransitionCounts as TransitionCounts
from .forecast.calibration import (
    PlattScaling as PlattScaling,
    ProgressScaling as ProgressScaling,
)
from .forecast.forecast import forecast_outcome as forecast_outcome
from .forecast.result import (
    CumulativeIncidence as CumulativeIncidence,
    FitCheck as FitCheck,
    Forecast as Forecast,
    StateForecast as StateForecast,
)
from .forecast.scaling import StateOdds as StateOdds, SuccessScaling as SuccessScaling
from .forecast.step_limit import StepLimit as StepLimit, suggest_step_limit as suggest_step_limit
from .forecast.success import (
    SuccessForecast as SuccessForecast,
    forecast_success as forecast_success,
)
from .guard.evaluate import (
    GuardEvaluation as GuardEvaluation,
    GuardTrial as GuardTrial,
    evaluate_guard as evaluate_guard,
)
from .guard.guard import RunGuard as RunGuard
from .guard.rules import RepetitionLimits as RepetitionLimits
from .guard.scores import (
    OutcomeScore as OutcomeScore,
    RunScore as RunScore,
    StepCount as StepCount,
)
from .guard.watch import RunWatch as RunWatch
from .inputs import CountsLike as CountsLike
from .kernel import (
    Kernel as Kernel,
    KernelLike as KernelLike,
    estimate_kernel as estimate_kernel,
    evaluate_action as evaluate_action,
)
from .loop import Loop as Loop
from .markov.basins import (
    Attractor as Attractor,
    AttractorReport as AttractorReport,
    find_attractors as find_attractors,
)
from .markov.context_tree import ContextTree as ContextTree
from .markov.contexts import Contexts as Contexts, find_contexts as find_contexts
from .markov.entropy_production import (
    EntropyProduction as EntropyProduction,
    entropy_production as entropy_production,
)
from .markov.flux import NetFluxes as NetFluxes, net_fluxes as net_fluxes
from .markov.hodge import (
    HodgeDecomposition as HodgeDecomposition,
    hodge_decomposition as hodge_decomposition,
)
from .markov.next_step import StepPrediction as StepPrediction, predict_steps as predict_steps
from .markov.order import MarkovOrderTest as MarkovOrderTest, markov_order_test as markov_order_test
from .markov.stationary import (
    StationaryDistribution as StationaryDistribution,
    stationary_distribution as stationary_distribution,
)
from .markov.traps import Trap as Trap, TrapReport as TrapReport, find_traps as find_traps
from .markov.word_reversal import (
    WordReversals as WordReversals,
    compare_reversals as compare_reversals,
)
from .potential.directionality import (
    Directionality as Directionality,
    score_directionality as score_directionality,
)
from .potential.estimate import Potential as Potential, estimate_potential as estimate_potential
from .potential.explicit import (
    ExplicitPotential as ExplicitPotential,
    fit_explicit_potential as fit_explicit_potential,
)
from .potential.features import (
    FeatureTable as FeatureTable,
    embedding_features as embedding_features,
    expression_features as expression_features,
    frequency_features as frequency_features,
    make_features as make_features,
    ngrams as ngrams,
    text_features as text_features,
)
from .potential.held_out_action import (
    MeasuredAction as MeasuredAction,
    measure_action as measure_action,
)
from .potential.majority_vote import majority_vote_kernel as majority_vote_kernel
from .potential.popularity import (
    ExplainedShares as ExplainedShares,
    PopularityComparison as PopularityComparison,
    compare_with_popularity as compare_with_popularity,
)
from .potential.spread import (
    PotentialSpread as PotentialSpread,
    expected_minimum_action as expected_minimum_action,
    fit_spread as fit_spread,
)
from .repetition.classify import (
    ClassifiedRun as ClassifiedRun,
    RepetitionRules as RepetitionRules,
    RunClassification as RunClassification,
    classify_runs as classify_runs,
)
from .repetition.find import find_repetition as find_repetition
from .repetition.occurrences import (
    LoopOccurrences as LoopOccurrences,
    locate_loops as locate_loops,
)
from .repetition.result import (
    RepeatingRun as RepeatingRun,
    RepetitionFinding as RepetitionFinding,
    RepetitionReport as RepetitionReport,
    RepetitionTest as RepetitionTest,
)
from .runs.roots import root_runs as root_runs
from .runs.table import RunTable as RunTable
from .runs.trajectory import Outcome as Outcome, Trajectory as Trajectory
from .sequential.balance_martingale import BalanceMartingale as BalanceMartingale
from .sequential.change_point import (
    ChangePoint as ChangePoint,
    find_change as find_change,
    find_onset as find_onset,
)
from .sequential.conformal_betting import RunEvidence as RunEvidence
from .sequential.drift_martingale import DriftMartingale as DriftMartingale
from .sequential.loop_evidence import LoopEvidence as LoopEvidence, MergedEvidence as MergedEvidence
from .sequential.rates import RateMartingale as RateMartingale, block_means as block_means
from .sequential.watched_rates import WatchedRates as WatchedRates
