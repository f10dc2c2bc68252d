"""The part of a report that the pictures need."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from detailed_balance.analyzers.errors import InsufficientDataError

if TYPE_CHECKING:
    from detailed_balance.analyzers import (
        BalanceReport,
        Potential,
        TransitionCounts,
        TrapReport,
    )


class PlottedReport(Protocol):
    """A `Report`, as far as pictures need it."""

    @property
    def counts(self) -> TransitionCounts: ...
    @property
    def potential(self) -> Potential | None: ...
    @property
    def balance(self) -> BalanceReport | None: ...
    @property
    def traps(self) -> TrapReport: ...
    @property
    def reason(self) -> str: ...


def measured_of(report: PlottedReport) -> tuple[Potential, BalanceReport]:
    """Return what pictures are drawn of.

    Raises
    ------
    InsufficientDataError
        Where data are too few for a potential.
    """
    if report.potential is None or report.balance is None:
        raise InsufficientDataError(f"there is no potential to draw: {report.reason}")
    return report.potential, report.balance
