"""The pages on runs: how many of each sort, a list of them, and one by itself."""

from itertools import pairwise

import pytest
from starlette.testclient import TestClient

from detailed_balance import Transition, TransitionGraph, TransitionStore
from detailed_balance.analyzers import Outcome
from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.callbacks import Ending
from detailed_balance.callbacks.transition import Beginning
from detailed_balance.dashboard import _records, build_app
from detailed_balance.dashboard._ids import state_id
from detailed_balance.dashboard._records import Records
from detailed_balance.dashboard._runs import RunReader
from detailed_balance.diagnosis.finding import Onset
from tests.support.dashboards import HOSTILE, alert, fake, path_store

HOUR = 3600.0


def make_store(url="sqlite://"):
    """Return a store of five runs: two end, one fails, one shuttles to the limit, one is open."""
    store = TransitionStore(url)
    shuttle = ["plan", *["check", "look"] * 20]
    paths = {
        "good-1": (["plan", "answer"], Outcome.ENDED, "x"),
        "good-2": (["plan", "look", "answer"], Outcome.ENDED, "y"),
        "bad": (["plan", "look"], Outcome.FAILED, "x"),
        "stuck": (shuttle, Outcome.RECURSION_LIMIT, "y"),
        "open": (["plan"], None, "x"),
    }
    for number, (key, (path, outcome, model)) in enumerate(paths.items()):
        labels, begun = (("model", model),), 1e9 + HOUR * number
        store.append(
            Transition(a, b, key, labels, step, begun + step)
            for step, (a, b) in enumerate(pairwise(["__start__", *path]))
        )
        if outcome is not None:
            store.append([Ending(key, outcome, "Boom", None, labels, begun + 50)])
    return store


@pytest.fixture(scope="module")
def client():
    found = alert("abc", runs=("stuck", "bad"), affected=2)
    app = build_app(
        make_store(),
        make_monitor=fake(alerts=(found,)),
        run_url="https://example.org/traces/{run}",
    )
    with TestClient(app, base_url="http://127.0.0.1") as client:
        yield client


def names(client, query=""):
    answer = client.get(f"/api/runs?{query}")
    assert answer.status_code == 200, answer.text
    return [run["label"] for run in answer.json()["runs"]]


def test_tiles_count_runs_and_lead_to_the_same_runs(client):
    tiles = client.get("/api/overview").json()["tiles"]
    assert tiles == {"runs": 5, "failed": 2, "limited": 1, "repeating": 1}
    assert len(names(client)) == tiles["runs"]
    assert sorted(names(client, "outcome=unsuccessful")) == ["bad", "stuck"]
    assert names(client, "outcome=recursion_limit") == ["stuck"]
    assert names(client, "kind=repeating") == names(client, "kind=shuttle") == ["stuck"]


def test_tiles_of_a_range_are_of_the_runs_that_began_then(client):
    late = client.get(f"/api/overview?since={1e9 + 1.5 * HOUR}").json()["tiles"]
    assert late == {"runs": 3, "failed": 2, "limited": 1, "repeating": 1}


def test_an_empty_range_has_no_runs_and_no_findings(client):
    found = client.get("/api/overview?until=100").json()
    assert found["tiles"]["runs"] == 0
    assert found["findings"] == []
    assert found["open"] == {"problem": 0, "watch": 0}
    assert names(client, "until=100") == []


def test_a_finding_is_shown_in_the_time_of_the_record_in_which_it_is_so():
    onset = Onset(1e9 + 2 * HOUR, (2, 3), (0, 3), (1, 2))
    late = alert("ab", onset=onset, runs=("stuck",))
    app = build_app(make_store(), make_monitor=fake(alerts=(late,)))
    with TestClient(app, base_url="http://127.0.0.1") as client:
        for asked, shown in ((f"until={1e9 + HOUR}", 0), (f"since={1e9 + HOUR}", 1)):
            assert len(client.get(f"/api/overview?{asked}").json()["findings"]) == shown


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("context=model%3Dx", ["open", "bad", "good-1"]),
        ("outcome=failed", ["bad"]),
        ("outcome=unknown", ["open"]),
        ("text=GOOD", ["good-2", "good-1"]),
        ("finding=f1", ["stuck", "bad"]),
        ("finding=f1&context=model%3Dx", ["bad"]),
        ("sort=moves", ["stuck", "good-2", "bad", "good-1", "open"]),
        ("sort=after&text=o", ["open", "good-2", "good-1"]),
        ("", ["open", "stuck", "bad", "good-2", "good-1"]),
    ],
)
def test_runs_are_chosen_and_sorted_on_the_server(client, query, expected):
    assert names(client, query) == expected


@pytest.mark.parametrize(
    "query", ["outcome=none", "kind=loop", "sort=name", "page=0", "page=x", "since=x"]
)
def test_what_cannot_be_asked_for_is_refused(client, query):
    assert client.get(f"/api/runs?{query}").status_code == 400


def test_runs_come_a_hundred_at_a_time(monkeypatch):
    store = path_store(*["abc"] * 250)
    with TestClient(build_app(store, make_monitor=fake()), base_url="http://127.0.0.1") as client:
        parts = [client.get(f"/api/runs?page={page}").json() for page in (1, 2, 3, 9)]
    assert [len(part["runs"]) for part in parts] == [100, 100, 50, 50]
    assert {part["pages"] for part in parts} == {3}
    assert len({run["id"] for part in parts[:3] for run in part["runs"]}) == 250


