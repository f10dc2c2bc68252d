"""What DuckDB reads of a table is what the readers of records read of it, to the last digit.

``DETAILED_BALANCE_TEST_TABLES=250`` sets how many random tables there are of each kind.
"""

import csv
import gzip
import io
import json
import os
import random
from dataclasses import fields

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from detailed_balance.analyzers.errors import DetailedBalanceError, ReadError
from detailed_balance.analyzers.runs.columns import RunColumns
from detailed_balance.analyzers.runs.table import RunTable
from detailed_balance.readers import read_recording, recording
from detailed_balance.readers.tables import engine as tables_engine
from tests.plugin.readers.test_readers_fuzz import AS_STEPS, LOG, MOVE, STEPS as FUZZED_STEPS, TABLE
from tests.support.chains import AIRLINE, data_file

EXAMPLES = int(os.environ.get("DETAILED_BALANCE_TEST_TABLES", "25"))
FEW = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def read_by_records(path, **options):
    """Read a table as if there were no engine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recording, "read_table", lambda *_, **__: None)
        return read_recording(path, **options)


def read_by_engine(path, **options):
    """Read a table, and say whether the engine did."""
    used = []

    def read(*arguments, **settings):
        content = engine(*arguments, **settings)
        used.append(content is not None)
        return content

    engine = recording.read_table
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recording, "read_table", read)
        return read_recording(path, **options), used == [True]


def outcome_of(read, path, **options):
    try:
        return read(path, **options)
    except DetailedBalanceError as error:
        return str(error)


def columns_of(found):
    """Return all that is known of a recording, in a form that `==` compares."""
    if isinstance(found, str):
        return found
    account = {f.name: getattr(found, f.name) for f in fields(found)}
    counts, runs = account.pop("counts"), account.pop("runs")
    account["states"] = counts.states
    account["moves"] = counts.counts.toarray().tolist()
    account["attempts"] = counts.attempts.tolist()
    return account | ({} if runs is None else columns_of_runs(runs))


def columns_of_runs(runs: RunTable):
    plain = {name: plain_values(getattr(runs.runs, name)) for name in RunColumns._fields}
    plain |= {name: plain_values(getattr(runs, name)) for name in ("source", "target", "offsets")}
    costs = None if runs.costs is None else plain_values(runs.costs)
    return plain | {
        "names": runs.states,
        "contexts": runs.contexts,
        "blocks": runs.blocks,
        "costs": costs,
    }


def plain_values(column):
    values = [None if value != value else value for value in column.tolist()]
    return (str(column.dtype), values)


def check(path, **options):
    """Read a file both ways, hold one against the other, and return what the engine read."""
    expected = columns_of(outcome_of(read_by_records, path, **options))
    found, used = read_by_engine(path, **options) if isinstance(expected, dict) else (None, False)
    if found is None:
        with pytest.raises(DetailedBalanceError) as caught:
            read_recording(path, **options)
        assert str(caught.value) == expected
        return None
    assert columns_of(found) == expected
    return found if used else None


# Tables of any kind

names = st.sampled_from(["a", "b", "c", "search web", 'say "hi"', "x,y", "é", "😀", "1", "1.0"])
odd_names = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), min_size=1, max_size=4)
states = names | st.sampled_from(["begin", "done", "__start__", "__end__", "a|b"]) | odd_names
runs_of = st.sampled_from(["T", "U", "V", "run 10", "run 9", "", "7"])
steps_of = st.none() | st.integers(0, 4) | st.sampled_from(["3.0", "-1", "0x1", "1e2", "+2"])
times_of = st.none() | st.sampled_from(
    [0, 1.5, 2, -1, 1e9, "2024-01-01", "2024-01-01T10:00:00", "2024-01-01 10:00:00.250",
     "2024-01-01T10:00:00+02:00", "2024-01-01T10:00:00.123456Z", "20240101", "1_0", "1e3"]
)  # fmt: skip
endings = st.sampled_from([None, "ended", "failed", "interrupted", "success", "failure", "1", 0])


@st.composite
def tables(draw, *, moves):
    """Return the rows of a table: some of its columns are there, in all rows or in some."""
    there = {"run": draw(st.booleans()), "step": draw(st.booleans()), "time": draw(st.booleans())}
    more = (
        ("id", "ok", "cost", "model", "task") if not moves else ("n", "ok", "cost", "model", "task")
    )
    there |= {name: draw(st.booleans()) for name in more}
    tidy = draw(st.booleans())
    values = {
        "run": runs_of,
        "step": st.integers(0, 4) if tidy else steps_of,
        "time": st.floats(0, 1e9).map(lambda t: round(t, 2)) if tidy else times_of,
        "id": st.none() | st.sampled_from(["1", "2", "3", "4"]),
        "ok": endings,
        "cost": st.none() | st.sampled_from([0, 1, 0.25, "2.5", 1e-7, " "]),
        "model": st.none() | st.sampled_from(["m", "n", "1"]),
        "task": st.none() | st.sampled_from(["t1", "t2"]),
        "n": st.sampled_from([1, 2, 3]) if tidy else st.none() | st.sampled_from([0, 1, 2]),
    }
    row = {name: values[name] for name, is_there in there.items() if is_there}
    escapes = st.none() | states
    row |= {"from": states, "to": escapes} if moves else {"tool": escapes}
    return draw(st.lists(st.fixed_dictionaries(row), min_size=1, max_size=12))


def options_for(rows, *, moves):
    there = set(rows[0])
    named = {"run": "trajectory", "step": "step", "time": "time", "id": "event", "ok": "success"}
    named |= {"cost": "cost", "task": "block", "n": "count"}
    options = {f"{role}_field": name for name, role in named.items() if name in there}
    options |= {"context_fields": ["model"]} if "model" in there else {}
    if moves:
        return options | {
            "source_field": "from",
            "target_field": "to",
            "boundaries": ("begin", "done"),
        }
    return options | {"state_field": "tool", "boundaries": ("begin", "done")}


def write_csv(path, rows, *, quoting=csv.QUOTE_MINIMAL, line_end="\n"):
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), quoting=quoting, lineterminator=line_end)
    writer.writeheader()
    writer.writerows(rows)
    path.write_bytes(text.getvalue().encode())
    return path


def write_jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def write_parquet(path, rows):
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    from pyarrow import parquet

    try:
        parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError):  # a column of several types
        texts = [{k: None if v is None else str(v) for k, v in row.items()} for row in rows]
        parquet.write_table(pyarrow.Table.from_pylist(texts), path)
    return path


@pytest.mark.parametrize("moves", [False, True], ids=["steps", "moves"])
@pytest.mark.parametrize("write", [write_csv, write_jsonl, write_parquet])
def test_the_engine_reads_what_the_records_say(tmp_path, write, moves):
    @FEW
    @given(rows=tables(moves=moves))
    def holds(rows):
        check(write(tmp_path / f"t.{write.__name__[6:]}", rows), **options_for(rows, moves=moves))

    holds()


@pytest.mark.parametrize("moves", [False, True], ids=["steps", "moves"])
def test_one_table_is_the_same_in_every_format(tmp_path, moves):
    @settings(FEW, max_examples=EXAMPLES // 5)
    @given(rows=tables(moves=moves))
    def holds(rows):
        rows = [{k: None if v == "" else v for k, v in row.items()} for row in rows]
        texts = [{k: None if v is None else str(v) for k, v in row.items()} for row in rows]
        options = options_for(rows, moves=moves)
        found = [
            columns_of(
                outcome_of(read_recording, write(tmp_path / f"t.{suffix}", given), **options)
            )
            for write, suffix, given in (
                (write_csv, "csv", texts),
                (write_jsonl, "jsonl", texts),
                (write_parquet, "parquet", texts),
            )
        ]
        if all(isinstance(each, dict) for each in found):
            assert found[0] == found[1] == found[2]
        else:
            assert all(isinstance(each, str) for each in found)

    holds()


@pytest.mark.parametrize("name", AIRLINE)
def test_real_moves_are_read_as_the_records_say(name):
    path = data_file("tau2_airline", f"{name}.jsonl.gz")
    options = {"boundaries": ("start", "end"), "success_field": "reward", "block_field": "domain"}
    assert len(check(path, context_fields=["model"], cost_field="step", **options).runs) > 40


STEPS = {"state_field": "tool", "trajectory_field": "run", "step_field": "step"}


def make_steps(runs, *, seed=0):
    """Return the steps of runs of different lengths, shuffled."""
    noise = random.Random(seed)
    rows = [
        {"run": f"run {i}", "step": j, "time": 100.0 * i + j, "tool": noise.choice("abc")}
        for i in range(runs)
        for j in range(1 + i % 5)
    ]
    noise.shuffle(rows)
    return rows


@pytest.mark.parametrize("write", [write_csv, write_jsonl, write_parquet])
def test_a_table_that_is_read_in_parts_is_the_same(tmp_path, monkeypatch, write):
    path = write(tmp_path / f"t.{write.__name__[6:]}", make_steps(20))
    whole = check(path, **STEPS)
    monkeypatch.setattr(tables_engine, "_ROWS_AT_A_TIME", 7)
    assert columns_of(check(path, **STEPS)) == columns_of(whole)
    counts = read_recording(path, only_counts=True, **STEPS)
    assert counts.runs is None
    assert counts.counts.attempts.tolist() == whole.counts.attempts.tolist()


@pytest.mark.parametrize("write", [write_csv, write_jsonl, write_parquet])
def test_several_files_are_one_table(tmp_path, write):
    rows, suffix = make_steps(9), write.__name__[6:]
    whole = write(tmp_path / f"t.{suffix}", rows)
    parts = [write(tmp_path / f"{i}.{suffix}", rows[i::3]) for i in range(3)]
    one, several = check(whole, **STEPS), check(parts, **STEPS)
    one, several = columns_of(one), columns_of(several)
    assert one.pop("reordered_count")
    assert several.pop("reordered_count")
    assert one == several


def test_a_broken_line_of_several_files_is_named_with_its_file(tmp_path):
    parts = [write_jsonl(tmp_path / f"{i}.jsonl", make_steps(2)) for i in range(2)]
    parts[1].write_text('{"run": "x", "tool": "a", "step": 1}\nbroken\n')
    with pytest.raises(ReadError, match=r"1\.jsonl, line 2: invalid JSON"):
        read_recording(parts, **STEPS)
    (skipped,) = read_recording(parts, skip_bad_lines=True, **STEPS).skipped
    assert str(skipped.line).endswith("1.jsonl, line 2")


def test_runs_without_times_stand_by_their_names_or_as_in_the_trace(tmp_path):
    rows = [{"run": name, "tool": "a"} for name in ("b", "c", "a", "b")]
    for write in (write_csv, write_jsonl, write_parquet):
        path = write(tmp_path / f"t.{write.__name__[6:]}", rows)
        options = {"state_field": "tool", "trajectory_field": "run"}
        for in_order, names in ((False, "abc"), (True, "bca")):
            runs = check(path, in_order=in_order, **options).runs
            assert runs.runs.name.tolist() == list(names)


def test_no_order_of_rows_changes_a_table_with_times(tmp_path):
    options = {"state_field": "tool", "trajectory_field": "run", "time_field": "time"}
    found = []
    for seed in range(10):
        rows = make_steps(8)
        random.Random(seed).shuffle(rows)
        read = columns_of(check(write_csv(tmp_path / "t.csv", rows), **options))
        found.append({name: value for name, value in read.items() if name != "reordered_count"})
    assert all(each == found[0] for each in found)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_csv_is_read_by_the_engine_however_it_is_written(tmp_path, line_end, quoting, packed):
    path = write_csv(tmp_path / "t.csv", make_steps(20), quoting=quoting, line_end=line_end)
    if packed:
        path.write_bytes(gzip.compress(path.read_bytes()))
    assert len(check(path, **STEPS).runs) == 20


def test_fields_with_dots_reach_into_objects(tmp_path):
    rows = [
        {"run": "T", "message": {"role": role, "meta": {"n": i, "cost": 0.5}}}
        for i, role in enumerate(["user", "tool", "user"])
    ]
    options = {
        "state_field": "{message.role}!",
        "trajectory_field": "run",
        "step_field": "message.meta.n",
        "cost_field": "message.meta.cost",
    }
    found = check(write_jsonl(tmp_path / "t.jsonl", rows), **options)
    assert found.runs[0].states == ("user!", "tool!", "user!")
    assert found.runs.costs.tolist() == [0.5, 0.5, 0.5, 0]
    again = read_recording(write_parquet(tmp_path / "t.parquet", rows), **options)
    assert columns_of(again) == columns_of(found)


def test_a_field_that_is_called_so_with_its_dots_comes_first(tmp_path):
    rows = [{"a.b": "x", "a": {"b": "y"}}]
    assert check(write_jsonl(tmp_path / "t.jsonl", rows), state_field="a.b").counts.states == (
        "__end__",
        "__start__",
        "x",
    )


# What DuckDB takes otherwise than Python

OTHERWISE = [
    '{"run": "T", "step": 1, "tool": "a",}',
    '{"run": "T", "step": 1, "tool": "a", "more": [1, ]}',
    '{"run": "T", "step": 1, "tool": "a", "more": nan}',
    '{"run": "T", "step": 1, "tool": "a", "more": [INF]}',
    '{"run": "T", "step": 1, "tool": "a", "more": ' + "9" * 5_000 + "}",
    '{"run": "T", "step": 1, "tool": "a", "more": ' + "[" * 5_000 + "]" * 5_000 + "}",
    '{"run": "T", "step": 1, "tool": "a", "tool": "b"}',
    '{"run": "T", "step": 1, "tool": "a", "to\\u006fl": "b"}',
    '{"run": "T", "step": 1.0, "tool": 1e22}',
    '{"run": true, "step": 1, "tool": "a"}',
    '{"run": "T", "step": true, "tool": "a"}',
    '{"run": "T", "step": "0x10", "tool": "a"}',
    '{"run": "T", "step": -9223372036854775808, "tool": "a"}',
    '{"Run": "T", "step": 1, "tool": "a", "Tool": "b"}',
    '{"run": "T", "step": 1, "tool": "\\ud83d"}',
    '{"run": "T", "step": 1, "tool": NaN}',
    '["run", "step", "tool"]',
    "{}",
]


@pytest.mark.parametrize("line", OTHERWISE, ids=range(len(OTHERWISE)))
def test_a_line_that_duckdb_takes_otherwise_is_read_as_python_does(tmp_path, line):
    path = tmp_path / "t.jsonl"
    path.write_text('{"run": "T", "step": 0, "tool": "b"}\n' + line + "\n")
    check(path, **STEPS)
    check(path, skip_bad_lines=True, **STEPS)


TIMES = ["+-5", "1_0", "_1", "0x10", " 1 ", "1e400", "nan", "2024-02-30", "2024-01-01T24:00:00"]
TIMES += ["1e5", "-0", ".5", "5.", "2024-01-01T10:00:00.1234567", "2024-06-01 10:00:00-05:30"]
TIMES += ["1.7976931348623157e308", "٣", "2024-W01-1", "0001-01-01", "9999-12-31T23:59:59.999999"]


@pytest.mark.parametrize("time", TIMES)
def test_a_time_is_what_python_says(tmp_path, time):
    rows = [{"run": "T", "tool": "a", "time": each} for each in (time, "1")]
    for write in (write_csv, write_jsonl):
        check(write(tmp_path / f"t.{write.__name__[6:]}", rows), state_field="tool")


def test_progress_tells_the_beginning_and_the_end_of_a_table(tmp_path):
    path = tmp_path / "steps.csv"
    path.write_text("run,tool\nA,search\nA,read\n")
    calls = []
    options = {"state_field": "tool", "trajectory_field": "run"}
    _, used = read_by_engine(path, progress=lambda *each: calls.append(each), **options)
    assert used
    assert calls == [(0, path.stat().st_size), (path.stat().st_size,) * 2]


@pytest.mark.parametrize("row", ["T,2,b,", 'T,2,"b",', 'T,2,"b,c",', 'T,2,b,""', "T,2,", "T,2,,,"])
def test_a_row_of_csv_with_a_cell_too_many_is_wrong_even_where_it_is_empty(tmp_path, row):
    path = tmp_path / "t.csv"
    for rows in (f"T,1,a\n{row}\n", f'{row}\nT,1,"a\nb,c"\n', f"T,1,a\n\n{row}"):
        path.write_text("run,step,tool\n" + rows)
        check(path, **STEPS)
        found, expected = (
            read(path, skip_bad_lines=True, **STEPS) for read in (read_recording, read_by_records)
        )
        assert columns_of(found) == columns_of(expected)
        assert found.skipped_count == (row != "T,2,")


LABELLED = "source,target,trajectory,step,time,count,model\nplan,search,run-1,4,1.5,3,gpt-4o\n"
FIXTURES = [
    (".jsonl", MOVE * 6, {}),
    (".csv", TABLE, {}),
    (".csv", FUZZED_STEPS, AS_STEPS),
    (".csv", LOG, {}),
    (".csv", LABELLED, {"context_fields": ["model"]}),
    (".tsv", LABELLED.replace(",", "\t"), {"block_field": "model"}),
    (".csv", "source;target\na;b\n", {}),
    (".csv", "\ufeffsource,target\r\n\r\na,b\r\n\r\n", {}),
    (".jsonl", f"\ufeff{MOVE}\r\n\r\n{MOVE}\r\n", {}),
    (".csv", "source,target\nbegin,a\na,\na,done\n", {"boundaries": ("begin", "done")}),
    (".csv", "source,target\n", {}),
    (".csv", 'source,target\na,b,c\na\n"a"x,b\na,b\n', {"skip_bad_lines": True}),
    (".jsonl", f"{MOVE}broken\n{{}}\n{MOVE}", {"skip_bad_lines": True}),
]


@pytest.mark.parametrize(("suffix", "text", "options"), FIXTURES, ids=range(len(FIXTURES)))
def test_the_tables_of_the_other_tests_are_read_as_the_records_say(tmp_path, suffix, text, options):
    path = tmp_path / f"t{suffix}"
    path.write_bytes(text.encode())
    check(path, **options)
