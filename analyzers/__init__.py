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
    from detailed_balance.analyzers.balance import BalanceReport, check_balance
    from detailed_balance.analyzers.counts import END, START, TransitionCounts
    from detailed_balance.analyzers.guard import RunGuard
    from detailed_balance.analyzers.guard_rules import StuckRules
    from detailed_balance.analyzers.guard_scores import OutcomeScore, RunScore
    from detailed_balance.analyzers.guard_watch import RunWatch
    from detailed_balance.analyzers.kernel import Kernel, estimate_kernel
    from detailed_balance.analyzers.landscape import Trap, TrapReport, find_traps
    from detailed_balance.analyzers.live import LivePotential
    from detailed_balance.analyzers.potential import Potential, estimate_potential
    from detailed_balance.analyzers.power import needed_attempts, needed_one_way
    from detailed_balance.analyzers.solution import Progress
    from detailed_balance.analyzers.trajectory import Outcome, Trajectory
    from detailed_balance.analyzers.violation import Violation

__all__ = [
    "END",
    "START",
    "BalanceReport",
    "CustomViolation",
    "Exponential",
    "Kernel",
    "LivePotential",
    "Outcome",
    "OutcomeScore",
    "Potential",
    "Progress",
    "RunGuard",
    "RunScore",
    "RunWatch",
    "Softplus",
    "StuckRules",
    "Trajectory",
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
    "needed_attempts",
    "needed_one_way",
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
    "balance": ("BalanceReport", "check_balance"),
    "counts": ("END", "START", "TransitionCounts"),
    "guard": ("RunGuard",),
    "guard_rules": ("StuckRules",),
    "guard_scores": ("OutcomeScore", "RunScore"),
    "guard_watch": ("RunWatch",),
    "kernel": ("Kernel", "estimate_kernel"),
    "landscape": ("Trap", "TrapReport", "find_traps"),
    "live": ("LivePotential",),
    "potential": ("Potential", "estimate_potential"),
    "power": ("needed_attempts", "needed_one_way"),
    "solution": ("Progress",),
    "trajectory": ("Outcome", "Trajectory"),
    "violation": ("Violation",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
