"""Results as files that other programs open: Parquet, CSV, GraphML, JSON."""

from __future__ import annotations

from detailed_balance.export._export import FORMATS, PARTS, export

__all__ = ["FORMATS", "PARTS", "export"]
