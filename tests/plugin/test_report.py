"""What people read first: the verdict says what was found, and no key can harm the reader."""

import base64
import html.parser
import json
import random
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest
from rich.console import Console

from detailed_balance import (
    Report,
    Transition,
    TransitionCounts,
    TransitionGraph,
    TransitionStore,
    analyze,
)
from detailed_balance.analyzers import START, Softplus, estimate_potential
from detailed_balance.analyzers.errors import (
    ConvergenceError,
    InsufficientDataError,
    InvalidInputError,
    ReadError,
    UnknownStateError,
)
from detailed_balance.sources.source import open_source
from tests.support.chains import data_file, reversible_kernel, walk_counts

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "$x^2_{$",
    "[red]bold[/red] [link=http://evil.example]x[/link]",
    "\x1b[31mred\x1b]8;;http://evil.example\x07",
    "x" * 10_000,
    "\u202egnirts\ud800\x00",
    "{style} {0} %s &amp;",
]


UNCLASSIFIED = (
    "WATCH: detailed balance is broken by 1 cause, most by the loop critic → plan → search → "
    "critic; without outcomes of runs its kind is not known"
)


def edges(*loop: str, forward: int, backward: int) -> list[tuple[str, str | None, int]]:
    """Walk a loop `forward` times in its direction and `backward` times in reverse."""
    steps = list(zip(loop, (*loop[1:], loop[0]), strict=True))
    return [(f, g, forward) for f, g in steps] + [(g, f, backward) for f, g in steps]


def counts_of(*parts: list[tuple[str, str | None, int]]) -> TransitionCounts:
    return TransitionCounts.from_edges(edge for part in parts for edge in part)


def driven(**kwargs: Any) -> Report:
    return analyze(counts_of(edges("plan", "search", "critic", forward=90, backward=10)), **kwargs)


def hostile_counts() -> TransitionCounts:
    """Let every hostile key drive a loop, sit in a trap and be a state."""
    rng = random.Random(1)
    loops = [
        edges(*HOSTILE[i : i + 3], forward=40 + rng.randrange(9), backward=3)
        for i in range(len(HOSTILE) - 2)
    ]
    trap: list[tuple[str, str | None, int]] = [
        (HOSTILE[0], HOSTILE[1], 5_000),
        (HOSTILE[1], HOSTILE[0], 5_000),
        (HOSTILE[0], None, 3),
    ]
    return counts_of(*loops, trap)


# The verdict


def test_a_driven_triangle_breaks_detailed_balance() -> None:
    verdict = driven().verdict
    assert verdict.headline == UNCLASSIFIED
    assert verdict.outcome == "watch"
    # The affinity is 3 log 9, its error the root of 3/90 + 3/10.
    assert "critic → plan → search → critic: affinity 6.59 ± 0.58 nats" in str(verdict)
    assert "90 times in this direction, 10 times in reverse" in str(verdict)
    assert "--baseline good_runs.jsonl" in str(verdict)


def test_walking_both_ways_alike_is_no_violation() -> None:
    report = analyze(counts_of(edges("a", "b", "c", forward=500, backward=500)))
    assert report.verdict.headline == "OK: no violation of detailed balance and no trap was found"
    assert report.verdict.outcome == "ok"
    # (1.960 + 0.842) standard errors of sqrt(6/500) each: 0.31 nats, a factor of 1.36.
    assert "With 80% probability a loop taken 1.36 times as often" in str(report)
    assert report.findings == ()


def test_too_few_transitions_say_how_many_more_are_needed() -> None:
    report = analyze(counts_of(edges("a", "b", "c", forward=8, backward=8)))
    assert report.verdict.headline.startswith("UNKNOWN: too little data")
    assert report.verdict.outcome == "unknown"
    # (1.960 + 0.842) sqrt(6/8.5) = 2.35 nats; 2.35 squared is 5.5, so 6 times the 48.
    assert "About 6 times as many transitions (288) would find a loop" in str(report.verdict)


