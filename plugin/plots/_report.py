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
    def counts(self) -> TransitionCounts: ...
    @property
    def potential(self) -> Potential: ...
    @property
    def balance(self) -> BalanceReport: ...
    @property
    def traps(self) -> TrapReport: ...
    @property
    def findings(self) -> tuple[Violation, ...]: ...
