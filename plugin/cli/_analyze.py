"""``analyze SOURCE`` and ``show SOURCE RUN``: the report of a record, and the path of one run."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import typer

from detailed_balance.analyzers.errors import InsufficientDataError
from detailed_balance.cli._options import (
    Baseline,
    HtmlFile,
    JsonFile,
    JUnitFile,
    MinVisits,
    RunUrl,
    SourceArgument,
    parse_conditions,
    takes_source_options,
)
from detailed_balance.cli._output import FOUND, check_outputs, deliver, late_progress
from detailed_balance.diagnosis.finding import FINDING_KINDS, FindingKind

if TYPE_CHECKING:
    from detailed_balance.report import Report

_Condition: TypeAlias = Literal["problem", "violation"] | FindingKind

CONDITIONS: tuple[_Condition, ...] = ("problem", "violation", *FINDING_KINDS)
"""What `--fail-on` takes."""


class _Violation(StrEnum):
    exponential = "exponential"
    softplus = "softplus"


class _Errors(StrEnum):
    multinomial = "multinomial"
    paper = "paper"


class _Correction(StrEnum):
    bh = "bh"
    by = "by"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(name="analyze")(_analyze)
    app.command(name="show")(_show)


@takes_source_options
def _analyze(
    source: SourceArgument,
    html: HtmlFile = None,
    json: JsonFile = None,
    junit: JUnitFile = None,
    baseline: Baseline = None,
    fail_on: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WHAT",
            help="Exit with 2 on: problem (the verdict says so), a kind of finding ("
            f"{', '.join(FINDING_KINDS)}), or violation (balance is broken by a cause that is "
            "neither structural nor work-flow). Several, or with commas.",
        ),
    ] = None,
    alpha: Annotated[
        float, typer.Option(help="Probability of a false alarm; false discovery rate of the loops.")
    ] = 0.05,
    violation: Annotated[
        _Violation, typer.Option(help="The violation function K.")
    ] = _Violation.exponential,
    beta: Annotated[float, typer.Option(help="Inverse temperature of K.")] = 1.0,
    attempts: Annotated[
        str, typer.Option(help="N0 of each state: observed, transitions, or a number.")
    ] = "observed",
    min_attempts: Annotated[int, typer.Option(help="Drop states with fewer attempts.")] = 2,
    errors: Annotated[
        _Errors, typer.Option(help="How errors of log ratios of rates are computed.")
    ] = _Errors.multinomial,
    correction: Annotated[
        _Correction, typer.Option(help="Benjamini-Hochberg, or Yekutieli for any dependence.")
    ] = _Correction.bh,
    min_visits: MinVisits = 10.0,
    run_url: RunUrl = None,
    in_order: Annotated[
        bool, typer.Option("--in-order", help="Runs without times are in the order of time.")
    ] = False,
    runs: Annotated[
        int, typer.Option(min=0, help="How many of the runs that matter to list; 0 for none.")
    ] = 50,
    *,
    reading: dict[str, Any],
) -> None:
    """Say what went wrong in which runs, since when, and what to do; then what drives the agent."""
    conditions = parse_conditions(fail_on or [], CONDITIONS)
    check_outputs({"--json": json, "--html": html, "--junit": junit})
    with late_progress() as progress:
        report = _run(
            source,
            beta=beta,
            violation=violation,
            alpha=alpha,
            attempts=_parse_attempts(attempts),
            min_attempts=min_attempts,
            baseline=baseline,
            errors=errors.value,
            correction=correction.value,
            min_visits=min_visits,
            runs=runs,
            run_url=run_url,
            in_order=in_order,
            progress=progress,
            **reading,
        )
    moved = report.counts.without_boundaries().total
    if not moved and (report.runs is None or report.source.skipped_count):
        raise InsufficientDataError(report.reason)
    files = {
        "--json": (json, report.to_json),
        "--html": (html, report.to_html),
        "--junit": (junit, lambda path: report.to_junit(path, conditions or None)),
    }
    deliver(report, files)
    if report.failures(conditions):
        raise typer.Exit(FOUND)


def _run(source: str, *, violation: _Violation, beta: float, **settings: Any) -> Report:
    from detailed_balance.analyzers import Exponential, Softplus
    from detailed_balance.report import analyze  # loads scipy

    kind = Exponential if violation is _Violation.exponential else Softplus
    return analyze(source, violation=kind(beta), **settings)


def _parse_attempts(text: str) -> str | float:
    if text in ("observed", "transitions"):
        return text
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is none of: observed, transitions, a number", param_hint="--attempts"
        ) from None


@takes_source_options
def _show(
    source: SourceArgument,
    run: Annotated[
        str,
        typer.Argument(metavar="RUN", help="The key or id of a run, or its beginning."),
    ],
    json: JsonFile = None,
    run_url: RunUrl = None,
    *,
    reading: dict[str, Any],
) -> None:
    """Show the path of one run: what it did, where it began to repeat itself, and its outcome."""
    from detailed_balance.report.run_page import show_run  # loads scipy
    from detailed_balance.sources.source import read_runs

    page = show_run(read_runs(source, **reading), run, run_url=run_url)
    deliver(page, {"--json": (json, page.to_json)}, soft_wrap=True)
