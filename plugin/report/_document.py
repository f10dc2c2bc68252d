"""The document of a report: its first screen, its tables and its pictures, in order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from detailed_balance import plots
from detailed_balance.render.document import Document, Part, Picture, SideBySide
from detailed_balance.render.formatting import safe_text
from detailed_balance.render.links import link_run
from detailed_balance.report.landscape import landscape_picture
from detailed_balance.report.run_sections import (
    contrast_section,
    kind_section,
    limit_section,
    loop_place_section,
    repetition_section,
    run_section,
)
from detailed_balance.report.sections import (
    data_section,
    loop_section,
    settings_section,
    state_section,
    trap_section,
)

if TYPE_CHECKING:
    from detailed_balance.diagnosis.study import RunStudy
    from detailed_balance.report.report import Report


def make_document(report: Report) -> Document:
    """Return what is shown of a report, in the order in which people ask."""
    parts = tuple(part for part in _parts(report) if part is not None)
    settings = settings_section(
        report.alpha, report.potential, report.balance, report.traps, report.baseline, report.runs
    )
    return Document(report.verdict, parts, settings, links=_links(report))


def _links(report: Report) -> dict[str, str]:
    """Return the address of each run that is named, by its name as it is shown."""
    if not report.run_url:
        return {}
    names = [name for finding in report.findings for name in finding.runs]
    if report.runs is not None:
        names += [row.name for row in report.runs.report.rows if row.name is not None]
    return {
        safe_text(name, width): link_run(report.run_url, name)
        for name in names
        for width in (40, 80)
    }


def _parts(report: Report) -> Iterator[Part | None]:
    runs, potential, balance = report.runs, report.potential, report.balance
    if runs is not None:
        yield kind_section(runs)
        yield repetition_section(runs)
        yield run_section(runs)
    if potential is not None and balance is not None:
        yield landscape_picture(report)
        yield loop_section(balance)
        if runs is not None:
            yield loop_place_section(runs)
        yield SideBySide(
            "The evidence, pair by pair and loop by loop", (_pairs(report), _loops(report))
        )
        yield state_section(potential)
    yield trap_section(report.traps)
    if runs is not None:
        if runs.chosen:
            yield _runs(runs)
        yield contrast_section(runs)
        yield limit_section(runs)
    yield data_section(report.counts, potential, balance, report.source)


def _pairs(report: Report) -> Picture:
    number = 0 if report.balance is None else len(report.balance.pairs)
    return Picture(
        lambda: plots.plot_pairs(report),
        f"Log ratios of rates against drops of the potential for {number} pairs of states; under "
        "detailed balance they lie on the diagonal.",
        "Each point is a pair of states that was walked both ways. The log ratio of its two rates "
        "is the drop of the potential, where detailed balance holds (bars: one standard error).",
    )


def _loops(report: Report) -> Picture:
    number = 0 if report.balance is None else len(report.balance.loops)
    return Picture(
        lambda: plots.plot_loops(report),
        f"Sums of log rates of {number} loops, in one direction against the other; under detailed "
        "balance they lie on the diagonal.",
        "Each point is a loop. The product of its rates is the same in both directions, where "
        "detailed balance holds (bars: one standard error).",
    )


def _runs(runs: RunStudy) -> Picture:
    return Picture(
        lambda: plots.plot_runs(runs.chosen),
        f"The potential at each move of {len(runs.chosen)} runs.",
        "Of the runs that matter the worst of each sort, and one of median length that succeeded. "
        "The colour changes where a run begins to repeat itself. A run that gets somewhere goes "
        "down.",
        "The potential along runs",
        ("page",),
    )
