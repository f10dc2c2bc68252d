"""What the dashboard sends: small, bounded, and harmless whatever a state is called."""

import csv
import functools
import io
import json
import re
import sys
import time
from itertools import pairwise

import numpy as np
import pytest
from starlette.testclient import TestClient

import detailed_balance.dashboard
from detailed_balance import Transition, TransitionCounts, TransitionGraph, TransitionStore
from detailed_balance.analyzers.errors import DetailedBalanceError, InvalidInputError
from detailed_balance.callbacks.store.reading import find_excerpts
from detailed_balance.dashboard import build_app
from detailed_balance.dashboard._api import STREAMS
from detailed_balance.dashboard._ids import label_name, loop_id, parse_context, state_id
from detailed_balance.dashboard._landscape import EDGES_SHOWN, draw_landscape
from detailed_balance.dashboard._monitors import BusyError, MonitorPool, take_snapshot
from detailed_balance.dashboard._records import Records
from detailed_balance.monitor import Monitor
from detailed_balance.render import guard_cell
from tests.support.dashboards import HOSTILE, FakeMonitor, alert, fake, path_store

LOOP = "abcabcabcacb"
PATIENCE = 300  # seconds, on a machine with much to do


def open_client(source, make_monitor=None, **settings):
    app = build_app(source, make_monitor=make_monitor or fake(), **settings)
    return TestClient(app, base_url="http://127.0.0.1")


