"""A store of every older version becomes one of now, with all that it held."""
# ruff: noqa: S608 - the SQL of this page is made of constants

import itertools
import sqlite3
from dataclasses import replace

import pytest
import sqlalchemy

from detailed_balance.analyzers.errors import ReadError
from detailed_balance.analyzers.runs.trajectory import Outcome, StepFacts
from detailed_balance.callbacks import TransitionStore
from detailed_balance.callbacks.store._schema import digest
from detailed_balance.callbacks.transition import Ending, Transition
from detailed_balance.sources.source import read_runs
from tests.callbacks.store.test_store import file_url, postgres_url  # noqa: F401 - a fixture

MOVES = [Transition("a", "b", "run", (), 1, 5.0), Transition("b", None, None, (), None, None, 3)]
ENDING = Ending("run", Outcome.ENDED, time=6.0)
P = "detailed_balance_"


def version_1(big, key, real):
    """Return the SQL that made version 1, and what it held."""
    yield f"CREATE TABLE {P}versions (version INTEGER NOT NULL, PRIMARY KEY (version))"
    for kind in ("states", "trajectories", "contexts"):
        yield f"CREATE TABLE {P}{kind} (id {big} NOT NULL, name TEXT NOT NULL, PRIMARY KEY (id))"
    yield (
        f"CREATE TABLE {P}transitions (id {key}, trajectory_id {big}, context_id {big} NOT NULL,"
        f" step {big}, time {real}, source_id {big} NOT NULL, target_id {big},"
        f" count {big} NOT NULL, PRIMARY KEY (id))"
    )
    for name in ("trajectory", "context"):
        yield f"CREATE INDEX {P}by_{name} ON {P}transitions ({name}_id, id)"
    yield f"CREATE INDEX {P}by_time ON {P}transitions (time, id)"
    for kind, name in [
        ("states", "a"),
        ("states", "b"),
        ("trajectories", "run"),
        ("contexts", "{}"),
    ]:
        yield f"INSERT INTO {P}{kind} VALUES ({digest(name)}, '{name}')"
    a, b, run, none = map(digest, ("a", "b", "run", "{}"))
    columns = "trajectory_id, context_id, step, time, source_id, target_id, count"
    for values in (
        f"{run}, {none}, 1, 5.0, {a}, {b}, 1",
        f"NULL, {none}, NULL, NULL, {b}, NULL, 3",
    ):
        yield f"INSERT INTO {P}transitions ({columns}) VALUES ({values})"
    yield f"INSERT INTO {P}versions VALUES (1)"


def version_2(big, key, real):
    """Return the SQL that made version 2 of version 1, and what it held more."""
    yield (
        f"CREATE TABLE {P}endings (id {key}, trajectory_id {big}, context_id {big} NOT NULL,"
        f" time {real}, outcome TEXT, error TEXT, success INTEGER, PRIMARY KEY (id))"
    )
    yield f"CREATE INDEX {P}endings_by_trajectory ON {P}endings (trajectory_id, id)"
    columns = "trajectory_id, context_id, time, outcome"
    values = f"{digest('run')}, {digest('{}')}, 6.0, 'ended'"
    yield f"INSERT INTO {P}endings ({columns}) VALUES ({values})"
    yield f"INSERT INTO {P}versions VALUES (2)"


def version_3(big, key, real):
    """Return the SQL that made version 3 of version 2."""
    default = "0" if big == "INTEGER" else "(pg_current_xact_id()::text::bigint)"
    for table in ("transitions", "endings"):
        yield f"ALTER TABLE {P}{table} ADD COLUMN written {big} NOT NULL DEFAULT {default}"
    yield f"UPDATE {P}endings SET written = (SELECT max(id) FROM {P}transitions)"
    yield (
        f"CREATE TABLE {P}writers (id {big} NOT NULL PRIMARY KEY, sequence {big} NOT NULL,"
        f" time {real} NOT NULL)"
    )
    if big == "BIGINT":
        yield f"CREATE INDEX {P}by_writing ON {P}transitions (written, id)"
        yield f"CREATE INDEX {P}endings_by_writing ON {P}endings (written, id)"
    yield f"INSERT INTO {P}versions VALUES (3)"


