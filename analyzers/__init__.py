"""What measures: pure mathematics on transition counts and trajectories."""

from detailed_balance.analyzers.action import (
    CustomViolation,
    Exponential,
    Softplus,
    ViolationFunction,
    check_violation_function,
    evaluate_action,
)
from detailed_balance.analyzers.balance import BalanceReport, Violation, check_balance
from detailed_balance.analyzers.counts import END, START, TransitionCounts
from detailed_balance.analyzers.kernel import Kernel, estimate_kernel
from detailed_balance.analyzers.landscape import Trap, TrapReport, find_traps
from detailed_balance.analyzers.live import LivePotential
from detailed_balance.analyzers.potential import Potential, estimate_potential
from detailed_balance.analyzers.solution import Progress

__all__ = [
    "END",
    "START",
    "BalanceReport",
    "CustomViolation",
    "Exponential",
    "Kernel",
    "LivePotential",
    "Potential",
    "Progress",
    "Softplus",
    "TransitionCounts",
    "Trap",
    "TrapReport",
    "Violation",
    "ViolationFunction",
    "check_balance",
    "check_violation_function",
    "estimate_kernel",
    "estimate_potential",
    "evaluate_action",
    "find_traps",
]
