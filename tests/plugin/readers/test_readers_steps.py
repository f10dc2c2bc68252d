"""Steps become paths, whatever order they come in, and each of them is accounted for."""

import random

import pytest
from hypothesis import given, strategies as st

from detailed_balance import read_runs
from detailed_balance.analyzers.counts import END, START
from detailed_balance.analyzers.errors import ReadError
from detailed_balance.analyzers.runs.trajectory import Outcome
from detailed_balance.callbacks import Ending
from detailed_balance.callbacks.transition import Transition
from detailed_balance.readers import read_transitions
from detailed_balance.readers.records import _external_sort as sorting
from detailed_balance.readers.records.base import BadLines
from detailed_balance.readers.records.steps import connect_steps
from detailed_balance.readers.records.values import Step


def follow(*steps):
    """Return the moves of some steps, and their account."""
    bad = BadLines("test", skip=True)
    moves = [record for record in connect_steps(steps, bad) if isinstance(record, Transition)]
    return [(move.source, move.target) for move in moves], bad


def path(*states):
    return list(zip((START, *states), (*states, END), strict=True))


def test_steps_are_sorted_by_number_whatever_the_clock_says():
    moves, bad = follow(Step("T", "c", 3, 10.0), Step("T", "a", 1, 99.0), Step("T", "b", 2, -5.0))
    assert moves == path("a", "b", "c")
    assert (bad.duplicates, bad.reordered) == (0, 1)


def test_steps_without_numbers_are_sorted_by_time_then_by_place():
    times = [5.0, 1.0, 1.0, 3.0]
    moves, _ = follow(*[Step("T", s, None, t) for s, t in zip("dabc", times, strict=True)])
    assert moves == path("a", "b", "c", "d")


def test_steps_without_number_and_time_keep_their_place():
    assert follow(Step("T", "b"), Step("T", "a"))[0] == path("b", "a")


def test_trajectories_that_interleave_are_told_apart_in_the_order_of_their_begin():
    moves, _ = follow(*[Step(t, f"{t}{i}", i) for i in range(3) for t in "VUT"])
    assert moves == [*path("V0", "V1", "V2"), *path("U0", "U1", "U2"), *path("T0", "T1", "T2")]


def test_steps_of_one_number_are_one_state():
    assert follow(Step("T", "b", 1), Step("T", "a", 1), Step("T", "c", 2))[0] == path("a|b", "c")


def test_the_same_state_at_the_same_step_is_a_duplicate():
    moves, bad = follow(Step("T", "a", 1, 1.0), Step("T", "b", 2, 2.0), Step("T", "a", 1, 9.0))
    assert (moves, bad.duplicates) == (path("a", "b"), 1)


def test_the_same_event_is_a_duplicate_wherever_it_stands():
    moves, bad = follow(*[Step("T", s, event=e) for s, e in [("a", "1"), ("b", "2"), ("a", "1")]])
    assert (moves, bad.duplicates) == (path("a", "b"), 1)
    moves, bad = follow(Step("T", "a", event="1"), Step("U", "a", event="1"))
    assert (moves, bad.duplicates) == (path("a") * 2, 0)


def test_a_state_again_without_number_is_a_self_loop():
    assert follow(Step("T", "a", None, 1.0), Step("T", "a", None, 1.0))[0] == path("a", "a")


def test_an_attempt_that_failed_comes_before_the_retry_of_its_step():
    moves, _ = follow(Step("T", "a", 1), Step("T", "b", 2, 6.0), Step("T", None, 2, 5.0))
    assert moves == [(START, "a"), ("a", None), ("a", "b"), ("b", END)]
    assert follow(Step("T", None, 1), Step("T", None, 1))[1].duplicates == 0
    assert follow(Step("T", None, 1, 1.0), Step("T", None, 1, 1.0))[1].duplicates == 1


def test_a_start_amid_a_trajectory_begins_another_run():
    states = (START, "a", END, START, "b")
    assert follow(*[Step("T", s) for s in states])[0] == [*path("a"), *path("b")]


@pytest.mark.parametrize("outcome", list(Outcome))
def test_only_a_run_that_ended_has_an_end(outcome):
    moves, _ = follow(Ending("T", outcome), Step("T", "a"))
    assert (("a", END) in moves) == (outcome is Outcome.ENDED)


def test_an_ending_comes_after_its_moves_with_what_is_known_of_them():
    bad = BadLines("test", skip=True)
    steps = [Ending("T", success=True), Step("T", "a", None, 7.0, (("model", "m"),))]
    steps.append(Ending("T", Outcome.FAILED, "ValueError"))
    *_, last = connect_steps(steps, bad)
    assert last == Ending("T", Outcome.FAILED, "ValueError", True, (("model", "m"),), 7.0)