def version_4(big, key, real):
    """Return the SQL that made version 4 of version 3, without runs."""
    yield f"ALTER TABLE {P}transitions ADD COLUMN run_id {big}"
    for name in ("failed", "repeats", "stale"):
        yield f"ALTER TABLE {P}transitions ADD COLUMN {name} INTEGER"
    for name in ("call", "answer", "call_size", "answer_size", "tokens"):
        yield f"ALTER TABLE {P}transitions ADD COLUMN {name} {big}"
    yield f"ALTER TABLE {P}transitions ADD COLUMN cost {real}"
    for column in (f"run_id {big}", f"supersteps {big}", "standing TEXT"):
        yield f"ALTER TABLE {P}endings ADD COLUMN {column}"
    yield (
        f"CREATE TABLE {P}runs (id {key}, digest {big} NOT NULL, name TEXT NOT NULL,"
        f" trajectory_id {big}, context_id {big} NOT NULL, time {real}, thread TEXT, parent TEXT,"
        f" origin TEXT, past_unknown INTEGER NOT NULL, task TEXT, superstep {big},"
        f" replays INTEGER, follows {big}, continues TEXT, source_id {big},"
        " waits INTEGER NOT NULL, PRIMARY KEY (id))"
    )
    yield f"CREATE UNIQUE INDEX {P}runs_by_digest ON {P}runs (digest)"
    yield f"CREATE INDEX {P}runs_by_trajectory ON {P}runs (trajectory_id, waits)"
    yield f"INSERT INTO {P}versions VALUES (4)"


def of_old_runs(records):
    """Leave out the ids of runs, which older versions did not know."""
    return [replace(record, run=None) for record in records]


VERSIONS = (version_1, version_2, version_3, version_4)
TYPES = {
    "sqlite": ("INTEGER", "INTEGER NOT NULL", "DOUBLE"),
    "postgresql": ("BIGINT", "BIGSERIAL NOT NULL", "DOUBLE PRECISION"),
}