def test_only_the_runs_of_the_last_moves_are_read(monkeypatch):
    monkeypatch.setattr(_records, "MOST_MOVES", 20)
    store = path_store(*["abc"] * 250)
    with TestClient(build_app(store, make_monitor=fake()), base_url="http://127.0.0.1") as client:
        found = client.get("/api/runs").json()
    assert (found["all"], found["is_part"]) == (10, True)


def test_runs_are_read_again_only_where_more_is_recorded():
    with make_store() as store, Records(store) as records:
        reader = RunReader(records)
        first = reader.get()
        reader._old = 0.0
        assert reader.get() is first
        store.append([Transition("a", "b", "new")])
        assert reader.get() is first  # not so soon
        reader._old = 0.0
        assert len(reader.get().table) == 6


def test_who_asks_while_runs_are_read_gets_what_was_read_before():
    with make_store() as store, Records(store) as records:
        reader = RunReader(records)
        first = reader.get()
        reader._old = 0.0
        with reader._lock:
            assert reader.get() is first


def test_the_page_of_a_run_has_its_path_with_the_onset_and_a_link(client):
    found = client.get(f"/api/run/{state_id('stuck')}").json()
    assert found["summary"].startswith("stuck: stopped at the recursion limit")
    assert found["link"] == "https://example.org/traces/stuck"
    assert [(line["steps"], line["text"], line["times"]) for line in found["lines"]] == [
        ("1", "plan", 1),
        ("2-41", "check ⇄ look", 20),
    ]
    assert found["lines"][1]["onset"] == "repeats itself from here: 39 changes"
    assert {"name": "moves", "value": "41, 39 after it started repeating"} in found["rows"]


def test_a_run_and_the_run_inside_it_lead_to_each_other():
    store = TransitionStore("sqlite://")
    store.append([Beginning("T", "1"), Beginning("T/work:7", "2", parent="1")])
    store.append([Transition("__start__", "work", "T", run="1")])
    store.append([Transition("__start__", "search", "T/work:7", run="2")])
    with TestClient(build_app(store, make_monitor=fake()), base_url="http://127.0.0.1") as client:
        assert names(client) == ["T"]
        above = client.get(f"/api/run/{state_id('T')}").json()
        assert [line["text"] for line in above["lines"]] == ["work", "run work:7, 1 move", "search"]
        below = client.get(f"/api/run/{above['lines'][1]['run']}").json()
        assert below["label"] == "T/work:7"
        assert client.get(f"/api/run/{below['parent']}").json()["label"] == "T"


def test_a_long_path_is_shown_in_part():
    store = path_store([f"s{i}" for i in range(3_000)])
    with TestClient(build_app(store, make_monitor=fake()), base_url="http://127.0.0.1") as client:
        found = client.get(f"/api/run/{state_id('run 0')}").json()
    assert len(found["lines"]) <= 501
    assert (
        sum(line.get("left_out", 0) for line in found["lines"]) == 3_000 - len(found["lines"]) + 1
    )


def test_a_finding_names_its_runs_as_links(client):
    (found,) = client.get("/api/overview").json()["findings"]
    assert [run["label"] for run in found["runs"]] == ["stuck", "bad"]
    assert client.get(f"/api/run/{found['runs'][0]['id']}").json()["label"] == "stuck"


def test_keys_of_runs_are_harmless():
    store = TransitionStore("sqlite://")
    keys = [key for key in HOSTILE if key]
    store.append(Transition("a", "b", key) for key in keys)
    with TestClient(build_app(store, make_monitor=fake()), base_url="http://127.0.0.1") as client:
        found = client.get("/api/runs").json()["runs"]
        assert len(found) == len(keys)
        for run in found:
            page = client.get(f"/api/run/{run['id']}")
            assert page.status_code == 200
            assert len(page.text) < 5_000
            for bad in ("\x1b", "\u202e", "\n"):
                assert bad not in page.text
                assert bad not in run["label"]


def test_a_source_without_runs_says_so():
    graph = TransitionGraph()
    graph.record("a", "b")
    with TestClient(build_app(graph, make_monitor=fake()), base_url="http://127.0.0.1") as client:
        assert client.get("/api/overview").json()["tiles"] is None
        assert client.get("/api/runs").json()["runs"] == []
        assert client.get("/api/run/none").status_code == 404


@pytest.mark.parametrize("path", ["/nowhere", "/static/none.js", "/?context=model%3Dz", "/x/y/z"])
def test_what_is_not_here_is_a_page_that_says_so(client, path):
    answer = client.get(path)
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("text/html")
    assert '<a href="/">' in answer.text


def test_a_label_that_is_not_here_is_shown_as_text(client):
    answer = client.get("/runs", params={"context": "<script>alert(1)</script>=x"})
    assert answer.status_code == 404
    assert "&lt;script&gt;alert(1)&lt;/script&gt;=x" in answer.text
    assert "<script" not in answer.text


def test_an_address_of_runs_that_is_none_is_refused():
    with pytest.raises(InvalidInputError, match="after the host"):
        build_app(make_store(), run_url="javascript:alert('{run}')")