def test_a_pipeline_cannot_be_tested() -> None:
    report = analyze(counts_of([("plan", "search", 9), ("search", "write", 9), ("write", "x", 9)]))
    untestable = "UNKNOWN: detailed balance cannot be tested: there is no loop of three states"
    assert report.verdict.headline == untestable
    assert report.verdict.outcome == "unknown"
    assert "A state function that distinguishes more states may show one" in str(report.verdict)


def test_a_loop_walked_too_rarely_is_not_called_absent() -> None:
    report = analyze(counts_of(edges("a", "b", "c", forward=2, backward=1)))
    assert report.verdict.headline.startswith("UNKNOWN: no loop was taken often enough")
    assert "Each pair of states in a loop must be seen 5 times" in str(report.verdict)


def test_an_oscillation_is_a_trap_and_no_violation() -> None:
    there_and_back: list[tuple[str, str | None, int]] = [
        ("search", "critic", 900),
        ("critic", "search", 895),
        ("__start__", "plan", 30),
        ("plan", "search", 30),
        ("search", "plan", 30),
    ]
    report = analyze(counts_of(there_and_back))
    assert report.verdict.headline.startswith(
        "WATCH: the agent stays long in critic ↔ search: 61.50 moves before it leaves"
    )
    assert [(finding.kind, finding.place) for finding in report.findings] == [
        ("trap", ("critic", "search"))
    ]
    assert "a trap does not break balance" in str(report.verdict)
    assert "no loop of three states was taken" in str(report.verdict)


def test_a_violation_and_a_trap_are_both_told() -> None:
    trap = edges("wait", "retry", forward=500, backward=500)
    loop = edges("plan", "search", "critic", forward=90, backward=10)
    between: list[tuple[str, str | None, int]] = [("plan", "wait", 4), ("wait", "plan", 4)]
    report = analyze(counts_of(trap, loop, between))
    assert report.verdict.headline == UNCLASSIFIED
    assert [finding.kind for finding in report.findings] == ["driven", "trap"]
    assert "WATCH    the agent stays long in retry ↔ wait" in str(report.verdict)


def test_a_loop_without_another_way_that_runs_left_is_driven_by_design() -> None:
    loop = edges("a", "b", "c", forward=60, backward=0)
    report = analyze(counts_of(loop, [("__start__", "a", 9), ("c", "__end__", 9)]))
    assert report.balance.violations[0].kind == "structural"
    assert report.findings == ()
    assert report.verdict.outcome == "ok"
    assert "as designed or as in the baseline" in report.verdict.headline
    assert "structural: each step is the only exit ever seen" in str(report.verdict)
    assert "What breaks balance" in str(report)


def test_a_loop_that_was_never_left_is_no_design() -> None:
    report = analyze(counts_of(edges("a", "b", "c", forward=60, backward=0)))
    assert [v.kind for v in report.balance.violations] == ["unclassified"]
    assert [finding.kind for finding in report.findings] == ["driven"]
    assert report.verdict.outcome == "watch"


def test_a_loop_that_good_runs_walk_as_often_breaks_nothing() -> None:
    good = counts_of(edges("plan", "search", "critic", forward=900, backward=100))
    report = driven(baseline=good)
    assert [violation.kind for violation in report.balance.violations] == ["work-flow"]
    assert report.verdict.outcome == "ok"
    assert "(work-flow: taken as often in the baseline)" in str(report.verdict)


def test_a_loop_that_good_runs_do_not_walk_is_suspect() -> None:
    good = counts_of(edges("plan", "search", "critic", forward=100, backward=900))
    report = driven(baseline=good)
    # 90 of 300 moves here, 100 of 3,000 in the baseline.
    assert report.verdict.headline == (
        "PROBLEM: critic → plan → search → critic is taken more than in the baseline: 12.43 times "
        "the odds of a step along it"
    )
    assert report.verdict.outcome == "problem"
    assert [finding.kind for finding in report.findings] == ["driven"]
    assert report.findings[0].place == ("critic", "plan", "search")
    assert "odds" in str(report)


def test_a_loop_that_the_baseline_does_not_hold_at_all_has_no_finite_odds() -> None:
    others = edges("plan", "search", "write", forward=900, backward=900)
    headline = driven(baseline=counts_of(others)).verdict.headline
    assert headline.endswith("than in the baseline: no step along it there")


