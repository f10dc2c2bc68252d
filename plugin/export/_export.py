"""`export`: a result into files."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from detailed_balance.analyzers import BalanceReport, Potential, TransitionCounts
from detailed_balance.analyzers.errors import InsufficientDataError, InvalidInputError
from detailed_balance.analyzers.potential.ordering import order_states
from detailed_balance.analyzers.results import Table
from detailed_balance.analyzers.runs.labels import make_context
from detailed_balance.export._writers import write_csv, write_graphml, write_json, write_parquet
from detailed_balance.report import Report, analyze
from detailed_balance.report.sections import CHEAP_ERRORS
from detailed_balance.sources.source import SourceInfo, open_source

Part: TypeAlias = Literal["counts", "potential", "violations"]
"""What can be exported; ``"all"`` is all of them."""

Format: TypeAlias = Literal["parquet", "csv", "graphml", "json"]
"""The formats of files."""

PARTS: tuple[Part, ...] = get_args(Part)
"""The values of `Part`."""

FORMATS: tuple[Format, ...] = get_args(Format)
"""The values of `Format`."""

_SUFFIXES: dict[str, Format] = {**{f".{name}": name for name in FORMATS}, ".pq": "parquet"}
_TABLES: dict[str, Callable[[Path, Table, Mapping[str, Any]], None]] = {
    "csv": write_csv,
    "parquet": write_parquet,
}
_DOCUMENTS: dict[str, Callable[[Path, Mapping[str, Table], Mapping[str, Any]], None]] = {
    "json": write_json,
    "graphml": write_graphml,
}


def export(
    source: object,
    path: str | os.PathLike[str],
    *,
    what: Part | Literal["all"] = "all",
    format: Format | None = None,  # noqa: A002 - the word that users look for
    source_format: str | None = None,
    **options: Any,
) -> list[Path]:
    """Write counts, potential and violations into files that other programs open.

    Parameters
    ----------
    source : object
        A `Report`, or what `analyze` takes. For ``what="counts"`` nothing is analysed.
    path : path
        The file. CSV and Parquet hold one table a file: of ``"all"`` it is the folder, in which
        ``counts``, ``potential`` and ``violations`` are written, and `format` says as what.
    what : {"counts", "potential", "violations", "all"}
        Which part.
    format : {"parquet", "csv", "graphml", "json"}, optional
        By default by the name of the file.
    source_format : str, optional
        The `format` of `read_transitions`, which says what the source is.
    **options
        As for `analyze`.

    Returns
    -------
    list of Path
        The files that were written; those of the same names are replaced.

    Raises
    ------
    InvalidInputError
        Where an option has a value that is not allowed, or pyarrow is missing for Parquet.

    Examples
    --------
    >>> import tempfile
    >>> from detailed_balance.analyzers.counts import TransitionCounts
    >>> counts = TransitionCounts.from_edges([("plan", "=search", 3), ("plan", None, 1)])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     [file] = export(counts, f"{folder}/counts.csv", what="counts")
    ...     print(file.read_text())
    source,target,count
    plan,'=search,3
    plan,,1
    <BLANKLINE>
    """
    out = Path(path)
    kind = _choose_format(out, format)
    if what not in (*PARTS, "all"):
        raise InvalidInputError(f"what must be one of {', '.join(PARTS)}, all; got {what!r}")
    if what == "all" and kind in _TABLES and out.suffix.lower() in _SUFFIXES:
        raise InvalidInputError(
            f"{str(path)!r} is one file, and one {kind} file holds one table: set what= (on the "
            f"command line --what) to {', '.join(PARTS)}, or name a folder and set format={kind!r}"
        )
    if source_format is not None:
        options["format"] = source_format
    tables, settings, info = _make_tables(source, what, options)
    about = {
        "version": version("detailed-balance"),
        "source": info.description,
        "context": dict(info.context),
        "settings": settings,
    }
    if kind in _DOCUMENTS:
        _DOCUMENTS[kind](out, tables, about)
        return [out]
    if what == "all":
        out.mkdir(parents=True, exist_ok=True)
    files = {name: out / f"{name}.{kind}" if what == "all" else out for name in tables}
    for name, file in files.items():
        _TABLES[kind](file, tables[name], {**about, "table": name})
    return list(files.values())


def _choose_format(path: Path, given: str | None) -> Format:
    kind = _SUFFIXES.get(path.suffix.lower()) if given is None else given
    if kind not in FORMATS:
        raise InvalidInputError(
            f"format must be one of {', '.join(FORMATS)}; got {given!r}, and the name of "
            f"{str(path)!r} does not say. Set format= (on the command line --to)"
        )
    return kind


def _make_tables(
    source: object, what: str, options: dict[str, Any]
) -> tuple[dict[str, Table], dict[str, Any], SourceInfo]:
    """Return the tables, the settings that they depend on, and where they come from."""
    if what == "counts" and not isinstance(source, Report):
        opened = open_source(source, **options)
        info = SourceInfo(opened.description, make_context(options.get("context")))
        return {"counts": opened.counts().to_table()}, {}, info
    report = source if isinstance(source, Report) else analyze(source, **options)
    potential, balance = report.potential, report.balance
    if potential is None or balance is None:
        raise InsufficientDataError(f"there is no potential to export: {report.reason}")
    tables: dict[str, Table] = {}
    if what in ("counts", "all"):
        tables["counts"] = report.counts.to_table()
    if what in ("potential", "all"):
        tables["potential"] = _potential_table(potential, report.counts)
    if what in ("violations", "all"):
        tables["violations"] = _violations_table(balance)
    return tables, _settings(potential, balance), report.source


def _settings(potential: Potential, balance: BalanceReport) -> dict[str, Any]:
    kernel = potential.kernel
    return {
        "violation": potential.violation,
        "attempts": kernel.mode,
        "min_attempts": kernel.min_attempts,
        "tolerance": potential.tolerance,
        "alpha": balance.alpha,
        "errors": balance.errors,
        "correction": balance.correction,
    }


def _potential_table(potential: Potential, counts: TransitionCounts) -> Table:
    """Return the columns state, potential, component, error, attempts and escapes.

    The potential is `Potential.values`: inf and -inf above and below the largest component, NaN
    beside it. The error is that of the difference to the lowest state of the largest component;
    it is left out above 20,000 states, where it would take minutes.
    """
    places = order_states(potential).ranking
    states = [potential.states[i] for i in places.tolist()]
    rows = [counts.index(state) for state in states]
    table: dict[str, list[Any]] = {
        "state": states,
        "potential": potential.values[places].tolist(),
        "component": potential.components[places].tolist(),
    }
    if len(states) <= CHEAP_ERRORS:
        table["error"] = potential.standard_errors()[places].tolist()
    table["attempts"] = counts.attempts[rows].tolist()
    table["escapes"] = counts.escapes[rows].tolist()
    return table


def _violations_table(balance: BalanceReport) -> Table:
    """Return the violations, one a row; a loop is a list of states."""
    found = balance.violations
    intervals = [violation.interval() for violation in found]
    return {
        "loop": [list(violation.loop) for violation in found],
        "kind": [violation.kind for violation in found],
        "affinity": [float(violation.affinity) for violation in found],
        "error": [float(violation.error) for violation in found],
        "low": [float(low) for low, _ in intervals],
        "high": [float(high) for _, high in intervals],
        "pvalue": [float(violation.pvalue) for violation in found],
        "forward": [int(violation.counts[0]) for violation in found],
        "backward": [int(violation.counts[1]) for violation in found],
        "flux_share": [float(violation.flux_share) for violation in found],
        "odds_ratio": [float(violation.odds_ratio) for violation in found],
        "evidence": [violation.evidence for violation in found],
    }
