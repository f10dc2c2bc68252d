"""The part of a report that the pictures need."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from detailed_balance.analyzers import (
        BalanceReport,
        Potential,
        TransitionCounts,
        TrapReport,
        Violation,
    )


class PlottedReport(Protocol):
    """A `Report`, as far as pictures need it."""

    @property
    def counts(self) -> TransitionCounts:
        """What was analysed."""

    @property
    def potential(self) -> Potential:
        """Where the agent wants to go."""

    @property
    def balance(self) -> BalanceReport:
        """What drives it in circles."""

    @property
    def traps(self) -> TrapReport:
        """Where it is stuck."""

    @property
    def findings(self) -> tuple[Violation, ...]:
        """The violations that the verdict goes by."""