@given(
    steps=st.lists(
        st.builds(
            Step,
            trajectory=st.none() | st.sampled_from(["T", "U", "\x00", "'"]),
            state=st.none() | st.sampled_from(["a", "b", START, END, "é\x1b"]),
            step=st.none() | st.integers(-3, 3) | st.just(2**63 - 1),
            time=st.none() | st.floats(allow_nan=False, allow_infinity=False),
            event=st.none() | st.sampled_from(["1", "2"]),
        ),
        max_size=20,
    ),
    seed=st.integers(0, 9),
)
def test_numbered_steps_give_the_same_paths_in_any_order(steps, seed):
    numbered = [Step(s.trajectory, s.state, i, s.time, event=None) for i, s in enumerate(steps)]
    shuffled = random.Random(seed).sample(numbered, len(numbered))
    by_name = lambda moves: sorted(moves, key=str)  # noqa: E731 - runs may begin in another order
    assert by_name(follow(*shuffled)[0]) == by_name(follow(*numbered)[0])
    moves, bad = follow(*steps)
    kept = [s for s in steps if s.state not in (START, END)]
    assert bad.duplicates <= len(steps)
    assert sum(target not in (END, None) for _, target in moves) <= len(kept)


def test_what_does_not_fit_on_the_disk_is_a_clear_error(monkeypatch):
    full = "PRAGMA max_page_count = 3;" + sorting._TABLE
    monkeypatch.setattr(sorting, "_TABLE", full)
    with pytest.raises(ReadError, match="make room for it"):
        follow(*[Step("T", "x" * 1_000, i) for i in range(1_000)])


def test_a_consumer_that_stops_early_leaves_no_file(tmp_path, monkeypatch):
    monkeypatch.setenv("SQLITE_TMPDIR", str(tmp_path))
    moves = connect_steps((Step("T", str(i), i) for i in range(100)), BadLines("test", skip=True))
    next(iter(moves))
    moves.close()
    assert list(tmp_path.iterdir()) == []


# Steps in tables

HEADER = "run,node,tool,at,id,ok\n"


def write(folder, *rows):
    (folder / "t.csv").write_text(HEADER + "\n".join(rows) + "\n")
    return folder / "t.csv"


def test_a_template_names_states_by_several_fields(tmp_path):
    table = write(tmp_path, "1,model,,1,,", "1,tools,search,2,,")
    moves = list(read_transitions(table, state_field="{node}:{tool}", trajectory_field="run"))
    assert [move.target for move in moves] == ["model:", "tools:search", END]


def test_a_template_reaches_nothing_but_fields(tmp_path):
    table = write(tmp_path, "1,model,,1,,")
    with pytest.raises(ReadError, match=r"no field 'node.__class__'.*state_field="):
        list(read_transitions(table, state_field="{node.__class__}"))


def test_a_state_function_may_pass_over_records(tmp_path):
    table = write(tmp_path, "1,model,,1,,", "1,tools,search,2,,", "1,model,,3,,")
    reader = read_transitions(table, states=lambda r: r["tool"], trajectory_field="run")
    assert [move.target for move in reader] == ["search", END]
    assert reader.read_count == 3


def test_a_state_function_that_fails_names_the_line(tmp_path):
    table = write(tmp_path, "1,model,,1,,", "1,,,2,,")
    reader = read_transitions(table, states=lambda r: r["node"].upper(), skip_bad_lines=True)
    assert [move.target for move in reader] == ["MODEL", END]
    (skipped,) = reader.skipped
    assert skipped.line == 3
    assert "the state function failed (AttributeError" in skipped.reason
    with pytest.raises(ReadError, match="must give texts; it gave 5"):
        list(read_transitions(table, states=lambda r: 5))


def test_every_record_is_read_skipped_or_a_duplicate(tmp_path):
    rows = ["1,a,,2,x,1", "2,a,,1,y,0", "1,a,,2,x,1", "1,b,,soon,z,1", "1,b", "1,b,,1,w,1"]
    reader = read_transitions(
        write(tmp_path, *rows),
        state_field="node",
        trajectory_field="run",
        time_field="at",
        event_field="id",
        success_field="ok",
        skip_bad_lines=True,
    )
    moves = list(reader)
    assert [(m.trajectory, m.target) for m in moves if m.target != END] == [
        ("1", "b"),
        ("1", "a"),
        ("2", "a"),
    ]
    account = (reader.read_count, reader.skipped_count, reader.duplicate_count)
    assert account == (3, 2, 1)
    assert sum(account) == len(rows)
    assert reader.reordered_count == 2


def test_runs_of_a_table_know_their_success(tmp_path):
    table = write(tmp_path, "1,a,,1,,true", "2,a,,1,,failure", "3,a,,1,,cancelled", "4,a,,1,,")
    options = {"state_field": "node", "trajectory_field": "run", "success_field": "ok"}
    runs = read_runs(table, **options)
    assert [(run.name, run.outcome, run.success) for run in runs] == [
        ("1", Outcome.ENDED, True),
        ("2", Outcome.ENDED, False),
        ("3", Outcome.CANCELLED, False),
        ("4", Outcome.ENDED, None),
    ]


def test_threads_used_twice_are_judged_run_by_run(tmp_path):
    rows = ["begin,a,T,1", "a,done,T,1", "begin,b,T,0", "b,done,T,0"]
    (tmp_path / "t.csv").write_text("source,target,trajectory,ok\n" + "\n".join(rows))
    options = {"boundaries": ("begin", "done"), "success_field": "ok"}
    first, second = read_runs(tmp_path / "t.csv", **options)
    assert (first.states, first.success) == (("a",), True)
    assert (second.states, second.success) == (("b",), False)
