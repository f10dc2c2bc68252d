"""Runs that repeat themselves are found by one rule, agent by agent, and counted alike."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from detailed_balance import Monitor, Transition, TransitionStore, analyze, read_runs
from detailed_balance.analyzers import Outcome, Trajectory
from detailed_balance.callbacks import Ending
from detailed_balance.dashboard._runs import KnownRuns
from detailed_balance.diagnosis.onsets import find_onsets

STUCK = {f"stuck-{number}" for number in range(0, 60, 6)}


@pytest.fixture
def store() -> Iterator[TransitionStore]:
    """Two agents: "busy" makes 40 changes at its work, "stuck" fails in 10 of 60 runs, at 16."""
    with TransitionStore("sqlite://") as kept:
        for number in range(60):
            record(kept, f"busy-{number}", 20, failed=False)
            name = f"stuck-{number}"
            record(kept, name, 8 if name in STUCK else 1, failed=name in STUCK)
        yield kept


def record(store: TransitionStore, name: str, rounds: int, *, failed: bool) -> None:
    labels = (("graph", name.partition("-")[0]),)
    states = ["__start__", *"xyz", *"ab" * rounds, *([] if failed else ["__end__"])]
    outcome = Outcome.FAILED if failed else Outcome.ENDED
    store.append(Transition(*move, name, labels, run=name) for move in pairwise(states))
    store.append([Ending(name, outcome, run=name)])


def test_a_run_is_compared_with_runs_of_its_own_agent(store: TransitionStore) -> None:
    table = read_runs(store)
    assert {table.runs.name[place] for place in find_onsets(table)} == STUCK


def test_a_monitor_counts_the_runs_that_the_tiles_of_the_dashboard_count(
    store: TransitionStore,
) -> None:
    known = KnownRuns.of(read_runs(store), is_part=False)
    tiles = known.tiles(known.choose((), (None, None)))
    monitor = Monitor(store)
    monitor.poll()
    status = monitor.status()
    monitor.stop()
    assert tiles == {"runs": 120, "failed": 10, "limited": 0, "repeating": 10}
    assert {name: getattr(status, name) for name in tiles} == tiles


@pytest.mark.parametrize(
    ("stuck", "since"),
    [
        ((2, 15, 25), "throughout the 30 recorded runs"),
        ((15, 20, 25), "first in run 16 of 30; no change of the rate was found"),
    ],
)
def test_what_begins_late_is_not_called_there_throughout(
    stuck: tuple[int, ...], since: str
) -> None:
    shuttle = (("a", "b"), ("b", "a")) * 9
    runs = [
        Trajectory(shuttle, f"t{number}", Outcome.RECURSION_LIMIT, started=60.0 * number)
        if number in stuck
        else Trajectory((("a", "b"),), f"t{number}", Outcome.ENDED, started=60.0 * number)
        for number in range(30)
    ]
    (finding,) = analyze(runs).findings
    assert (finding.since, finding.onset) == (since, None)


def test_an_onset_counts_runs_where_many_are_taken_together() -> None:
    good, bad = (("a", "b"),), (("a", "b"), ("b", "a")) * 9
    runs = [
        Trajectory(bad, f"t{number}", Outcome.RECURSION_LIMIT, started=60.0 * number)
        if number >= 4000
        else Trajectory(good, f"t{number}", Outcome.ENDED, started=60.0 * number)
        for number in range(6000)
    ]
    onset = analyze(runs).findings[0].onset
    assert onset is not None
    assert (onset.before[0] + onset.after[0], onset.before[1] + onset.after[1]) == (2000, 6000)
    assert abs(onset.before[1] - 4000) < 6
    assert onset.time == 60.0 * onset.before[1]


def test_several_agents_have_no_limit_of_steps_in_common(store: TransitionStore) -> None:
    runs = analyze(store).runs
    assert runs is not None
    assert runs.limit is None


def test_states_with_numbers_in_them_are_merged_by_one_command(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    moves = [f"t,doc_{n},doc_{n + 1}" for n in range(400)]
    path.write_text("\n".join(["trajectory,source,target", *moves]))
    (finding,) = (f for f in analyze(path).findings if f.kind == "cardinality")
    assert [a.code.partition(" --merge ")[2] for a in finding.advice] == ["'doc_*=doc'"]
