"""What is wanted of a live record is what `open_source` would choose of it once it is finished."""

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings, strategies as st

from detailed_balance import Transition, TransitionCounts, TransitionGraph, TransitionStore
from detailed_balance.analyzers import END, START
from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.sources import open_source, selected_feed
from detailed_balance.sources._stored_runs import assemble_runs
from detailed_balance.sources.feeds import GraphFeed, MoveBatch
from detailed_balance.sources.selected_feed import SelectedFeed
from detailed_balance.sources.selection import Selection
from detailed_balance.sources.source import Source

MERGE = {"search_*": "search"}


def edges(counts: TransitionCounts) -> Counter[tuple[str, str | None]]:
    """Return each move with its count, in no order."""
    found = counts.counts.tocoo()
    moves = zip(found.row.tolist(), found.col.tolist(), found.data.tolist(), strict=True)
    made = Counter({(counts.states[i], counts.states[j]): n for i, j, n in moves if n})
    escapes = zip(counts.states, counts.escapes.tolist(), strict=True)
    return made + Counter({(state, None): n for state, n in escapes if n})


def follow(source: Source) -> Counter[tuple[str, str | None]]:
    """Read a source to its end, as a monitor does, and return all that it counts."""
    feed = source.follow()
    before = feed.start(None, 10)
    assert before is not None
    found = edges(before)
    while (batch := feed.read()).moves or batch.more:
        assert not batch.times or len(batch.times) == len(batch.moves)
        found += Counter({})
        for source_, target, _, _, count, _ in batch.moves:
            found[source_, target] += count
    feed.close()
    return found


def interleaved(paths: list[list[str | None]], order: list[int]) -> list[Transition]:
    """Return the moves of runs, each of which takes the next one when its turn comes.

    None is an escape. A run begins at the time 1,000 times its number.
    """
    moves = []
    for run, path in enumerate(paths):
        here, own = START, []
        for target in path:
            time = 1_000.0 * run + len(own)
            own.append(
                Transition(
                    here, target, f"t{run % 3}", (("n", str(run)),), time=time, run=f"r{run}"
                )
            )
            here = here if target is None else target
        moves.append(own)
    found = []
    for turn in order:
        waiting = [own for own in moves if own]
        if waiting:
            found.append(waiting[turn % len(waiting)].pop(0))
    return found + [move for own in moves for move in own]


states = st.sampled_from(["a", "b", "hub", "search_1", "search_2", "gate", None])
records = st.builds(
    interleaved,
    st.lists(st.lists(states, max_size=8), min_size=1, max_size=6),
    st.lists(st.integers(0, 5), max_size=40),
)
wanted = st.fixed_dictionaries(
    {},
    optional={
        "hide": st.sampled_from([("hub",), ("hub", "gate"), ("search",)]),
        "merge": st.sampled_from([MERGE, str.upper]),
        "since": st.sampled_from([1_000.0, 2_500.0]),
    },
)


class Batches:
    """A feed of moves, cut into batches where it was said."""

    name = "batches"

    def __init__(self, moves: list[Transition], cuts: list[int]) -> None:
        places = sorted({0, len(moves), *(cut % (len(moves) + 1) for cut in cuts)})
        self._parts = [moves[start:end] for start, end in pairwise(places)]

    def start(self, cursor: str | None, recent: int) -> TransitionCounts:
        return TransitionCounts.from_edges([])

    def read(self) -> MoveBatch:
        moves = self._parts.pop(0) if self._parts else []
        read = [(m.source, m.target, m.trajectory, m.context, m.count, m.run) for m in moves]
        return MoveBatch(read, more=bool(self._parts), times=[move.time for move in moves])

    def runs(self) -> None:
        return None

    def losses(self) -> dict[str, int]:
        return {}

    def close(self) -> None:
        pass


@settings(max_examples=150, deadline=None)
@given(records, wanted, st.lists(st.integers(0, 100), max_size=5))
def test_any_batches_of_interleaved_runs_count_as_the_finished_runs_do(moves, chosen, cuts) -> None:
    selection = Selection.of(**chosen)
    expected = edges(selection.select_last(assemble_runs(moves)).counts())
    source = SimpleNamespace(follow=lambda: SelectedFeed(Batches(moves, cuts), selection))
    assert follow(source) == expected


SEVERAL = interleaved(
    [
        ["a", "hub", "b", "hub", "a", END],
        ["hub", "a", "hub", None, "search_1", "search_2", "b", END],
        ["search_1", "hub", "gate", "search_2", "hub", "hub"],
        ["a", "hub", "a", "hub", "b", END],
        ["b", None, "a", None, "hub", None, "b", END],
    ],
    [0, 4, 1, 1, 2, 3, 0, 2, 4, 3, 1, 0, 2, 2, 4, 0, 1, 3],
)
CHOICES = [
    {"hide": "hub"},
    {"hide": ["hub", "gate"], "merge": MERGE},
    {"hide": ["search"], "merge": MERGE},
    {"merge": MERGE},
    {"since": 2_000.0},
    {"since": 1_500.0, "hide": "hub", "merge": MERGE},
    {"since": 1_000.0, "hide": "hub", "context": {"n": "3"}},
]


@pytest.mark.parametrize("chosen", CHOICES, ids=str)
def test_a_store_is_followed_as_it_is_read_when_finished(chosen, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'runs.db'}"
    with TransitionStore(url) as store:
        store.append(SEVERAL)
        expected = open_source(store, **chosen)
        assert follow(open_source(store, **chosen)) == edges(expected.counts())
        runs = open_source(store, **chosen).follow().runs()
        assert runs is not None
        assert [*runs] == [*expected.runs()]
    assert follow(open_source(url, **chosen)) == edges(expected.counts())


