"""A trace becomes a store once, with the outcomes of its runs."""

import json
import sqlite3

import networkx as nx
import pytest
from sqlalchemy import URL
from typer.testing import CliRunner

from detailed_balance import TransitionStore, read_runs
from detailed_balance.analyzers.errors import InvalidInputError, ReadError
from detailed_balance.cli import app
from detailed_balance.readers import read_transitions
from detailed_balance.sources import imports as importing
from detailed_balance.sources.imports import import_trace
from tests.callbacks.store.test_store import postgres_url  # noqa: F401 - a fixture
from tests.plugin.readers.test_readers_formats import TALK, XES
from tests.support.chains import AIRLINE, data_file

STEPS = "run,node,ok\n1,a,1\n1,b,1\n2,a,0\n1,c,1\n"
AS_STEPS = {"state_field": "node", "trajectory_field": "run", "success_field": "ok"}


def write(path, content):
    path.write_text(content)
    return path


def open_store(path):
    return TransitionStore(URL.create("sqlite", database=str(path)), create=False)


@pytest.fixture
def trace(tmp_path):
    return write(tmp_path / "steps.csv", STEPS)


def test_a_store_gives_back_the_runs_of_the_trace(tmp_path, trace):
    messages = [{"id": "m", "reward": 1, "messages": TALK}]
    sources = [
        (trace, AS_STEPS),
        (write(tmp_path / "t.json", json.dumps(messages)), {"context_fields": ["id"]}),
        (write(tmp_path / "t.xes", XES), {}),
    ]
    for number, (source, options) in enumerate(sources):
        place = tmp_path / f"{number}.db"
        summary = import_trace(source, place, **options)
        assert list(read_runs(place)) == list(read_runs(source, **options))
        with open_store(place) as store:
            assert (summary.transitions, summary.endings) == (len(store), len(store.endings()))


def test_a_second_import_of_the_same_writes_nothing(tmp_path, trace):
    place = tmp_path / "runs.db"
    first = import_trace(trace, place, **AS_STEPS)
    again = import_trace(write(tmp_path / "copy.csv", STEPS), place, **AS_STEPS)
    assert (first.already, again.already, again.transitions) == (False, True, 0)
    with open_store(place) as store:
        assert len(store) == first.transitions == 6


def test_a_run_of_a_name_that_is_there_is_refused_and_a_prefix_keeps_it_apart(tmp_path, trace):
    place = tmp_path / "runs.db"
    import_trace(trace, place, **AS_STEPS)
    other = write(tmp_path / "other.csv", STEPS + "2,b,0\n")
    with pytest.raises(InvalidInputError, match=r"a run called '1' already; .*--prefix"):
        import_trace(other, place, **AS_STEPS)
    import_trace(other, place, prefix="new/", **AS_STEPS)
    assert [run.name for run in read_runs(place)] == ["1", "2", "new/1", "new/2"]


def test_a_trace_with_an_error_leaves_the_store_as_it_was(tmp_path):
    rows = "".join(f"a,b{i},T\n" for i in range(20_000))
    broken = write(tmp_path / "t.csv", f"source,target,trajectory\n{rows}a\n")
    with pytest.raises(ReadError, match="line 20002"):
        import_trace(broken, tmp_path / "runs.db")
    with open_store(tmp_path / "runs.db") as store:
        assert len(store) == 0
    summary = import_trace(broken, tmp_path / "runs.db", skip_bad_lines=True)
    assert (summary.read, summary.skipped, summary.duplicates) == (20_000, 1, 0)


def test_an_import_that_was_cut_short_is_not_taken_for_done(tmp_path, monkeypatch):
    trace = write(tmp_path / "t.csv", "source,target\na,b\n")
    with monkeypatch.context() as cut:
        cut.setattr(importing.TransitionStore, "append", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            import_trace(trace, tmp_path / "runs.db")
    with pytest.raises(InvalidInputError, match="was cut short"):
        import_trace(trace, tmp_path / "runs.db")


def test_stores_and_graphs_are_sources_too(tmp_path, trace):
    import_trace(trace, tmp_path / "a.db", **AS_STEPS)
    import_trace(f"sqlite:///{tmp_path / 'a.db'}", tmp_path / "b.db")
    assert list(read_runs(tmp_path / "a.db")) == list(read_runs(tmp_path / "b.db"))
    summary = import_trace(nx.DiGraph([("a", "b")]), tmp_path / "b.db")
    assert (summary.transitions, summary.endings) == (1, 0)


def test_a_store_is_not_imported_into_itself(tmp_path, trace):
    import_trace(trace, tmp_path / "a.db", **AS_STEPS)
    for place in (tmp_path / "a.db", str(tmp_path / "a.db")):
        with pytest.raises(InvalidInputError, match="are the same"):
            import_trace(place, tmp_path / "a.db")


def test_postgresql_takes_an_import(trace, postgres_url):  # noqa: F811 - the fixture
    import_trace(trace, postgres_url, **AS_STEPS)
    assert import_trace(trace, postgres_url, **AS_STEPS).already
    with TransitionStore(postgres_url, create=False) as store:
        assert list(read_runs(store)) == list(read_runs(trace, **AS_STEPS))


def test_the_airline_runs_keep_their_success(tmp_path):
    options = {"boundaries": ("start", "end"), "success_field": "reward"}
    for model in AIRLINE[:2]:
        file = data_file("tau2_airline", f"{model}.jsonl.gz")
        prefix = f"{file.stem}/"
        import_trace(file, tmp_path / "all.db", prefix=prefix, **options)
        runs = [run for run in read_runs(tmp_path / "all.db") if prefix in run.name]
        expected = read_runs(file, **options)
        assert [(r.moves, r.success) for r in runs] == [(r.moves, r.success) for r in expected]


# The command


def run(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


def test_the_command_says_what_was_read_and_what_is_not_new(tmp_path, trace):
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in AS_STEPS.items()]
    first = run("import", trace, tmp_path / "runs.db", *flags)
    assert first.exit_code == 0, first.output
    assert "imported 6 transitions and 2 endings" in first.output
    assert "of 4 records: 4 read, 0 skipped, 0 duplicates" in first.output
    again = run("import", trace, tmp_path / "runs.db", *flags)
    assert (again.exit_code, "nothing is new" in again.output) == (0, True)
    with sqlite3.connect(tmp_path / "runs.db") as database:
        assert database.execute("SELECT count(*) FROM detailed_balance_imports").fetchone() == (1,)


def test_what_cannot_be_read_is_one_line_and_exit_code_1(tmp_path):
    result = run("import", tmp_path / "absent.xes", tmp_path / "runs.db")
    assert result.exit_code == 1
    assert result.output.startswith("error: there is no file")


def test_analyze_names_states_by_a_field(tmp_path):
    steps = write(tmp_path / "t.csv", "run,node,tool\n" + "1,m,x\n1,m,y\n" * 9)
    result = run("analyze", steps, "--state-field={node}-{tool}", "--trajectory-field=run")
    assert result.exit_code == 0, result.output
    assert "m-x" in result.output


def test_records_of_two_reads_are_the_same(trace):
    twice = [list(read_transitions(trace, **AS_STEPS).records()) for _ in range(2)]
    assert twice[0] == twice[1]
