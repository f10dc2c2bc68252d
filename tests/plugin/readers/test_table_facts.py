"""The facts of steps that the fields of a table tell."""

import csv
import json
import random

import pandas as pd
import pytest

from detailed_balance import read_runs
from detailed_balance.analyzers.errors import InvalidInputError, ReadError
from detailed_balance.analyzers.runs.trajectory import StepFacts
from detailed_balance.readers import read_recording

FIELDS = {
    "failed_field": "failed",
    "tokens_field": "tokens",
    "call_field": "call",
    "answer_field": "answer",
}
STEPS = {"trajectory_field": "run", "state_field": "tool", **FIELDS}


def write_lines(path, *records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def facts_of(path, **options):
    """Return the facts of the moves of the only run."""
    (run,) = read_recording(path, **options).runs
    return list(run.facts)


def define(rows):
    """Return the facts of steps one after another: (failed, tokens, call, answer), as defined."""
    told = []
    for number, (failed, tokens, call, answer) in enumerate(rows, 1):
        before = rows[: number - 1]
        calls, answers = [row[2] for row in before], [row[3] for row in before]
        pairs = [row[2:] for row in before]
        told.append(
            StepFacts(
                failed=failed,
                call=(calls.index(call) + 1 if call in calls else number) if call else None,
                answer=(answers.index(answer) + 1 if answer in answers else number)
                if answer
                else None,
                repeats=bool(call) and call in calls,
                stale=bool(call and answer) and (call, answer) in pairs,
                call_size=len(call.encode()) if call else None,
                answer_size=len(answer.encode()) if answer else None,
                tokens=tokens,
            )
        )
    return told


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet", "frame"])
@pytest.mark.parametrize("seed", range(3))
def test_facts_of_steps_are_what_their_definition_says(tmp_path, form, seed):
    rng = random.Random(seed)
    names = ["run", "tool", "failed", "tokens", "call", "answer"]
    rows, expected = [], {}
    for run in ("A", "B"):
        told = [
            (rng.random() < 0.3, rng.randrange(9), rng.choice("xyé"), rng.choice(["", "u", "v"]))
            for _ in range(12)
        ]
        expected[run] = [*define(told), None]
        rows += [[run, rng.choice("abc"), *each] for each in told]
    table = pd.DataFrame(rows, columns=names)
    source = tmp_path / f"steps.{form}"
    if form == "csv":
        table.to_csv(source, index=False)
    elif form == "jsonl":
        write_lines(source, *table.to_dict("records"))
    elif form == "parquet":
        pq = pytest.importorskip("pyarrow.parquet")
        pa = pytest.importorskip("pyarrow")
        pq.write_table(pa.Table.from_pylist(table.to_dict("records")), source)
    else:
        source = table
    assert {run.name: list(run.facts) for run in read_runs(source, **STEPS)} == expected


def test_the_number_of_a_call_is_that_of_the_move_at_which_it_came_first(tmp_path):
    lines = [{"run": "A", "step": n, "tool": "t", "call": c} for n, c in enumerate("xyx", 7)]
    random.Random(1).shuffle(lines)
    path = write_lines(tmp_path / "steps.jsonl", *lines)
    options = {"trajectory_field": "run", "state_field": "tool", "call_field": "call"}
    assert [facts and facts.call for facts in facts_of(path, **options)] == [1, 2, 1, None]


def test_equal_objects_are_the_same_whatever_the_order_of_their_keys(tmp_path):
    path = write_lines(
        tmp_path / "steps.jsonl",
        {"run": "A", "tool": "t", "call": {"a": 1, "b": [2]}},
        {"run": "A", "tool": "t", "call": {"b": [2], "a": 1}},
        {"run": "A", "tool": "t", "call": {"b": [2, 2], "a": 1}},
    )
    options = {"trajectory_field": "run", "state_field": "tool", "call_field": "call"}
    first, again, other, _ = facts_of(path, **options)
    assert (first.repeats, again.repeats, other.repeats) == (False, True, False)
    assert first.call_size == len('{"a":1,"b":[2]}')


def test_what_happened_side_by_side_is_one_step(tmp_path):
    line = {"run": "A", "step": 1, "tokens": 3}
    path = write_lines(
        tmp_path / "steps.jsonl",
        line | {"tool": "a", "failed": 1, "call": "xx", "answer": "u"},
        line | {"tool": "b", "failed": 0, "call": "yyy", "answer": "v"},
        line | {"step": 2, "tool": "b", "call": "yyy", "answer": "v"},
        line | {"step": 2, "tool": "a", "call": "xx", "answer": "u"},
    )
    first, again, _ = facts_of(path, **STEPS)
    assert first == StepFacts(True, 1, 1, False, False, 5, 2, 6)
    assert again == StepFacts(False, 1, 1, True, True, 5, 2, 6)


def test_an_attempt_that_reached_no_state_has_its_own_facts(tmp_path):
    path = write_lines(
        tmp_path / "steps.jsonl",
        {"run": "A", "step": 1, "tool": "", "failed": True, "tokens": 5},
        {"run": "A", "step": 1, "tool": "a", "failed": False, "tokens": 2},
    )
    escape, reached, end = facts_of(path, **STEPS | {"call_field": None, "answer_field": None})
    assert (escape.failed, escape.tokens) == (True, 5)
    assert (reached.failed, reached.tokens, end) == (False, 2, None)


def test_moves_that_were_counted_together_share_their_tokens(tmp_path):
    path = tmp_path / "moves.csv"
    lines = ["source,target,run,count,tokens,call", "a,b,A,1,,x", "b,b,A,3,8,y", "b,a,A,1,,"]
    path.write_text("\n".join(lines) + "\n")
    options = {"trajectory_field": "run", "tokens_field": "tokens", "call_field": "call"}
    found = facts_of(path, **options)
    assert [facts and facts.tokens for facts in found] == [None, 3, 3, 2, None]
    assert [facts and (facts.call, facts.repeats) for facts in found] == [
        (1, False),
        (2, False),
        (2, True),
        (2, True),
        None,
    ]


def test_costs_and_facts_are_told_apart(tmp_path):
    path = write_lines(
        tmp_path / "steps.jsonl", {"run": "A", "tool": "a", "usd": 0.5, "tokens": 7, "failed": 0}
    )
    options = {"trajectory_field": "run", "state_field": "tool", "tokens_field": "tokens"}
    (run,) = read_recording(path, cost_field="usd", **options).runs
    assert (run.costs, run.facts[0].tokens, run.facts[0].cost) == ((0.5, 0.0), 7, None)


def test_a_table_without_facts_has_none(tmp_path):
    path = write_lines(
        tmp_path / "steps.jsonl", {"run": "A", "tool": "a", "call": None, "answer": ""}
    )
    options = {"call_field": "call", "answer_field": "answer"}
    (run,) = read_recording(path, trajectory_field="run", state_field="tool", **options).runs
    assert run.facts == ()


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("failed", "perhaps", "'failed' must be true, 1, false or 0; got 'perhaps'"),
        ("tokens", "-1", "'tokens' must be a whole number, 0 or more; got '-1'"),
        ("tokens", "1.5", "'tokens' must be a whole number"),
    ],
)
def test_a_value_of_no_use_is_named_with_its_line(tmp_path, field, value, message):
    path = tmp_path / "steps.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["run", "tool", field], ["A", "a", value]])
    options = {"trajectory_field": "run", "state_field": "tool", f"{field}_field": field}
    with pytest.raises(ReadError, match="line 2") as caught:
        read_recording(path, **options)
    assert message in str(caught.value)


def test_a_field_that_no_record_has_is_refused(tmp_path):
    path = write_lines(tmp_path / "steps.jsonl", {"run": "A", "tool": "a"})
    with pytest.raises(ReadError, match="call_field="):
        read_recording(path, trajectory_field="run", state_field="tool", call_field="cal")


def test_a_format_that_tells_facts_itself_refuses_fields_of_them(tmp_path):
    path = tmp_path / "chat.json"
    path.write_text(json.dumps([{"role": "user", "content": "hi"}]))
    with pytest.raises(InvalidInputError, match="call_field='x' is for tables"):
        read_recording(path, format="messages", call_field="x")