def test_a_baseline_too_small_to_tell_is_said_to_be() -> None:
    report = driven(baseline=counts_of([("plan", "search", 3)]))
    assert report.verdict.headline.endswith("; with such a small baseline its kind is not known")
    assert report.verdict.outcome == "watch"
    assert "The baseline is too small to say more" in str(report.verdict)
    assert "--baseline" not in str(report.verdict)


def test_boundaries_enter_neither_states_nor_baseline_odds() -> None:
    ends: list[tuple[str, str | None, int]] = [("__start__", "plan", 50), ("critic", "__end__", 50)]
    loop = edges("plan", "search", "critic", forward=90, backward=10)
    report = analyze(counts_of(loop, ends), baseline=counts_of(loop, ends))
    assert report.potential.states == ("critic", "plan", "search")
    assert report.balance.violations[0].odds_ratio == pytest.approx(1.0)
    assert "runs         50" in str(report)


def test_one_potential_explains_all_of_what_a_reversible_chain_does() -> None:
    conductance = np.random.default_rng(3).integers(40, 4_000, size=(6, 6))
    report = analyze(TransitionCounts.from_dense(conductance + conductance.T))
    assert report.verdict.outcome == "ok"
    told = "One potential explains 100% of the drift (r = 1.00), over 15 pairs"
    assert told in str(report.verdict)


def test_a_potential_that_did_not_converge_is_reported_with_a_warning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def give_up(*args: Any, **kwargs: Any) -> None:
        raise ConvergenceError("no", estimate_potential(*args, **kwargs))

    monkeypatch.setattr("detailed_balance.diagnosis.measure.estimate_potential", give_up)
    report = driven()
    assert report.verdict.headline == UNCLASSIFIED
    assert "V may be inaccurate: its minimum was not reached" in str(report.verdict)


# What is asked of the source


def test_of_a_source_without_transitions_nothing_is_known_and_that_is_said() -> None:
    nothing = analyze(TransitionGraph())
    assert nothing.verdict.headline.startswith("UNKNOWN: TransitionGraph holds no transition")
    assert "nothing at all" in nothing.reason
    assert "only 7 attempts that reached no state" in analyze(counts_of([("a", None, 7)])).reason


def test_one_state_has_no_potential_and_the_report_says_why() -> None:
    report = analyze(counts_of([("a", "a", 7)]))
    assert report.potential is None
    assert report.verdict.headline == "UNKNOWN: a is the only state; a loop takes three"
    assert report.to_dict()["potential"] is None
    assert "a is the only state" in str(report)


def test_a_state_that_does_not_exist_is_named_with_its_neighbours() -> None:
    with pytest.raises(UnknownStateError, match="did you mean 'critic'"):
        driven().potential.difference("critc", "plan")


def test_a_source_of_no_known_kind_names_what_is_allowed() -> None:
    with pytest.raises(
        InvalidInputError, match=r"a list of tuple holds.*TransitionGraph.*a path, a folder"
    ):
        analyze([("a", "b", 1)])


def test_every_kind_of_source_gives_the_same_counts(tmp_path: Path) -> None:
    moves = [("plan", "search"), ("search", "plan"), ("search", None), (START, "plan")]
    graph = TransitionGraph()
    for source, target in moves:
        graph.record(source, target)
    path = tmp_path / "runs.db"
    with TransitionStore(f"sqlite:///{path}") as store:
        store.append(Transition(source, target, "run-1") for source, target in moves)
        counted = [open_source(store).counts()]
    lines = [json.dumps({"source": f, "target": g, "trajectory": "r"}) for f, g in moves]
    trace = tmp_path / "trace.jsonl"
    trace.write_text("\n".join(lines))
    handler = type("Handler", (), {"graph": graph, "faults": 0})()
    sources = [graph, handler, graph.graph, graph.snapshot(), path, f"sqlite:///{path}", trace]
    counted += [open_source(source).counts() for source in sources]
    expected = nx.DiGraph()
    expected.add_edges_from([("plan", "search"), ("search", "plan"), (START, "plan")])
    for counts in counted:
        matrix = counts.counts.tocoo()
        names = counts.states
        seen = {(names[i], names[j]) for i, j in zip(matrix.row, matrix.col, strict=True)}
        assert seen == set(expected.edges)
        assert counts.total == 3
        assert counts.escapes[counts.index("search")] == 1


