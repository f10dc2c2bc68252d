"""The same counts, to the last integer, from every engine, from pandas and from the reader."""

import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager

import pytest

from detailed_balance import analyze, read_transitions
from detailed_balance.analyzers.counts import BOUNDARIES
from detailed_balance.analyzers.errors import InvalidInputError, ReadError
from tests.callbacks.store.test_store import postgres_url  # noqa: F401 - a fixture

ibis = pytest.importorskip("ibis", reason="counting needs detailed-balance[scale]")
pytest.importorskip("duckdb", reason="counting needs detailed-balance[scale]")
pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

from detailed_balance.sources import count_events, count_table  # noqa: E402 - needs Ibis

HOSTILE = ["plan", "a|b", "é", "Z", "a", "=1+1", '"; DROP TABLE x; --', "search\n", "名前", "%s"]
STEPS = {"trajectory": "run", "order": "at", "state": "tool"}
QUOTED = 'tool"; DROP TABLE events; --'


def make_steps(rows, *, ties=True, escapes=True, seed=0):
    """Steps in no order, of runs of which one has no name."""
    dice = random.Random(seed)
    table = []
    for number in range(rows):
        run = dice.choice([None, *(f"run {i}" for i in range(rows // 12))])
        at = dice.randrange(12) if ties else number
        tool = dice.choice([*HOSTILE, *([None, ""] if escapes else [])])
        table.append({"run": run, "at": at, "tool": tool, "model": dice.choice("ab")})
    return pyarrow.Table.from_pylist(table)


def edges_of(counts):
    """Counts as a mapping, escapes under None."""
    coo, states = counts.counts.tocoo(), counts.states
    found = {
        (states[i], states[j]): int(n) for i, j, n in zip(coo.row, coo.col, coo.data, strict=True)
    }
    escapes = zip(states, counts.escapes.tolist(), strict=True)
    return found | {(state, None): n for state, n in escapes if n}


def read_by_reader(path, **options):
    """Count what the streaming reader yields, the reference."""
    found = Counter()
    for move in read_transitions(path, **options):
        found[move.source, move.target] += move.count
    return dict(found)


def write(table, path):
    parquet.write_table(table, path)
    return path


@contextmanager
def on_postgres(table, url):
    from sqlalchemy import make_url

    parts = make_url(url)
    connection = ibis.postgres.connect(
        host=parts.host, port=parts.port or 5432, user=parts.username, password=parts.password,
        database=parts.database,
    )  # fmt: skip
    try:
        yield connection.create_table("events", table, temp=True)
    finally:
        connection.disconnect()


@pytest.fixture(scope="module")
def spark(tmp_path_factory):
    sql = pytest.importorskip("pyspark.sql", reason="needs detailed-balance[spark]")
    if shutil.which("java") is None:
        pytest.skip("Spark needs Java")
    folder = tmp_path_factory.mktemp("spark")
    session = (
        sql.SparkSession.builder.master("local[1]")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.sql.warehouse.dir", str(folder))
        .getOrCreate()
    )
    yield ibis.pyspark.connect(session)
    session.stop()


@pytest.mark.parametrize("seed", range(5))
def test_duckdb_counts_steps_as_the_reader_does(tmp_path, seed):
    table = make_steps(400, seed=seed)
    path = write(table, tmp_path / "steps.parquet")
    expected = read_by_reader(path, state_field="tool", trajectory_field="run", step_field="at")
    assert edges_of(count_table(path, **STEPS)) == expected
    assert any("|" in source and target is None for source, target in expected)


@pytest.mark.parametrize("escapes", [False, True])
@pytest.mark.parametrize("ties", [False, True])
def test_postgres_and_duckdb_count_the_same(postgres_url, ties, escapes):  # noqa: F811
    table = make_steps(600, ties=ties, escapes=escapes)
    here = ibis.memtable(table)
    with on_postgres(table, postgres_url) as there:
        for context in (None, {"model": "a"}):
            settings = {**STEPS, "context": context}
            assert edges_of(count_table(there, **settings)) == edges_of(
                count_table(here, **settings)
            )


def test_spark_and_duckdb_count_the_same(spark):
    for ties, escapes in [(False, False), (True, True)]:
        table = make_steps(600, ties=ties, escapes=escapes)
        there = spark.create_table(f"steps_{ties}", table)
        assert edges_of(count_table(there, **STEPS)) == edges_of(
            count_table(ibis.memtable(table), **STEPS)
        )


def test_pandas_counts_the_same():
    table = make_steps(2_000, ties=False, escapes=False)
    steps = table.to_pandas().sort_values("at")
    runs = steps.groupby("run", dropna=False)["tool"]
    found = Counter()
    for source, target in ((runs.shift(1), steps["tool"]), (steps["tool"], runs.shift(-1))):
        pairs = zip(source.fillna("__start__"), target.fillna("__end__"), strict=True)
        found |= Counter(pairs)
    assert edges_of(count_table(ibis.memtable(table), **STEPS)) == dict(found)


def test_one_pass_and_the_whole_expression_agree():
    table = ibis.memtable(make_steps(500, ties=False, escapes=False))
    edges = count_events(table, **STEPS).to_pyarrow().to_pylist()
    unique = count_events(table, **STEPS, unique=True).to_pyarrow().to_pylist()
    expected = edges_of(count_table(table, **STEPS))
    for rows in (edges, unique):
        assert {(row["source"], row["target"]): row["count"] for row in rows} == expected


def test_moves_are_added_up_with_their_counts_and_escapes(postgres_url):  # noqa: F811
    rows = [("a", "b", 3), ("a", "b", None), ("a", None, 2), ("b", "", 1), ("b", "a", 0)]
    names = ("from", QUOTED, "n")
    table = pyarrow.Table.from_pylist([dict(zip(names, row, strict=True)) for row in rows])
    settings = {"source_column": "from", "target_column": QUOTED, "count": "n"}
    expected = {("a", "b"): 4, ("a", None): 2, ("b", None): 1}
    assert edges_of(count_table(ibis.memtable(table), **settings)) == expected
    with on_postgres(table, postgres_url) as there:
        assert edges_of(count_table(there, **settings)) == expected


def test_hostile_names_of_columns_and_labels_are_quoted(tmp_path):
    names = {"tool": QUOTED, "model": "it's"}
    table = make_steps(100)
    table = table.rename_columns([names.get(name, name) for name in table.column_names])
    path = write(table, tmp_path / "[x]*' OR 1=1.parquet")
    settings = {"trajectory": "run", "order": "at", "state": QUOTED}
    assert count_table(path, **settings).total > 0
    assert len(count_table(path, **settings, context={"it's": "' OR '1'='1"})) == 0


def test_without_boundaries_only_moves_between_states_are_left():
    table = ibis.memtable(make_steps(300))
    whole = edges_of(count_table(table, **STEPS))
    inner = {pair: n for pair, n in whole.items() if BOUNDARIES.isdisjoint(pair)}
    assert edges_of(count_table(table, **STEPS, boundaries=False)) == inner


def test_a_file_a_folder_and_a_pattern_are_one_table(tmp_path):
    table = make_steps(300, ties=False)
    whole = write(table, tmp_path / "whole.parquet")
    (tmp_path / "parts" / "deep").mkdir(parents=True)
    for number in range(3):
        write(table.slice(100 * number, 100), tmp_path / f"parts/{number}.parquet")
    (tmp_path / "parts/2.parquet").rename(tmp_path / "parts/deep/2.parquet")
    write(table, tmp_path / "parts/_unfinished.parquet")
    expected = edges_of(count_table(whole, **STEPS))
    assert edges_of(count_table(tmp_path / "parts", **STEPS)) == expected
    write(table.slice(200, 100), tmp_path / "parts/2.parquet")
    assert edges_of(count_table(tmp_path / "parts/[0-9].parquet", **STEPS)) == expected
    fields = {"state_field": "tool", "trajectory_field": "run", "step_field": "at"}
    report = analyze(tmp_path / "parts/[0-9].parquet", **fields)
    assert edges_of(report.counts) == expected


def test_a_duckdb_file_and_both_urls_name_their_table(tmp_path, postgres_url):  # noqa: F811
    import duckdb
    import sqlalchemy

    table = make_steps(100, ties=False)
    expected = edges_of(count_table(ibis.memtable(table), **STEPS))
    path = tmp_path / "events.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.register("steps", table)
        connection.execute("CREATE TABLE events AS SELECT * FROM steps")
        connection.execute("CREATE TABLE other AS SELECT 1 AS x")
    with pytest.raises(InvalidInputError, match=r"which table; .*'events', 'other'"):
        count_table(path, **STEPS)
    assert edges_of(count_table(f"duckdb:///{path}?table=events", **STEPS)) == expected
    engine = sqlalchemy.create_engine(postgres_url)
    with engine.begin() as connection:
        connection.exec_driver_sql('CREATE TABLE events (run text, "at" bigint, tool text)')
        rows = [{name: row[name] for name in ("run", "at", "tool")} for row in table.to_pylist()]
        connection.execute(sqlalchemy.text("INSERT INTO events VALUES (:run, :at, :tool)"), rows)
    engine.dispose()
    assert edges_of(count_table(f"{postgres_url}&table=events", **STEPS)) == expected


def test_steps_without_a_place_and_named_as_the_marks_are_refused():
    rows = {"run": ["A", "A"], "at": [1, None], "tool": ["a", "b"]}
    with pytest.raises(ReadError, match="1 rows have no 'at'"):
        count_table(ibis.memtable(rows), **STEPS)
    rows = {"run": ["A", "A"], "at": [1, 2], "tool": ["__start__", "b"]}
    with pytest.raises(ReadError, match="__start__"):
        count_table(ibis.memtable(rows), **STEPS)
    with pytest.raises(InvalidInputError, match="name the column that holds it with order="):
        count_table(ibis.memtable(rows), state="tool")
    with pytest.raises(InvalidInputError, match="there is no column 'node'; the columns are 'run'"):
        count_table(ibis.memtable(rows), order="at", state="node")


def test_moves_from_nowhere_and_negative_counts_are_refused():
    moves = {"source": ["a", None], "target": ["b", "b"], "n": [-1, 1]}
    with pytest.raises(ReadError, match="some rows have no 'source'"):
        count_table(ibis.memtable({**moves, "n": [1, 1]}))
    with pytest.raises(ReadError, match="0 or more; the column has -1"):
        count_table(ibis.memtable({**moves, "source": ["a", "a"]}), count="n")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nowhere/*.parquet", "is not a Parquet file"),
        ("mysql://host/db?table=t", "on duckdb:// and postgresql://"),
        (42, "a int is not a table; allowed are an Ibis table"),
        ("postgresql://nobody:secret@127.0.0.1:1/x?table=t", r"nobody:\*\*\*@.*cannot be opened"),
    ],
)
def test_what_is_no_table_is_refused_and_no_password_is_said(source, message):
    with pytest.raises((ReadError, InvalidInputError), match=message) as refused:
        count_table(source, **STEPS)
    assert "secret" not in str(refused.value)


def test_a_damaged_file_is_an_error_that_says_so(tmp_path):
    path = write(make_steps(3_000), tmp_path / "t.parquet")
    content = path.read_bytes()
    path.write_bytes(content[:4] + b"x" * 2_000 + content[2_004:])
    with pytest.raises(ReadError, match="could not be counted"):
        count_table(path, **STEPS)
    with pytest.raises(ReadError, match="is damaged"):
        analyze(path, state_field="tool", trajectory_field="run", step_field="at")
    path.write_bytes(content[:-100])
    with pytest.raises(ReadError, match="cannot be read as Parquet"):
        count_table(path, **STEPS)


def test_more_than_the_memory_goes_to_the_disk_and_is_deleted(tmp_path):
    import duckdb

    path = tmp_path / "t.parquet"
    columns = "md5(CAST(i % 50000 AS TEXT)) AS run, i AS at, md5(CAST(i % 50 AS TEXT)) AS tool"
    rows = duckdb.sql(f"SELECT {columns} FROM range(1000000) t(i)")  # noqa: S608 - constant
    rows.write_parquet(str(path))
    (tmp_path / "disk").mkdir()
    counts = count_table(path, **STEPS, memory_limit="100MB", temp_directory=tmp_path / "disk")
    assert counts.total == 1_000_000 + 50_000
    assert os.listdir(tmp_path / "disk") == []


# Counts views with 1.5 GiB of memory more than the imports take, and prints what is wrong.
LIMITED = """
import resource, sys
import duckdb, ibis, pyarrow
from detailed_balance.analyzers.errors import ReadError
from detailed_balance.sources import count_table, open_source
try:
    with open("/proc/self/statm") as file:
        taken = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + 3 * 2**29,) * 2)
except OSError:
    pass
for source in sys.argv[1:]:
    for count in (count_table, lambda source: open_source(source).counts()):
        try:
            print(repr(count(source)), flush=True)
        except ReadError as error:
            print(repr(str(error)), flush=True)
"""
ENDLESS = """
    WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n)
    SELECT x AS source, x AS target FROM n
"""


def test_a_view_of_a_duckdb_file_that_may_have_no_end_is_refused(tmp_path):
    import duckdb

    path = tmp_path / "events.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute(f"CREATE VIEW inner_view AS {ENDLESS}")
        connection.execute(f"CREATE MACRO endless() AS TABLE {ENDLESS}")
        connection.execute("CREATE VIEW of_a_view AS SELECT * FROM inner_view")
        connection.execute("CREATE VIEW of_a_macro AS SELECT * FROM endless()")
    names = ("inner_view", "of_a_view", "of_a_macro")
    sources = [f"duckdb:///{path}?table={name}" for name in names]
    command = [sys.executable, "-c", LIMITED, *sources]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=180)
    assert done.returncode == 0, done.stdout + done.stderr[-2_000:]
    said = done.stdout.splitlines()
    for name, line in zip([name for name in names for _ in range(2)], said, strict=True):
        assert f"'{name}' of" in line
        assert "is a view, and a view may" in line
