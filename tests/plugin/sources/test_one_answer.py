"""One table gives one answer: in every format, out of a store, and in every order of its rows."""

import random
from dataclasses import replace

import pytest

from detailed_balance import analyze, read_runs
from detailed_balance.sources.imports import import_trace
from detailed_balance.sources.source import open_source
from tests.plugin.readers.test_engine import (
    columns_of_runs,
    write_csv,
    write_jsonl,
    write_parquet,
)

FIELDS = {
    "trajectory_field": "run",
    "time_field": "time",
    "success_field": "ok",
    "context_fields": ["model", "team"],
}
STEPS = {**FIELDS, "state_field": "tool"}
MOVES = {**FIELDS, "step_field": "step"}


def make_steps(*, retries=True, seed=5):
    """Return the steps of 40 runs that lie side by side in time, as texts, sorted by their time."""
    noise, rows = random.Random(seed), []
    for number in range(40):
        now = 1_700_000_000 + noise.randrange(50)
        ok = noise.choice(["success", "failure", "ended", "interrupted", ""])
        labels = {"model": noise.choice("xy"), "team": noise.choice(["red", "blue", ""])}
        for step in range(noise.randrange(1, 9)):
            now += noise.randrange(1, 9) / 8
            tool = noise.choice(["plan", "search", "read|write", "é"])
            if retries and step and noise.random() < 0.1:
                tool = ""
            row = {"run": f"run {number}", "step": str(step), "time": str(now), "tool": tool}
            rows.append(row | {"ok": ok if step else noise.choice([ok, ""])} | labels)
    return sorted(rows, key=lambda row: float(row["time"]))


def make_moves():
    """Return the same as moves, with START and END."""
    here, moves = {}, []
    for row in make_steps(retries=False):
        source = here.get(row["run"], "__start__")
        here[row["run"]] = row["tool"]
        moves.append({**row, "source": source, "target": row["tool"]})
    for run, state in here.items():
        last = next(row for row in reversed(moves) if row["run"] == run)
        end = {"step": "99", "time": str(float(last["time"]) + 1)}
        moves.append({**last, **end, "source": state, "target": "__end__", "ok": ""})
    return [{name: value for name, value in move.items() if name != "tool"} for move in moves]


def columns_of(runs):
    """Return what is known of runs, where labels have whatever codes."""
    columns = columns_of_runs(runs)
    contexts = columns.pop("contexts")
    return columns | {"context": [contexts[code] for code in columns["context"][1]]}


def answer(source, **options):
    """Return a report as a mapping and as text, but for the name of the source."""
    opened = open_source(source, **options)
    opened.command = ""
    report = analyze(opened)
    report = replace(report, source=replace(report.source, description="it"))
    return report.to_dict(), str(report)


@pytest.mark.parametrize(
    ("make", "options"), [(make_steps, STEPS), (make_moves, MOVES)], ids=["steps", "moves"]
)
def test_a_file_in_every_format_and_its_store_give_one_answer(tmp_path, make, options):
    rows = make()
    empty_is_none = [{name: value or None for name, value in row.items()} for row in rows]
    paths = [
        write_csv(tmp_path / "t.csv", rows),
        write_jsonl(tmp_path / "t.jsonl", empty_is_none),
        write_parquet(tmp_path / "t.parquet", empty_is_none),
    ]
    sources = [(path, options) for path in paths]
    for path in paths:
        store = path.with_suffix(f"{path.suffix}.db")
        import_trace(path, store, **options)
        sources.append((store, {}))
    columns, answers = [], []
    for path, how in sources:
        columns.append(columns_of(read_runs(path, **how)))
        answers.append(answer(path, **how))
    assert len(columns[0]["context"]) == 40
    for other in range(1, len(sources)):
        assert columns[other] == columns[0]
        assert answers[other] == answers[0]


def test_50_orders_of_the_rows_change_no_number_and_no_word(tmp_path):
    rows = make_steps()
    path = write_csv(tmp_path / "t.csv", rows)
    columns, expected = columns_of_runs(read_runs(path, **STEPS)), answer(path, **STEPS)
    for seed in range(50):
        random.Random(seed).shuffle(rows)
        write_csv(path, rows)
        assert columns_of_runs(read_runs(path, **STEPS)) == columns
        if seed % 10 == 0:
            assert answer(path, **STEPS) == expected