@pytest.fixture(params=["sqlite", "postgres"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return file_url(tmp_path)
    return request.getfixturevalue("postgres_url")


def make_old(url, version):
    engine = sqlalchemy.create_engine(url)
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA journal_mode = WAL")
        for build in VERSIONS[:version]:
            for statement in build(*TYPES[engine.dialect.name]):
                connection.exec_driver_sql(statement)
    engine.dispose()


def shape(url):
    """Return the tables, columns and indexes, as the database itself tells of them."""
    engine = sqlalchemy.create_engine(url)
    found = sqlalchemy.inspect(engine)
    shape = {
        table: (
            {
                c["name"]: (str(c["type"]), c["nullable"], c["default"])
                for c in found.get_columns(table)
            },
            {i["name"]: i["column_names"] for i in found.get_indexes(table)},
            found.get_pk_constraint(table)["constrained_columns"],
        )
        for table in found.get_table_names()
    }
    engine.dispose()
    return shape


def without_sequences(shape):
    """Leave out the names of schemas, which the defaults of PostgreSQL's ids hold."""
    for columns, _, _ in shape.values():
        kind, nullable, default = columns.get("id", (None, None, None))
        columns["id"] = (kind, nullable, bool(default))
    return shape


@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_an_older_store_is_brought_up_to_date_with_all_it_holds(url, version):
    make_old(url, version)
    with TransitionStore(url) as store:
        assert of_old_runs(store.read()) == MOVES
        assert of_old_runs(store.endings()) == [ENDING] * (version > 1)
        store.append([Transition("c", "d"), Ending("later")])
        found = store.read_new(limit=2)
        assert of_old_runs(found.transitions) == MOVES
        assert store.counts(before=found.cursor).total == 1
        rest = store.read_new(found.cursor)
        assert [move.source for move in rest.transitions] == ["c"]
        endings = [ending.trajectory for ending in (*found.endings, *rest.endings)]
        assert endings == ["run"] * (version > 1) + ["later"]
    with TransitionStore(url) as again:
        assert len(again) == 3


@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_an_older_store_has_then_the_shape_of_a_new_one(url, version, tmp_path, request):
    make_old(url, version)
    TransitionStore(url).close()
    old = without_sequences(shape(url))
    if url.startswith("sqlite"):
        fresh = file_url(tmp_path / "..") + ".fresh"
        TransitionStore(fresh).close()
    else:
        schema = url.rpartition("%3D")[2]
        with sqlalchemy.create_engine(url).begin() as connection:
            connection.exec_driver_sql(f"DROP SCHEMA {schema} CASCADE; CREATE SCHEMA {schema}")
        TransitionStore(url).close()
        fresh = url
    assert old == without_sequences(shape(fresh))


@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_an_older_store_is_read_and_left_as_it_is(url, version):
    make_old(url, version)
    before = shape(url)
    with TransitionStore(url, create=False) as store:
        assert list(store.read()) == MOVES
        assert store.counts().attempts.tolist() == [1, 3]
        assert store.endings() == (ENDING,) * (version > 1)
        assert store.outcomes() == ({Outcome.ENDED: 1} if version > 1 else {})
        assert store.runs() == ()
        assert list(store.read(run="run")) == []
        if version >= 3 or url.startswith("sqlite"):
            found = store.read_new()
            assert list(found.transitions) == MOVES
            assert len(found.endings) == (version > 1)
            assert store.read_new(found.cursor).transitions == ()
        else:
            with pytest.raises(ReadError, match="which does not tell what is new"):
                store.read_new()
        with pytest.raises(ReadError, match="create=True"):
            store.forget(before=0.0)
    assert shape(url) == before


@pytest.mark.parametrize("version", [1, 2, 3])
def test_old_runs_are_what_they_were_and_have_ids(url, version):
    make_old(url, 1)
    path = ["__start__", "a", "b", "__end__"]
    old = [
        ("run", "__start__", None, 21.0),
        ("run", "__start__", None, 22.0),
        ("run", "__start__", "a", 23.0),
        ("other", "b", "a", 23.5),
        ("run", "a", "__end__", 24.0),
        *(("run", *move, 30.0) for move in itertools.pairwise(path)),
        ("other", "__start__", "b", 31.0),
    ]
    engine = sqlalchemy.create_engine(url)
    with engine.begin() as connection:
        for name in ("__start__", "__end__"):
            insert(connection, "states", id=digest(name), name=name)
        insert(connection, "trajectories", id=digest("other"), name="other")
        for name, source, target, time in old:
            row = {"trajectory_id": digest(name), "source_id": digest(source), "time": time}
            target = target and digest(target)
            row |= {"context_id": digest("{}"), "target_id": target, "count": 1}
            insert(connection, "transitions", **row)
        kind = engine.dialect.name
        for build in VERSIONS[1:version]:
            for statement in build(*TYPES[kind]):
                connection.exec_driver_sql(statement)
        if version > 1:
            row = {"trajectory_id": digest("run"), "context_id": digest("{}")}
            insert(connection, "endings", **row, time=24.5, outcome="ended")
            insert(connection, "endings", **row, time=30.5, outcome="failed")
    engine.dispose()
    with TransitionStore(url, create=False) as store:
        before = read_runs(store)
    with TransitionStore(url) as store:
        after = read_runs(store)
        began = store.runs()
    assert len(after) == len(began) == len({run.run for run in after}) == 5
    plain = [replace(run, run=None, past_unknown=False) for run in after]
    assert sorted(plain, key=repr) == sorted(before, key=repr)
    assert [run.past_unknown for run in after] == [run.moves[0][0] != "__start__" for run in after]


def insert(connection, table, **row):
    columns = [sqlalchemy.column(name) for name in row]
    into = sqlalchemy.insert(sqlalchemy.table(f"{P}{table}", *columns)).values(**row)
    if isinstance(connection, sqlalchemy.Engine):
        with connection.begin() as opened:
            opened.execute(into)
    else:
        connection.execute(into)


def test_facts_of_a_store_without_resumes_say_that_no_step_was_resumed(url):
    make_old(url, 4)
    engine = sqlalchemy.create_engine(url)
    row = {"trajectory_id": digest("run"), "context_id": digest("{}"), "count": 1, "failed": 1}
    row |= {"source_id": digest("b"), "target_id": digest("a"), "call": 7, "repeats": 0, "stale": 0}
    insert(engine, "transitions", **row)
    engine.dispose()
    for create in (False, True):  # as it is, and brought up to date
        with TransitionStore(url, create=create) as store:
            assert [move.facts for move in store.read()] == [None, None, StepFacts(True, 7)]
            assert store.read_new().transitions[2].facts == StepFacts(True, 7)
            (run,) = [run for run in read_runs(store) if run.facts]
            assert run.facts == (None, StepFacts(True, 7))
    facts = StepFacts(True, resumed=True)
    with TransitionStore(url) as store:
        store.append([Transition("a", "b", "run", facts=facts)])
        assert [move.facts for move in store.read()][3] == facts


def test_a_reader_goes_on_when_the_store_is_brought_up_to_date(url):
    make_old(url, 1)
    with TransitionStore(url, create=False) as reader, TransitionStore(url) as writer:
        writer.append([ENDING])
        assert reader.endings() == (ENDING,)
        assert len(reader.read_new().transitions) == 2


def test_a_file_that_may_only_be_read_is_read_along(tmp_path):
    with TransitionStore(file_url(tmp_path)) as store:
        store.append(MOVES)
    path = tmp_path / "runs.db"
    with TransitionStore(f"sqlite:///file:{path}?mode=ro&uri=true", create=False) as store:
        found = store.read_new()
        assert list(found.transitions) == MOVES
        assert store.counts(before=store.mark()).attempts.sum() == 4


def test_a_role_that_may_only_read_reads_along(postgres_url):  # noqa: F811
    with TransitionStore(postgres_url) as store:
        store.append(MOVES)
    schema = postgres_url.rpartition("%3D")[2]
    engine = sqlalchemy.create_engine(postgres_url)
    role = f"reader_{schema}"
    with engine.begin() as connection:
        for statement in (
            f"CREATE ROLE {role} LOGIN",
            f"GRANT USAGE ON SCHEMA {schema} TO {role}",
            f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {role}",
        ):
            connection.exec_driver_sql(statement)
    try:
        url = sqlalchemy.make_url(postgres_url).set(username=role)
        with TransitionStore(url, create=False) as store:
            assert list(store.read_new().transitions) == MOVES
            assert store.counts(before=store.mark()).total == 1
    finally:
        with engine.begin() as connection:
            connection.exec_driver_sql(f"DROP OWNED BY {role}; DROP ROLE {role}")
        engine.dispose()


def test_rows_restored_from_another_server_are_read_along(postgres_url):  # noqa: F811
    with TransitionStore(postgres_url) as store:
        store.append([*MOVES, ENDING])
        cursor = store.read_new().cursor
    engine = sqlalchemy.create_engine(postgres_url)
    with engine.begin() as connection:  # that server had had many more transactions
        for table in ("transitions", "endings"):
            connection.exec_driver_sql(f"UPDATE {P}{table} SET written = written + 1000000000")
    engine.dispose()
    with TransitionStore(postgres_url) as store:
        found = store.read_new()
        assert list(found.transitions) == MOVES
        assert found.endings == (ENDING,)
        store.append(MOVES[:1])
        assert list(store.read_new(cursor).transitions) == MOVES[:1]


def test_an_older_file_is_not_half_upgraded_by_a_failure(tmp_path):
    make_old(file_url(tmp_path), 2)
    with sqlite3.connect(tmp_path / "runs.db") as other:
        other.execute(f"CREATE TABLE {P}runs (mine TEXT)")  # the last step finds it there
    before = shape(file_url(tmp_path))
    with pytest.raises(ReadError, match="cannot open"):
        TransitionStore(file_url(tmp_path))
    assert shape(file_url(tmp_path)) == before
