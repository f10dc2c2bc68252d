"""What to do, tried on the runs of the record: what it would have stopped, saved and hurt."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import suppress
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np

from detailed_balance.analyzers import RepetitionLimits, RunGuard
from detailed_balance.analyzers.errors import InsufficientDataError
from detailed_balance.analyzers.repetition.result import LEAST
from detailed_balance.diagnosis.finding import Advice, FindingKind
from detailed_balance.diagnosis.words import UNNAMED
from detailed_balance.render.formatting import count_noun

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from detailed_balance.analyzers import RunTable
    from detailed_balance.diagnosis.case import Case
    from detailed_balance.diagnosis.finders._repeating_runs import RepeatingRuns

_PYTHON_NAMES = {"order_field": "step_field"}
_RULES = {"stay": "max_stay", "shuttle": "max_shuttle", "cycle": "max_rounds"}
_FEWEST_GOOD, _FEWEST_FAILED = 20, 5
_MOST_MOVES = 50_000
"""Of a longer record no guard is fitted to try it."""

_ALPHA = 0.1
"""The share of successful runs that a guard may stop, as `RunGuard.fit` has it."""


def advise_on_repetition(case: Case, group: RepeatingRuns) -> tuple[Advice, ...]:
    """Return what would have stopped runs that repeat themselves, and the gate."""
    kind: FindingKind = "limit" if group.limited else "repetition"
    return (*_try_limit(case, group), *_try_rule(case, group), *gate(case, kind))


def gate(case: Case, kind: FindingKind) -> Iterator[Advice]:
    """Yield the gate of a pipeline that fails on a kind of finding, as it does on this record."""
    if case.command:
        code = f"detailed-balance analyze {case.command} --fail-on {kind}"
        yield Advice("exits with 2 in a pipeline, as on this record", code)


def _try_limit(case: Case, group: RepeatingRuns) -> Iterator[Advice]:
    """Yield the limit of steps that successful runs suggest, where it would have stopped some."""
    study, roots = case.study, case.roots
    if study is None or study.limit is None or group.inside:
        return
    limit, supersteps = study.limit.limit, study.limit_unit == "supersteps"
    taken = study.table.runs.limit_steps if supersteps else roots.moves
    own = np.array(sorted(group.roots), dtype=np.int64)
    stopped = own[taken[own] > limit]
    if not stopped.size:
        return
    saved = int((roots.moves[stopped] * (taken[stopped] - limit) // taken[stopped]).sum())
    good = np.setdiff1d(roots.places[roots.succeeded[roots.places]], own)
    recovered, others = int(roots.succeeded[stopped].sum()), int((taken[good] > limit).sum())
    promise = (
        f"{study.limit.confidence:.0%} sure that at most {1 - study.limit.share:.1%} of successful "
        "runs need more"
    )
    unit = "supersteps" if supersteps else "moves"
    effect, runs = _effect(len(stopped), recovered, saved, others), study.limit.runs
    text = (
        f"{effect} ({count_noun(runs, 'successful run')} took {study.limit.longest:,} {unit} at "
        f"most; "
        f"{promise})"
    )
    code = f'{{"recursion_limit": {limit}}}' if supersteps else ""
    yield Advice(
        text if supersteps else f"lower the step limit to {count_noun(limit, 'move')}: {text}",
        code,
        len(stopped),
        saved,
        recovered + others,
    )


def _effect(stopped: int, recovered: int, saved: int, others: int | None) -> str:
    """Say what would have been: `recovered` runs of the finding and `others` ended well.

    `others` is None where no successful run is known.
    """
    some = f" ({recovered:,} of them got out of it and succeeded)" if recovered else ""
    other = "other successful run" if recovered else "successful run"
    ended = f"would have ended {stopped:,} of these runs{some}, saving {count_noun(saved, 'move')}"
    if others is None:
        return f"{ended}; no successful run is known that it could have ended"
    return f"{ended}, and {count_noun(others, other) if others else f'no {other}'}"


def _try_rule(case: Case, group: RepeatingRuns) -> Iterator[Advice]:
    """Yield a rule just above what successful runs repeat, where it would have stopped some."""
    study, kind = case.study, group.kind
    if study is None or kind not in _RULES or not group.rows:
        return
    measured = study.measured
    evidence = {"stay": measured.stays, "shuttle": measured.shuttles, "cycle": measured.cycles}
    times = evidence[kind]().times
    good = case.roots.succeeded[study.root] & ~np.isin(study.root, sorted(group.roots))
    stated = study.repetition.rules
    fallback = ceil(stated.visits) if kind != "cycle" else stated.rounds
    least = max(LEAST[kind], int(times[good].max())) if good.any() else fallback
    name = _RULES[kind]
    places = np.array(sorted(row.place for row in group.rows.values()), dtype=np.int64)
    limits: dict[str, Any] = {name: least}
    rules = RepetitionLimits(**limits)
    table = study.table.select(places)
    over = rules.risks(table) > 1
    stopped, saved = _after_first(over, table)
    if not stopped:
        return
    worked = case.roots.succeeded[study.root[places]]
    recovered = _after_first(over & worked[table.run_of_move], table)[0]
    code = f'RunGuardMiddleware(RunGuard.from_rules({name}={least}), "end")'
    others = 0 if good.any() or recovered else None
    yield Advice(_effect(stopped, recovered, saved, others), code, stopped, saved, recovered)


def _after_first(over: NDArray[np.bool_], table: RunTable) -> tuple[int, int]:
    """Return how many runs are stopped at the first move that is over, and the moves after it."""
    run = table.run_of_move
    number = np.arange(table.total) - table.offsets[run]
    first = np.full(len(table), np.iinfo(np.int64).max)
    np.minimum.at(first, run[over], number[over])
    stopped = first < np.iinfo(np.int64).max
    return int(stopped.sum()), int((table.lengths[stopped] - 1 - first[stopped]).sum())


def try_guard(case: Case) -> Iterator[Advice]:
    """Yield a guard fitted to half of the runs and tried on the other half, and the reverse."""
    roots = case.roots
    table = roots.table
    known = roots.places[table.runs.success[roots.places] >= 0]
    good, failed = (int(each[known].sum()) for each in (roots.succeeded, roots.failed))
    if good < _FEWEST_GOOD or failed < _FEWEST_FAILED or table.total > _MOST_MOVES:
        return
    chosen = table.select(known)
    order = np.argsort(chosen.order())
    half = np.random.default_rng(0).permutation(len(chosen))[order] % 2 == 0
    stopped = saved = hurt = 0
    with suppress(InsufficientDataError):
        for fitted, tried in ((half, ~half), (~half, half)):
            guard = RunGuard.fit(chosen.select(fitted), alpha=_ALPHA)
            if guard.threshold is None:
                return
            other = chosen.select(tried)
            over = guard.score.risks(other) > guard.threshold  # type: ignore[attr-defined]
            worked = other.runs.success[other.run_of_move] == 1
            number, moves = _after_first(over & ~worked, other)
            stopped, saved = stopped + number, saved + moves
            hurt += _after_first(over & worked, other)[0]
        if stopped and saved:
            yield Advice(
                f"fitted to one half and tried on the other: would have ended {stopped:,} of "
                f"{failed:,} failed runs, saving {count_noun(saved, 'move')}, and {hurt:,} of "
                f"{count_noun(good, 'successful run')}",
                f'RunGuardMiddleware(RunGuard.fit({_say_how_to_read(case)}), "end")',
                stopped,
                saved,
                hurt,
            )


def _say_how_to_read(case: Case) -> str:
    """Return the line of Python that reads the runs, as a command line would."""
    path, *words = shlex.split(case.command) or [""]
    flags, values = words[::2], words[1::2]
    if not path or not all(flag.endswith("-field") for flag in flags):
        return "read_runs(source)"
    names = (flag.removeprefix("--").replace("-", "_") for flag in flags)
    options = {
        _PYTHON_NAMES.get(name, name): value for name, value in zip(names, values, strict=True)
    }
    given = [repr(path), *(f"{name}={value!r}" for name, value in options.items())]
    if case.graph not in ("", UNNAMED):
        given.append(f"context={{'graph': {case.graph!r}}}")
    return f"read_runs({', '.join(given)})"
