"""A report as one self-contained page: no script, nothing fetched, readable in print."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from detailed_balance.plots.balance import plot_landscape, plot_loops, plot_pairs
from detailed_balance.plots.runs import plot_runs
from detailed_balance.render.html import (
    render_document,
    render_figure,
    render_section,
    render_verdict,
)
from detailed_balance.report.run_sections import (
    contrast_section,
    kind_section,
    limit_section,
    loop_place_section,
    run_section,
)
from detailed_balance.report.sections import (
    Section,
    data_section,
    loop_sections,
    settings_section,
    state_section,
    trap_section,
)

if TYPE_CHECKING:
    from detailed_balance.report.report import Report
    from detailed_balance.report._run_findings import RunFindings

__all__ = ["render_fragment", "render_landscape", "render_page"]

LOOPS_SHOWN = 50
STATES_SHOWN = 200
TRAPS_SHOWN = 50
CHANGES_SHOWN = 20


def render_page(report: Report) -> str:
    """Return a whole page; every text in it is escaped."""
    return render_document(report.verdict.headline, _page_parts(report))


def render_fragment(report: Report) -> str:
    """Return what a notebook shows of a report: the verdict, the landscape, loops and states."""
    compared = report.baseline is not None
    sections = [] if report.runs is None else [kind_section(report.runs)]
    sections += loop_sections(report.balance, compared=compared, limit=10)
    sections.append(state_section(report.potential, limit=15))
    parts = [*render_verdict(report.verdict), render_landscape(report)]
    return "\n".join([*parts, *map(render_section, sections)])


def _page_parts(report: Report) -> Iterator[str]:
    compared, runs = report.baseline is not None, report.runs
    yield from render_verdict(report.verdict)
    if runs is not None:
        yield from map(render_section, _sections(kind_section(runs), run_section(runs)))
    yield f"<h2>The landscape</h2>\n{render_landscape(report)}"
    loops = loop_sections(report.balance, compared=compared, limit=LOOPS_SHOWN)
    yield from map(render_section, loops)
    if runs is not None:
        yield from map(render_section, _sections(loop_place_section(runs, limit=LOOPS_SHOWN)))
    yield "<h2>The evidence, pair by pair and loop by loop</h2>"
    yield f'<div class="side">\n{_pairs(report)}\n{_loops(report)}\n</div>'
    yield render_section(data_section(report))
    yield render_section(state_section(report.potential, limit=STATES_SHOWN))
    if traps := trap_section(report.traps, limit=TRAPS_SHOWN):
        yield render_section(traps)
    if runs is not None:
        yield from _run_parts(runs)
    yield render_section(settings_section(report))


def _run_parts(runs: RunFindings) -> Iterator[str]:
    """Yield the potential along runs, the comparison with successful ones, and the limit."""
    if runs.chosen:
        yield f"<h2>The potential along runs</h2>\n{_along(runs)}"
    sections = _sections(contrast_section(runs, limit=CHANGES_SHOWN), limit_section(runs))
    yield from map(render_section, sections)


def _sections(*sections: Section | None) -> Iterator[Section]:
    return (section for section in sections if section is not None)


def render_landscape(report: Report) -> str:
    """Return the picture of a landscape with its caption."""
    n = len(report.potential.states)
    return render_figure(
        plot_landscape(report),
        f"Levels of {n} states by their potential, arrows for the moves between them. "
        f"{report.verdict.headline}.",
        "Height: the potential V. Agents run downhill, and grey arrows are wider the more often "
        "they were walked. A driven loop is coloured, in the direction in which it is walked more "
        "often than detailed balance allows; a trap has a green border.",
    )


def _pairs(report: Report) -> str:
    return render_figure(
        plot_pairs(report),
        f"Log ratios of rates against drops of the potential for {len(report.balance.pairs)} "
        "pairs of states; under detailed balance they lie on the diagonal.",
        "Each point is a pair of states that was walked both ways. The log ratio of its two rates "
        "is the drop of the potential, where detailed balance holds (bars: one standard error).",
    )


def _loops(report: Report) -> str:
    return render_figure(
        plot_loops(report),
        f"Sums of log rates of {len(report.balance.loops)} loops, one way round against the "
        "other; under detailed balance they lie on the diagonal.",
        "Each point is a loop. Its rates multiplied up are the same both ways round, where "
        "detailed balance holds (bars: one standard error).",
    )


def _along(runs: RunFindings) -> str:
    return render_figure(
        plot_runs(runs),
        f"The potential at each move of {len(runs.chosen)} runs.",
        "Of the runs that matter the worst of each sort, and one of median length that succeeded. "
        "The colour changes where a run begins to repeat itself. A run that gets somewhere goes "
        "down.",
    )