def test_labels_choose_transitions_wherever_they_come_from(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text("source,target,model\na,b,x\nb,a,x\nc,d,y\n")
    source = open_source(path, context={"model": "x"}, context_fields=["model"])
    assert source.counts().states == ("a", "b")
    assert source.info.context == (("model", "x"),)
    graph = TransitionGraph()
    graph.record("a", "b", context={"model": "x"})
    graph.record("c", "d", context={"model": "y"})
    assert open_source(graph, context={"model": "y"}).counts().states == ("c", "d")


def test_labels_that_nothing_carries_name_those_that_are_there(tmp_path: Path) -> None:
    graph = TransitionGraph()
    graph.record("a", "b", context={"model": "x"})
    with pytest.raises(InsufficientDataError, match=r"no transition carries model=z.*model=x"):
        analyze(graph, context={"model": "z"})
    path = tmp_path / "trace.csv"
    path.write_text("source,target,model\na,b,x\n")
    with pytest.raises(InsufficientDataError, match="--context-field"):
        analyze(path, context={"model": "x"})
    with pytest.raises(InvalidInputError, match="TransitionCounts carry no labels"):
        analyze(counts_of([("a", "b", 1)]), context={"model": "x"})


def test_a_store_that_is_no_store_is_a_read_error(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    path.write_bytes(b"SQLite format 3\0" + b"\xff" * 4_000)
    with pytest.raises(ReadError, match=r"runs\.db"):
        analyze(path)


def test_what_was_skipped_is_counted_and_listed(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    good = '{"source": "a", "target": "b", "trajectory": "r1"}'
    back = '{"source": "b", "target": "a", "trajectory": "r2"}'
    path.write_text("\n".join([good, back, "{broken", good, back]))
    report = analyze(path, skip_bad_lines=True)
    assert report.source.skipped_count == 1
    assert report.source.trajectories == 2
    assert "1 broken line: line 3, invalid JSON" in str(report)
    assert report.to_dict()["source"]["skipped"][0]["line"] == 3


def test_errors_while_recording_are_told() -> None:
    graph = TransitionGraph.from_counts(counts_of([("a", "b", 5), ("b", "a", 5)]))
    handler = type("Handler", (), {"graph": graph, "faults": 2})()
    assert "2 transitions or fewer, by errors" in str(analyze(handler))


# Settings


def test_every_setting_is_repeated() -> None:
    report = driven(
        alpha=0.01,
        violation=Softplus(beta=2.0),
        attempts=500,
        min_attempts=3,
        errors="paper",
        correction="by",
        min_visits=7,
        baseline=counts_of([("plan", "search", 3)]),
    )
    shown = " ".join(str(report).split())
    for setting in [
        "alpha: 0.01",
        "Softplus, β = 2",
        "500 from each state (states with fewer than 3",
        "errors: paper",
        "correction: Benjamini and Yekutieli",
        "7 visits or more",
        "baseline: TransitionCounts",
    ]:
        assert setting in shown
    found = report.to_dict()
    assert found["balance"]["settings"] == {
        "alpha": 0.01,
        "errors": "paper",
        "correction": "by",
    }
    assert found["potential"]["settings"]["min_attempts"] == 3
    assert found["traps"]["settings"]["min_visits"] == 7


def test_progress_tells_every_stage(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text("source,target\n" + "a,b\nb,a\n" * 30)
    calls: list[tuple[str, int, int]] = []
    analyze(path, progress=lambda *stage: calls.append(stage))
    size = path.stat().st_size
    assert calls[:2] == [("Reading", 0, size), ("Reading", size, size)]
    stages = list(dict.fromkeys(stage for stage, _, _ in calls))
    assert stages == ["Reading", "Estimating the potential", "Testing loops", "Looking for traps"]


def test_progress_follows_the_solver_to_its_end() -> None:
    rng = np.random.default_rng(1)
    counts = TransitionCounts.from_dense(rng.poisson(20, size=(30, 30)))
    calls: list[tuple[str, int, int]] = []
    analyze(counts, progress=lambda *stage: calls.append(stage))
    steps = [(done, total) for stage, done, total in calls if stage == "Estimating the potential"]
    assert steps[0] == (0, 0)
    assert len(steps) > 2
    assert steps[-1] == (100, 100)
    assert all(0 <= done <= total for done, total in steps)


def test_ctrl_c_in_the_solver_keeps_the_report_and_says_so() -> None:
    def interrupt(stage: str, done: int, total: int) -> None:
        if stage == "Estimating the potential" and total:
            raise KeyboardInterrupt

    rng = np.random.default_rng(1)
    counts = TransitionCounts.from_dense(rng.poisson(20, size=(30, 30)))
    report = analyze(counts, progress=interrupt)
    assert "the solve was interrupted" in report.warnings[0]
    assert "the solve was interrupted" in str(report).replace("\n", " ")


# What is shown


def test_the_terminal_text_fits_80_columns() -> None:
    for report in (driven(), analyze(hostile_counts())):
        assert max(map(len, str(report).splitlines())) <= 80


def test_states_are_listed_from_the_lowest_on_and_infinite_ones_in_order() -> None:
    words = json.loads(data_file("paper", "claude_4_words.json").read_text())
    counts = TransitionCounts.from_edges(map(tuple, words["transitions"]))
    text = str(analyze(counts, attempts=words["attempts_per_state"]))
    table = text[text.index("States, lowest") :].splitlines()[3:8]
    assert [line.split()[0] for line in table] == [
        "ATTITUDE",
        "PERSONAL",
        "PROBLEMS",
        "TURKEY",
        "BUZZY",
    ]
    assert [line.split()[1] for line in table] == ["0.00", "4.07", "5.18", "∞", "∞"]


def test_a_dead_end_lies_below_the_states_that_an_agent_goes_round_in() -> None:
    dead_end: list[tuple[str, str | None, int]] = [("c", "end of it", 3), ("end of it", None, 5)]
    text = str(analyze(counts_of(edges("a", "b", "c", forward=50, backward=50), dead_end)))
    table = text[text.index("States, lowest") :].splitlines()[3:7]
    assert table[0].split() == ["end", "of", "it", "-∞", "0", "5"]
    assert {line.split()[0] for line in table[1:]} == {"a", "b", "c"}
    assert "-∞: component 1 leads down to it" in " ".join(text.split())


def test_components_that_cannot_be_compared_are_not() -> None:
    apart: list[tuple[str, str | None, int]] = [("x", "y", 9), ("y", "x", 9)]
    text = str(analyze(counts_of(edges("a", "b", "c", forward=50, backward=50), apart)))
    assert "? + 0.00" in text
    assert "?: neither leads to component 0 nor comes from it." in " ".join(text.split())


def test_more_states_than_fit_are_counted() -> None:
    kernel, _ = reversible_kernel(np.random.default_rng(0), 30)
    report = analyze(walk_counts(np.random.default_rng(0), kernel, 30_000))
    assert "And 15 more states." in str(report)


def test_hostile_keys_reach_a_terminal_as_plain_text() -> None:
    report = analyze(hostile_counts())
    console = Console(force_terminal=True, width=200, color_system="truecolor", record=True)
    with console.capture() as captured:
        console.print(report)
    text = captured.get()
    assert "\x1b[31mred" not in text
    assert "\x1b]8" not in text
    assert "\u202e" not in text
    assert "[red]bold" in text
    assert "\\x1b[31mred" in text
    assert str(report).isprintable() is False  # only its line ends are not
    assert str(report).replace("\n", "").isprintable()
    assert "x" * 200 not in text


class Page(html.parser.HTMLParser):
    """Collect the tags, attributes and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in {"meta", "img", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def check_harmless(text: str) -> Page:
    """Check that nothing in a page runs or is fetched."""
    page = Page(text)
    assert page.open == []
    allowed = (
        "html head meta title style body main h1 h2 p div figure img figcaption table caption "
        "thead tbody tr th td footer dl dt dd b"
    )
    assert set(page.tags) <= set(allowed.split())
    names = {name for name, _ in page.attributes}
    plain = "lang charset http-equiv content name class alt src scope tabindex"
    assert names <= set(plain.split())
    for name, value in page.attributes:
        if name == "src":
            assert (value or "").startswith("data:image/svg+xml;base64,")
    assert "url(" not in text
    return page


def test_the_page_is_well_formed_and_self_contained(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    driven().to_html(path)
    page = check_harmless(path.read_text(encoding="utf-8"))
    levels = [tag for tag in page.tags if tag in {"h1", "h2"}]
    assert levels[0] == "h1"
    assert levels.count("h1") == 1
    assert page.tags.count("img") == 3
    assert page.tags.count("caption") == page.tags.count("table")
    assert any((value or "").startswith("default-src 'none'") for _, value in page.attributes)
    assert "http:" not in path.read_text(encoding="utf-8")
    assert "https:" not in path.read_text(encoding="utf-8")
    assert path.stat().st_size < 1_000_000


def test_the_page_gives_the_verdict_before_any_number(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    report = driven()
    report.to_html(path)
    text = "".join(Page(path.read_text(encoding="utf-8")).text)
    titles = ["The landscape", "What breaks balance", "The evidence", "States"]
    places = [text.index(title, text.rindex(report.verdict.headline)) for title in titles]
    assert places == sorted(places)
    assert "How it was computed" in text


def test_hostile_keys_stay_text_on_the_page(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    report = analyze(hostile_counts())
    report.to_html(path)
    for text in (path.read_text(encoding="utf-8"), report._repr_html_()):
        page = check_harmless(text)
        assert "<script>alert(1)</script>" in "".join(page.text)


def test_hostile_keys_stay_text_inside_the_pictures(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    analyze(hostile_counts()).to_html(path)
    page = Page(path.read_text(encoding="utf-8"))
    pictures = [value or "" for name, value in page.attributes if name == "src"]
    for picture in pictures:
        svg = base64.b64decode(picture.split(",")[1]).decode("utf-8")
        tree = ET.fromstring(svg)  # noqa: S314 - drawn here
        tags = {element.tag.split("}")[1] for element in tree.iter()}
        assert not tags & {"script", "foreignObject", "image", "a"}
        names = {name for element in tree.iter() for name in element.attrib}
        assert not [name for name in names if name.lower().startswith("on")]
    assert any("$x^2_{$" in base64.b64decode(p.split(",")[1]).decode("utf-8") for p in pictures)


def test_150_states_give_a_page_under_a_megabyte(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    kernel, _ = reversible_kernel(rng, 150, density=0.3)
    report = analyze(walk_counts(rng, kernel, 50_000))
    path = tmp_path / "report.html"
    report.to_html(path)
    assert path.stat().st_size < 1_000_000


def test_json_says_all_and_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    report = analyze(hostile_counts())
    report.to_json(path)

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    text = path.read_text(encoding="ascii")
    found = json.loads(text, parse_constant=refuse)
    assert found["verdict"]["headline"] == report.verdict.headline
    assert found == json.loads(json.dumps(report.to_dict()))
    assert set(found["potential"]["states"]["state"]) == set(HOSTILE)
    causes = found["balance"]["violations"]
    loops = [set(loop) for cause in causes for loop in (cause["loop"], *cause["explains"])]
    assert set(HOSTILE[:3]) in loops


def test_a_large_graph_is_reported_without_an_error_for_each_state(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    report = analyze(hostile_counts())
    assert "error" in report.to_dict()["potential"]["states"]
    monkeypatch.setattr(
        "detailed_balance.report.report.CHEAP_ERRORS", len(report.potential.states) - 1
    )
    states = report.to_dict()["potential"]["states"]
    assert "error" not in states
    assert len(states["attempts"]) == len(states["potential"]) == len(report.potential.states)
