"""What a monitor looks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from detailed_balance.monitor.analysis.base import Analyzer

__all__ = ["default_analyzers"]


def default_analyzers() -> list[Analyzer]:
    """Return new instances of the built-in analyzers, in the order in which they run.

    Examples
    --------
    >>> [analyzer.name for analyzer in default_analyzers()]
    ['potential', 'diagnosis', 'driven', 'traps', 'drift', 'cardinality', 'loss']
    """
    from detailed_balance.monitor.analysis._diagnosis import DiagnosisAnalyzer
    from detailed_balance.monitor.analysis._drift import DriftAnalyzer
    from detailed_balance.monitor.analysis._driven import DrivenLoopAnalyzer
    from detailed_balance.monitor.analysis._potential import PotentialAnalyzer
    from detailed_balance.monitor.analysis._record_faults import (
        CardinalityAnalyzer,
        DataLossAnalyzer,
    )
    from detailed_balance.monitor.analysis._traps import TrapAnalyzer

    return [
        PotentialAnalyzer(),
        DiagnosisAnalyzer(),
        DrivenLoopAnalyzer(),
        TrapAnalyzer(),
        DriftAnalyzer(),
        CardinalityAnalyzer(),
        DataLossAnalyzer(),
    ]