def ask(source, path, **settings):
    with open_client(source, **settings) as client:
        answer = client.get(f"/api/{path}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def random_counts(n, m, seed=0):
    rng = np.random.default_rng(seed)
    source = rng.integers(0, n, m)
    target = (source + rng.integers(1, n, m)) % n
    counts = rng.integers(1, 50, m)
    names = tuple(f"state {i}" for i in range(n))
    return TransitionCounts.from_arrays(names, source, target, counts)


def test_every_view_is_the_same_page():
    with open_client(path_store(LOOP)) as client:
        pages = {
            client.get(path).text for path in ("/", "/finding/x", "/state/x", "/loop/x", "/compare")
        }
    assert len(pages) == 1
    assert "<main" in pages.pop()


def test_a_file_that_the_browser_has_is_not_sent_again():
    with open_client(path_store(LOOP)) as client:
        tag = client.get("/static/app.js").headers["etag"]
        again = client.get("/static/app.js", headers={"if-none-match": tag})
    assert (again.status_code, again.content) == (304, b"")


def test_the_overview_tells_counts_findings_and_the_alarm_line():
    open_one = alert("abc", number="f1", severity="problem")
    over = alert("acb", number="f2", status="resolved")
    found = ask(path_store(LOOP), "overview", make_monitor=fake(alerts=(open_one, over)))
    assert (found["transitions"], found["states"], found["edges"]) == (11, 3, 5)
    assert found["open"] == {"problem": 1, "watch": 0}
    assert [f["status"] for f in found["findings"]] == ["open", "resolved"]
    assert found["line"] == pytest.approx(2.9957, abs=1e-4)
    assert found["evidence"] == [[1.0, 2.0], [3, 6], [0.0, 5.0]]


def test_a_range_of_time_counts_what_lies_in_it():
    with open_client(path_store(LOOP), fake(alerts=(alert("abc"),))) as client:
        part = client.get("/api/overview?since=1002&until=1005").json()
        early = client.get("/api/overview?since=0&until=0.5").json()
    assert part["transitions"] == 3
    assert part["evidence"] == [[], [], []]  # of before that range
    assert (part["log_e_value"], part["alarm"]) == (0.0, False)
    assert [f["id"] for f in part["findings"]] == ["f1"]  # still open then
    assert early["findings"] == []


def test_a_live_graph_has_no_range_of_time():
    graph = TransitionGraph()
    graph.record("a", "b")
    with open_client(graph) as client:
        assert client.get("/api/contexts").json()["times"] is False
        answer = client.get("/api/states?since=1")
    assert answer.status_code == 400
    assert "live graph" in answer.json()["error"]


@pytest.mark.parametrize("query", ["since=x", "until=nan", "since=inf", "since=1e999"])
def test_a_moment_that_is_none_is_refused(query):
    with open_client(path_store(LOOP)) as client:
        assert client.get(f"/api/overview?{query}").status_code == 400


def test_labels_choose_what_is_shown():
    store = path_store("abc", model="x")
    store.append([Transition("d", "e", "run", (("model", "y"),))])
    with open_client(store) as client:
        labels = client.get("/api/contexts").json()["labels"]
        states = client.get("/api/states?context=model%3Dx").json()["states"]
        unknown = client.get("/api/states?context=model%3Dz")
    assert labels == [
        {
            "name": "model",
            "values": [{"query": f"model={v}", "label": v} for v in "xy"],
            "more": 0,
        }
    ]
    assert sorted(state["label"] for state in states) == ["a", "b", "c"]
    assert unknown.status_code == 404


def shown_states(client, query=""):
    """Return the states of the page, and how many moves its monitor counted."""
    states = client.get(f"/api/states?{query}").json()["states"]
    counted = client.get("/api/overview").json()["transitions"]
    return sorted(state["label"] for state in states), counted


def monitored(source, context, **settings):
    monitor = Monitor(source, context=context or None, **settings)
    monitor.poll()
    return monitor


def wanted_store():
    """Return a store of two runs of the model x and one of y, which began at 1,000 seconds."""
    store = path_store(["a1", "hub", "b", "a2"], ["b", "hub", "a1"], model="x")
    store.append([Transition("c", "a1", "run 2", (("model", "y"),), 0, 2_000.0)])
    return store


def test_states_have_the_names_that_are_wanted_on_every_page():
    wanted = {"merge": {"a*": "a"}, "hide": ["hub"]}
    make = functools.partial(monitored, **wanted)
    with open_client(wanted_store(), make, **wanted) as client:
        assert shown_states(client) == (["a", "b", "c"], 4)
        assert shown_states(client, "since=0&until=1500")[0] == ["a", "b"]
        page = client.get(f"/api/state/{state_id('b')}").json()
        assert [(m["label"], m["count"]) for m in page["leaves"]["moves"]] == [("a", 2)]
        assert {walk["trajectory"] for walk in page["walks"]} == {"run 0", "run 1"}
        run = client.get("/api/runs").json()["runs"][0]
        lines = client.get(f"/api/run/{run['id']}").json()["lines"]
        assert "hub" not in json.dumps(lines)


def test_runs_are_chosen_by_their_time_and_labels_on_every_page():
    store = wanted_store()
    with open_client(store, functools.partial(monitored, since=1_500.0), since=1_500.0) as client:
        assert shown_states(client) == (["a1", "c"], 1)
        assert client.get("/api/runs").json()["all"] == 1
    with open_client(store, monitored, context={"model": "x"}) as client:
        assert shown_states(client) == (["a1", "a2", "b", "hub"], 5)
        assert client.get("/api/runs").json()["all"] == 2
        values = client.get("/api/contexts").json()["labels"][0]["values"]
        assert [value["label"] for value in values] == ["x"]
        assert client.get("/api/states?context=model%3Dy").status_code == 404
        sides = client.get("/api/compare?a=model%3Dx&b=model%3Dx")
        assert sides.status_code == 200


def test_what_is_wanted_reaches_the_monitor_of_a_page():
    app = build_app(wanted_store(), merge={"a*": "a"}, hide=["hub"], block="model", every=60.0)
    with TestClient(app, base_url="http://127.0.0.1") as client:
        deadline = time.monotonic() + PATIENCE
        while client.get("/api/overview").json()["transitions"] < 4:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert shown_states(client) == (["a", "b", "c"], 4)
    with pytest.raises(InvalidInputError, match="until"):
        build_app(TransitionGraph(), until=5.0)


def test_a_state_page_tells_where_it_goes_and_whence_it_comes():
    store = path_store(["__start__", "a", "b", "a", "a", "c"])
    store.append([Transition("a", None, "run 0")])
    found = ask(store, f"state/{state_id('a')}")
    assert (found["key"], found["attempts"], found["itself"], found["escapes"]) == ("a", 4, 1, 1)
    assert [(m["label"], m["count"]) for m in found["leaves"]["moves"]] == [("b", 1), ("c", 1)]
    assert {(m["label"], m["id"] is None) for m in found["enters"]["moves"]} == {
        ("__start__", True),
        ("b", False),
    }


def test_a_loop_page_has_the_affinity_of_its_counts():
    edges = [("a", "b", 90), ("b", "c", 90), ("c", "a", 90)]
    edges += [(target, source, 10) for source, target, _ in edges]
    graph = TransitionGraph.from_counts(TransitionCounts.from_edges(edges))
    found = ask(graph, f"loop/{loop_id('abc')}")
    assert (found["there"], found["back"]) == ([90, 90, 90], [10, 10, 10])
    assert found["affinity"] == pytest.approx(3 * np.log(9))
    assert found["error"] == pytest.approx(np.sqrt(3 / 90 + 3 / 10))


@pytest.mark.parametrize("loop", ["x", "a.a", ".".join(["ab"] * 100), "..", "0" * 16])
def test_what_is_no_loop_is_refused(loop):
    with open_client(path_store(LOOP)) as client:
        assert client.get(f"/api/loop/{loop}").status_code in (400, 404)


def test_a_finding_comes_with_its_counts_details_and_examples():
    one = alert("abc", runs=("t1",), affected=1, evidence="p = 0.01")
    found = ask(path_store(LOOP), "finding/f1", make_monitor=fake(alerts=(one,)))
    assert found["counted"]["there"] == [3, 3, 3]
    assert found["rows"] == [{"name": "sure?", "value": "p = 0.01"}]
    assert [run["label"] for run in found["runs"]] == ["t1"]
    (walk,) = found["walks"]
    assert [state["label"] for state in walk["path"]] == list(LOOP)
    assert walk["hits"] == 9


def test_an_unknown_finding_state_or_page_says_so():
    with open_client(path_store(LOOP)) as client:
        for path in ("finding/none", "state/none", "nothing"):
            answer = client.get(f"/api/{path}")
            assert answer.status_code == 404
            assert answer.json()["error"]


def test_examples_are_the_runs_that_made_all_the_moves_last():
    store = path_store("abca", "abab", "xbcax")
    walks = find_excerpts(store, [("b", "c"), ("c", "a")])
    assert [walk.trajectory for walk in walks] == ["run 2", "run 0"]
    assert walks[0].moves == (("x", "b"), ("b", "c"), ("c", "a"), ("a", "x"))
    assert find_excerpts(store, []) == ()


def test_two_contexts_are_compared_state_by_state():
    store = TransitionStore("sqlite://")
    rng = np.random.default_rng(0)
    for model, forward in (("x", 0.8), ("y", 0.2)):
        moves = np.where(rng.random(600) < forward, "b", "c")
        store.append(Transition("a", str(to), model, (("model", model),)) for to in moves)
        store.append(Transition(str(to), "a", model, (("model", model),)) for to in moves)
    with open_client(store) as client:
        found = client.get("/api/compare?a=model%3Dx&b=model%3Dy").json()
        same = client.get("/api/compare?a=model%3Dx&b=model%3Dx").json()
    row = found["kernels"]["rows"][0]
    assert (row["label"], row["moves"]) == ("a", [600, 600])
    assert abs(row["change"]) == pytest.approx(0.6, abs=0.1)
    assert found["potentials"]["differ"]
    assert not same["potentials"]["differ"]
    assert not same["kernels"]["differ"]


def test_the_landscape_shows_the_states_that_matter_and_groups_the_rest():
    snapshot = take_snapshot(random_counts(400, 6000))
    drawn = draw_landscape(snapshot, {"f": ["state 1", "state 2", "state 3"]}, top=50)
    shown = [node for node in drawn["nodes"] if not node["group"]]
    groups = [node for node in drawn["nodes"] if node["group"]]
    assert 50 <= len(shown) <= 53
    assert {state_id(f"state {i}") for i in (1, 2, 3)} <= {node["id"] for node in shown}
    assert sum(int(node["label"].split()[0]) for node in groups) == 400 - len(shown)
    assert len(drawn["edges"]) <= EDGES_SHOWN
    assert drawn["states"] == 400


def test_the_states_of_loops_are_drawn_however_many_others_are():
    snapshot = take_snapshot(random_counts(900, 9000))
    rarest = [snapshot.counts.states[i] for i in np.argsort(snapshot.flows)[:3]]
    drawn = draw_landscape(snapshot, {"f": rarest}, top=400)
    assert {state_id(state) for state in rarest} <= {node["id"] for node in drawn["nodes"]}
    assert len([node for node in drawn["nodes"] if not node["group"]]) == 400


def test_a_landscape_is_as_high_as_its_potential():
    snapshot = take_snapshot(random_counts(30, 400))
    nodes = draw_landscape(snapshot, {})["nodes"]
    values = {
        state_id(s): v
        for s, v in zip(snapshot.potential.states, snapshot.potential.values, strict=True)
    }
    by_height = sorted(nodes, key=lambda node: -node["y"])
    assert [values[node["id"]] for node in by_height] == sorted(values.values())


def test_components_stand_side_by_side_each_with_a_scale_of_its_own():
    pairs = [("start", "a", 9), ("a", "b", 40), ("b", "a", 60), ("a", "c", 5), ("a", "d", 5)]
    pairs += [("c", "e", 9), ("d", "e", 9), ("e", "f", 400), ("f", "e", 50), ("f", "done", 9)]
    drawn = draw_landscape(
        take_snapshot(TransitionCounts.from_edges([*pairs, ("done", None, 9)])), {}
    )
    x = {node["label"]: node["x"] for node in drawn["nodes"]}
    y = {node["label"]: node["y"] for node in drawn["nodes"]}
    assert x["start"] < min(x["a"], x["b"])
    assert max(x["a"], x["b"]) < min(x["c"], x["d"])
    assert max(x["c"], x["d"]) < min(x["e"], x["f"])
    assert max(x["e"], x["f"]) < x["done"]
    assert y["c"] != y["d"]
    first, second = drawn["scales"]
    assert first["left"] <= x["a"] <= first["right"] < second["left"] <= x["e"] <= second["right"]
    for scale, (low, high) in ((first, ("a", "b")), (second, ("f", "e"))):
        low, high = sorted((low, high), key=lambda state: -y[state])
        assert (y[low], y[high]) == (0.0, pytest.approx(-scale["scale"] * scale["top"], abs=0.1))


def test_a_landscape_that_is_drawn_again_keeps_its_places():
    counts = random_counts(30, 400)
    places = {}
    first = draw_landscape(take_snapshot(counts), {}, places=places)
    more = counts + TransitionCounts.from_edges([("state 1", "state 2", 40), ("new", "state 1", 3)])
    then = {
        node["id"]: node["x"]
        for node in draw_landscape(take_snapshot(more), {}, places=places)["nodes"]
    }
    moved = [abs(node["x"] - then[node["id"]]) for node in first["nodes"]]
    assert np.median(moved) < 10
    fresh = [draw_landscape(take_snapshot(counts), {}) for _ in range(2)]
    assert fresh[0] == fresh[1]


def test_driven_loops_are_drawn_first_and_marked():
    snapshot = take_snapshot(random_counts(200, 8000))
    counts = snapshot.counts
    rows, columns = counts.counts.nonzero()
    loop = next(
        [counts.states[i], counts.states[j], counts.states[k]]
        for i, j in zip(rows, columns, strict=True)
        for k in counts.counts[[j], :].indices
        if counts.counts[k, i] and len({i, j, k}) == 3
    )
    edges = draw_landscape(snapshot, {"f": loop}, top=200)["edges"]
    assert len(edges) == EDGES_SHOWN
    assert [edge["loops"] for edge in edges[:4]] == [["f"], ["f"], ["f"], []]


def test_a_large_graph_is_never_sent_whole():
    graph = TransitionGraph.from_counts(random_counts(1_500, 15_000))
    with open_client(graph) as client:
        for path in ("overview", "landscape?top=400", "states?top=1000", "contexts"):
            answer = client.get(f"/api/{path}", headers={"accept-encoding": "identity"})
            assert len(answer.content) < 250_000, path


def test_findings_evidence_and_traps_are_bounded():
    states = [f"s{i}" for i in range(5_000)]
    many = tuple(alert(states, number=f"f{i}", kind="trap") for i in range(1_000))
    trap = {
        "states": states,
        "stay": np.inf,
        "interval": [1, "inf"],
        "visits": 9,
        "moves": 9,
        "exits": 0,
    }
    monitor = fake(alerts=many, traps=(trap,) * 500)
    with open_client(path_store(LOOP), monitor) as client:
        answer = client.get("/api/overview", headers={"accept-encoding": "identity"})
    found = answer.json()
    assert (found["more_findings"], found["more_traps"]) == (800, 470)
    assert found["traps"][0]["stay"] == "inf"
    assert len(answer.content) < 400_000


# Hostile names


def hostile_store(url="sqlite://"):
    store = TransitionStore(url)
    names = HOSTILE
    for number in range(3):
        run = HOSTILE[number]
        context = (("label " + HOSTILE[0], HOSTILE[number]),)
        path = names * 3
        moves = enumerate(pairwise(path))
        store.append(Transition(a, b, run, context, i, 10.0 + i) for i, (a, b) in moves)
    return store


@pytest.fixture(scope="module")
def hostile():
    with open_client(hostile_store(), hostile_monitor()) as client:
        yield client


def hostile_monitor():
    about = alert(HOSTILE[:8], title=f"{HOSTILE[0]} \x1b[2J \u202e", since=HOSTILE[6])
    trap = {
        "states": HOSTILE,
        "stay": 3.0,
        "interval": [1.0, 9.0],
        "visits": 9,
        "moves": 9,
        "exits": 1,
    }
    return fake(alerts=(about,), traps=(trap,))


@pytest.mark.parametrize(
    "path",
    ["overview", "landscape", "states", "contexts", "finding/f1", f"loop/{loop_id(HOSTILE[:8])}"],
)
def test_hostile_names_come_as_small_visible_text(hostile, path):
    answer = hostile.get(f"/api/{path}", headers={"accept-encoding": "identity"})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert len(answer.content) < 60_000
    texts = "".join(each_text(answer.json()))
    assert texts.isprintable(), [c for c in texts if not c.isprintable()]


def each_text(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, item in value.items():
            yield name
            yield from each_text(item)
    elif isinstance(value, list):
        for item in value:
            yield from each_text(item)


def test_every_hostile_state_has_a_page_and_a_harmless_address(hostile):
    for key in HOSTILE:
        number = state_id(key)
        assert re.fullmatch("[0-9a-f]{16}", number)
        found = hostile.get(f"/api/state/{number}").json()
        assert found["length"] == len(key)
        assert found["attempts"] >= 6
        assert len(found["key"]) <= 4_000
        assert found["walks"], key


def test_a_hostile_label_can_be_chosen(hostile):
    (label,) = hostile.get("/api/contexts").json()["labels"]
    for value in label["values"]:
        answer = hostile.get("/api/states", params={"context": value["query"]})
        assert answer.json()["all"] == len(HOSTILE)


def test_a_label_that_no_address_can_hold_is_named_by_a_digest():
    for value in ("\ud800", "nul \x00", "x" * 500, "\u202e"):
        assert re.fullmatch("~[0-9a-f]{16}", label_name("model", value))
    known = [(("a=b", "c"),), (("a", "b=c"),)]
    assert {parse_context([label_name(*labels[0])], known) for labels in known} == set(known)


@pytest.mark.parametrize("name", ["states", "moves", "findings", "traps"])
def test_no_cell_of_an_export_is_a_formula_and_nothing_is_lost(hostile, name):
    answer = hostile.get(f"/api/export/{name}.csv")
    assert answer.headers["content-disposition"] == f'attachment; filename="{name}.csv"'
    csv.field_size_limit(10_000_000)
    rows = list(csv.reader(io.StringIO(answer.text, newline="")))
    cells = [cell for row in rows[1:] for cell in row]
    dangerous = [c for c in cells if c.strip()[:1] in tuple("=+-@\t\r\n\0|") and not is_number(c)]
    assert "".join(cells).isprintable()
    assert [cell for cell in dangerous if cell.strip()] == []
    if name == "states":
        assert {unguard(row[0]) for row in rows[1:]} == set(HOSTILE)


def is_number(cell):
    return bool(re.fullmatch(r"-?(inf|nan|[\d.]+(e[+-]?\d+)?)", cell))


def unguard(cell):
    """Turn an exported cell back into the state key."""
    text = cell[1:] if cell.lstrip().startswith("'") and not cell.startswith(" ") else cell
    return re.sub(
        r"\\(x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8}|.)",
        lambda m: json.loads('"\\\\"') if m[1] == "\\" else _char(m[1]),
        text,
    )


def _char(code):
    simple = {"n": "\n", "r": "\r", "t": "\t"}
    return simple[code] if code in simple else chr(int(code[1:], 16))


@pytest.mark.parametrize("key", ["=1", "'=1", "''", "plain", "\uff1d1", "\t=1", " =1", "-", "a=1"])
def test_a_guarded_cell_can_be_turned_back(key):
    guarded = guard_cell(key)
    assert not guarded.lstrip().startswith(tuple("=+-@\uff1d"))
    assert guarded == key or unguard(guarded) == key


# Watching


def test_as_many_contexts_as_there_may_be_are_watched():
    made = []

    def make(source, context):
        made.append(FakeMonitor(source, context))
        return made[-1]

    with Records(TransitionGraph()) as records:
        monitors = MonitorPool(records, make, most=2)
        first = monitors.get((("m", "1"),))
        monitors.get((("m", "2"),))
        assert monitors.get((("m", "1"),)) is first
        with pytest.raises(BusyError, match="2 choices"):
            monitors.get((("m", "3"),))
        for watch in (first, monitors.get((("m", "2"),))):
            watch.asked -= 60  # nobody has looked for a minute
        monitors.get((("m", "3"),))
        made[0].ended.wait(PATIENCE)
        assert [monitor.ended.is_set() for monitor in made] == [True, False, False]
        monitors.close()
        assert all(monitor.ended.is_set() for monitor in made)


def test_a_page_that_stays_open_is_told_of_what_is_new():
    graph = TransitionGraph()
    graph.record("a", "b")
    app = build_app(graph, make_monitor=fake(), every=0.5)
    api = app.routes[-1].endpoint.__self__
    events = iter_events(app)
    assert next(events)["transitions"] == 1
    assert api._streams == 1
    graph.record("b", "a")
    assert next(events)["transitions"] == 2
    events.close()
    api._streams = STREAMS
    answer = TestClient(app, base_url="http://127.0.0.1").get("/api/events")
    assert answer.status_code == 503


def iter_events(app):
    """Yield what is sent to one page, by running the application by hand."""
    import asyncio

    loop = asyncio.new_event_loop()
    sent = asyncio.Queue()
    scope = {
        "type": "http", "method": "GET", "path": "/api/events", "query_string": b"",
        "headers": [(b"host", b"localhost"), (b"accept-encoding", b"gzip")], "http_version": "1.1",
    }  # fmt: skip

    async def receive():
        await asyncio.sleep(3600)

    task = loop.create_task(app(scope, receive, sent.put))
    try:
        while True:
            message = loop.run_until_complete(asyncio.wait_for(sent.get(), PATIENCE))
            body = message.get("body", b"").decode()
            if "data: " in body:
                yield json.loads(body.split("data: ")[1])
    finally:
        task.cancel()
        loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
        loop.close()


def test_a_real_monitor_finds_the_loop_that_the_views_show():
    store = path_store("abc" * 400)
    app = build_app(store, every=0.1)
    with TestClient(app, base_url="http://127.0.0.1") as client:
        deadline = time.monotonic() + PATIENCE
        found = {"findings": []}
        while not any(f["kind"] == "driven" for f in found["findings"]):
            assert time.monotonic() < deadline, found
            time.sleep(0.1)
            found = client.get("/api/overview").json()
        alarm = next(f for f in found["findings"] if f["kind"] == "driven")
        shown = client.get(f"/api/finding/{alarm['id']}").json()
    assert alarm["loop"] == loop_id("abc")
    assert sorted(shown["counted"]["there"]) == [399, 400, 400]


def test_a_dashboard_serves_what_a_monitor_can_watch():
    assert build_app(path_store(LOOP), make_monitor=lambda s, c: Monitor(s, context=c or None))
    with pytest.raises(InvalidInputError, match="holds no transitions; allowed are"):
        build_app(object())


def test_without_the_extra_the_error_names_it(monkeypatch):
    monkeypatch.delitem(vars(detailed_balance.dashboard), "build_app", raising=False)  # loaded once
    for name in list(sys.modules):
        if name.startswith("detailed_balance.dashboard."):
            monkeypatch.delitem(sys.modules, name)
        elif name.partition(".")[0] == "starlette":
            monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(DetailedBalanceError, match=r"detailed-balance\[dashboard\]"):
        _ = detailed_balance.dashboard.build_app