@pytest.mark.parametrize("chosen", [each for each in CHOICES if "context" not in each], ids=str)
def test_a_file_of_json_lines_is_followed_as_it_is_read_when_finished(
    chosen, tmp_path: Path
) -> None:
    path = tmp_path / "runs.jsonl"
    lines = (
        {"source": m.source, "target": m.target, "trajectory": m.run, "time": m.time}
        for m in SEVERAL
    )
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    assert follow(open_source(path, **chosen)) == edges(open_source(path, **chosen).counts())


@pytest.mark.parametrize("chosen", [{"hide": "hub"}, {"hide": "hub", "merge": MERGE}], ids=str)
def test_a_graph_is_followed_as_its_runs_are(chosen) -> None:
    graph = TransitionGraph()
    feed = open_source(graph, **chosen).follow()
    for move in SEVERAL:
        graph.record(
            move.source, move.target, trajectory=move.trajectory, context=move.context, run=move.run
        )
    feed.start(None, 10)
    found = Counter((move[0], move[1]) for move in feed.read().moves)
    with TransitionStore("sqlite://") as store:
        store.append(SEVERAL)
        assert found == edges(open_source(store, **chosen).counts())
    assert feed.unseen == ()
    assert sum(feed.losses().values()) == 0
    runs = feed.runs()
    assert runs is not None
    assert edges(runs.counts()) == found


def test_what_a_graph_counted_before_keeps_the_moves_that_are_of_no_hidden_state() -> None:
    graph = TransitionGraph()
    graph.record("a", "hub", count=3)
    graph.record("hub", "b", count=2)
    graph.record("hub", None)
    graph.record("a", "b", count=5)
    feed = open_source(graph, hide=["hub"]).follow()
    assert edges(feed.start(None, 10)) == {("a", "b"): 5}
    assert {n for reason, n in feed.losses().items() if "hidden" in reason} == {6}
    late = open_source(graph, since=0.0).follow()  # nobody knows when these moves were made
    assert late.start(None, 10).total == 0
    assert {n for reason, n in late.losses().items() if "without a time" in reason} == {11}


def test_a_move_of_no_run_is_left_out_where_it_touches_a_hidden_state_and_counted() -> None:
    graph = TransitionGraph()
    feed = open_source(graph, hide=["hub"]).follow()
    graph.record("a", "hub")
    graph.record("hub", "b")
    graph.record("a", "b")
    assert [move[:2] for move in feed.read().moves] == [("a", "b")]
    assert sum(feed.losses().values()) == 2


def test_runs_without_times_are_in_no_window(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    path.write_text('{"source": "a", "target": "b", "trajectory": "t"}\n', encoding="utf-8")
    feed = open_source(path, last="1h").follow()
    feed.start(None, 10)
    assert feed.read().moves == []
    assert sum(feed.losses().values()) == 1


def test_several_runs_of_a_trajectory_have_each_a_beginning(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    moves = [(START, "a", 1), ("a", END, 2), (START, "b", 11), ("b", END, 12)]
    lines = (
        {"source": f, "target": g, "trajectory": "thread", "time": time} for f, g, time in moves
    )
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    assert follow(open_source(path, since=10.0)) == {(START, "b"): 1, ("b", END): 1}
    assert follow(open_source(path, since=10.0)) == edges(open_source(path, since=10.0).counts())


def test_a_count_of_several_moves_is_spliced_as_the_run_that_it_makes() -> None:
    moves = [
        Transition("a", "hub", "t", count=2),
        Transition("hub", "b", "t", count=3),
        Transition("b", "hub", "t"),
        Transition("hub", "hub", "t", count=4),
        Transition("hub", None, "t", count=2),
        Transition("hub", "gate", "t", count=2),
        Transition("gate", "a", "t"),
    ]
    with TransitionStore("sqlite://") as store:
        store.append(moves)
        expected = open_source(store, hide=["hub", "gate"])
        assert follow(open_source(store, hide=["hub", "gate"])) == edges(expected.counts())


def test_a_state_to_hide_that_has_not_come_yet_is_no_error() -> None:
    graph = TransitionGraph()
    feed = open_source(graph, hide=["hub", "hbu"]).follow()
    assert feed.unseen == ("hbu", "hub")
    graph.record("a", "hub", run="1")
    feed.read()
    assert feed.unseen == ("hbu",)


def test_the_memory_is_bounded_by_the_runs_that_moved_last(monkeypatch) -> None:
    monkeypatch.setattr(selected_feed, "MOST_RUNS", 2)
    graph = TransitionGraph()
    feed = SelectedFeed(GraphFeed(graph, None, graph), Selection.of(hide=["hub"]))
    for run in "123":
        graph.record("a", "hub", run=run)
    for run in "321":
        graph.record("hub", "b", run=run)
    assert [move[5] for move in feed.read().moves] == ["3", "2"]  # where 1 stood was forgotten


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ({"until": 5.0}, "has no end"),
        ({"block": "task"}, "Monitor takes block= itself"),
        ({"hide": [START]}, "marks where a run begins or ends"),
        ({"last": "soon"}, "not a length of time"),
    ],
)
def test_what_cannot_be_followed_says_why(chosen, said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        open_source(TransitionGraph(), **chosen).follow()
