"""Traces that are on disk already: everything that can be read is read, nothing is lost unsaid."""

import csv
import gzip
import json
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import networkx as nx
import pytest
from hypothesis import example, given, strategies as st

from detailed_balance.analyzers.counts import END, START
from detailed_balance.analyzers.errors import (
    DetailedBalanceError,
    InvalidInputError,
    ReadError,
)
from detailed_balance.callbacks import TransitionGraph, TransitionStore
from detailed_balance.callbacks.transition import Transition
from detailed_balance.readers import read_transitions
from tests.support.chains import AIRLINE, data_file

GOOD = '{"source": "a", "target": "b"}'


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def moves(reader: Iterable[Transition]) -> list[tuple[str, str | None]]:
    return [(transition.source, transition.target) for transition in reader]


def read_jsonl(folder: Path, *lines: str, **options: Any) -> list[Transition]:
    return list(read_transitions(write(folder / "t.jsonl", "\n".join(lines)), **options))


def read_csv(folder: Path, *lines: str, **options: Any) -> list[Transition]:
    return list(read_transitions(write(folder / "t.csv", "\n".join(lines)), **options))


# What a record says


def test_every_field_of_a_json_line_arrives(tmp_path: Path) -> None:
    line = (
        '{"source": "plan", "target": "search", "trajectory": "run-1", "step": 4, "time": 1.5,'
        ' "count": 3, "model": "gpt-4o", "context": {"version": 2, "beta": true, "tags": ["x"]}}'
    )
    context = (("beta", "True"), ("model", "gpt-4o"), ("version", "2"))
    expected = Transition("plan", "search", "run-1", context, 4, 1.5, 3)
    assert read_jsonl(tmp_path, line, context_fields=["model"]) == [expected]


def test_every_field_of_a_csv_row_arrives(tmp_path: Path) -> None:
    header = "source,target,trajectory,step,time,count,model"
    expected = Transition("plan", "search", "run-1", (("model", "gpt-4o"),), 4, 1.5, 3)
    row = "plan,search,run-1,4,1.5,3,gpt-4o"
    assert read_csv(tmp_path, header, row, context_fields=["model"]) == [expected]


def test_fields_can_have_any_names(tmp_path: Path) -> None:
    line = '{"from": "a", "to": "b", "thread": 7, "n": 2, "i": 0, "at": "2024-01-01T00:00:00Z"}'
    options = {
        "source_field": "from",
        "target_field": "to",
        "trajectory_field": "thread",
        "count_field": "n",
        "step_field": "i",
        "time_field": "at",
    }
    expected = Transition("a", "b", "7", step=0, time=1_704_067_200.0, count=2)
    assert read_jsonl(tmp_path, line, **options) == [expected]


def test_a_null_target_and_an_empty_cell_are_escapes(tmp_path: Path) -> None:
    assert read_jsonl(tmp_path, '{"source": "a", "target": null}') == [Transition("a", None)]
    assert read_csv(tmp_path, "source,target", "a,", 'a,""') == [Transition("a", None)] * 2


def test_numbers_become_states(tmp_path: Path) -> None:
    assert read_jsonl(tmp_path, '{"source": 5, "target": 0.5}') == [Transition("5", "0.5")]


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("0", 0.0),
        ("1700000000.25", 1_700_000_000.25),
        ("2024-01-01", 1_704_067_200.0),
        ("2024-01-01T01:00:00+01:00", 1_704_067_200.0),
        ("2024-01-01 00:00:00", 1_704_067_200.0),
    ],
)
def test_times_are_seconds_or_iso_dates(tmp_path: Path, written: str, seconds: float) -> None:
    (transition,) = read_csv(tmp_path, "source,target,time", f"a,b,{written}")
    assert transition.time == seconds


def test_whole_numbers_that_pandas_wrote_as_floats_are_taken(tmp_path: Path) -> None:
    (transition,) = read_csv(tmp_path, "source,target,step,count", "a,b,3.0,2.0")
    assert (transition.step, transition.count) == (3, 2)


def test_a_record_that_counts_nothing_gives_nothing(tmp_path: Path) -> None:
    rows = ("a,b,0", "a,c,1")
    assert read_csv(tmp_path, "source,target,count", *rows) == [Transition("a", "c")]


def test_a_missing_label_is_left_out(tmp_path: Path) -> None:
    lines = ('{"source": "a", "target": "b", "model": "m"}', GOOD)
    contexts = [t.context for t in read_jsonl(tmp_path, *lines, context_fields="model")]
    assert contexts == [(("model", "m"),), ()]


def test_boundary_names_become_start_and_end(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "source,target\nbegin,a\na,\na,done\n")
    reader = read_transitions(path, boundaries=("begin", "done"))
    assert moves(reader) == [(START, "a"), ("a", None), ("a", END)]


def test_half_a_surrogate_pair_becomes_text_that_can_be_stored(tmp_path: Path) -> None:
    (transition,) = read_jsonl(tmp_path, r'{"source": "a\ud83d", "target": "\ud83d\ude00"}')
    assert transition == Transition("a\\ud83d", "😀")


# Files as they are


@pytest.mark.parametrize("name", ["t.jsonl", "t.ndjson", "t.jsonl.gz", "T.JSONL", "t.csv", "t.tsv"])
@pytest.mark.parametrize("packed", [False, True])
def test_gzip_is_told_by_content_and_format_by_name(
    tmp_path: Path, name: str, packed: bool
) -> None:
    lines = ["source\ttarget", "a\tb"] if "sv" in name else [GOOD]
    content = "\n".join(lines).encode()
    path = write(tmp_path / name, gzip.compress(content) if packed else content)
    assert moves(read_transitions(path)) == [("a", "b")]


def test_the_format_can_be_forced(tmp_path: Path) -> None:
    assert moves(read_transitions(write(tmp_path / "trace", GOOD), format="jsonl")) == [("a", "b")]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found_out(tmp_path: Path, delimiter: str) -> None:
    header = delimiter.join(["x,y;z|", "source", "target"]).replace("x,y;z|", '"x"')
    assert read_csv(tmp_path, header, delimiter.join(["1", "a", "b"])) == [Transition("a", "b")]


def test_the_delimiter_can_be_forced(tmp_path: Path) -> None:
    assert read_csv(tmp_path, "source~target", "a~b", delimiter="~") == [Transition("a", "b")]


def test_byte_order_mark_crlf_and_blank_lines_do_no_harm(tmp_path: Path) -> None:
    rows = write(tmp_path / "t.csv", b"\xef\xbb\xbfsource,target\r\n\r\na,b\r\n\r\n")
    lines = write(tmp_path / "t.jsonl", b"\xef\xbb\xbf" + f"{GOOD}\r\n\r\n{GOOD}\r\n".encode())
    assert moves(read_transitions(rows)) == [("a", "b")]
    assert moves(read_transitions(lines)) == [("a", "b")] * 2


state_keys = st.text(st.characters(codec="utf-8"), min_size=1)


@given(st.lists(st.tuples(state_keys, st.none() | state_keys), min_size=1))
@example([("resource_spans", "resourceSpans")])
def test_what_was_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[str, str | None]]
) -> None:
    folder = tmp_path_factory.mktemp("trace")
    with gzip.open(folder / "t.jsonl.gz", "wt", encoding="utf-8") as file:
        file.writelines(json.dumps({"source": s, "target": t}) + "\n" for s, t in pairs)
    with (folder / "t.csv").open("w", encoding="utf-8", newline="") as table:
        csv.writer(table, quoting=csv.QUOTE_ALL).writerows([("source", "target"), *pairs])
    assert moves(read_transitions(folder / "t.jsonl.gz")) == pairs
    assert moves(read_transitions(folder / "t.csv")) == pairs


def test_progress_counts_the_bytes_on_disk(tmp_path: Path) -> None:
    path = write(tmp_path / "t.jsonl", gzip.compress(f"{GOOD}\n".encode() * 2_500))
    size = path.stat().st_size
    seen: list[tuple[int, int]] = []
    list(read_transitions(path, progress=lambda done, total: seen.append((done, total))))
    assert len(seen) == 3
    assert seen[-1] == (size, size)


def test_reading_takes_what_is_asked_for_and_no_more(tmp_path: Path) -> None:
    path = write(tmp_path / "t.jsonl", f"{GOOD}\nbroken\n")
    assert next(iter(read_transitions(path))) == Transition("a", "b")


# Broken lines


BROKEN = {
    '{"source": "a", "target": "b"': "invalid JSON",
    '["a", "b"]': "one JSON object a line is needed",
    '{"target": "b"}': "there is no field 'source'; the fields are 'target'.*source_field=",
    '{"source": "a"}': "there is no field 'target'.*--target-field",
    '{"source": "", "target": "b"}': "'source' is empty",
    '{"source": null, "target": "b"}': "'source' is empty",
    '{"source": "a", "target": ""}': "'target' is empty",
    '{"source": {"a": 1}, "target": "b"}': "'source' must be a text or a number; got an object",
    '{"source": "a", "target": ["b"]}': "'target' must be a text or a number; got a list",
    '{"source": "a", "target": true}': "'target' must be a text or a number; got True",
    '{"source": "a", "target": NaN}': "'target' must be a text or a number; got nan",
    '{"source": "a", "target": "b", "count": -1}': "'count' must be a whole number, 0 or more",
    '{"source": "a", "target": "b", "count": 1.5}': "'count' must be a whole number",
    '{"source": "a", "target": "b", "count": true}': "'count' must be a whole number; got True",
    '{"source": "a", "target": "b", "count": 1e30}': "'count' must be.* below 2",
    '{"source": "a", "target": "b", "count": [2]}': "'count' must be a whole number; got a list",
    '{"source": "a", "target": "b", "step": "x"}': "'step' must be a whole number; got 'x'",
    '{"source": "a", "target": "b", "step": Infinity}': "'step' must be a whole number; got inf",
    '{"source": "a", "target": "b", "time": "noon"}': "'time' must be in seconds.*got 'noon'",
    '{"source": "a", "target": "b", "time": {}}': "'time' must be in seconds.*got an object",
    '{"source": "a", "target": "b", "trajectory": []}': "'trajectory' must be a text",
    '{"source": "a", "target": "b", "n": ' + "9" * 5_000 + "}": "unusable JSON",
    "[" * 100_000: "unusable JSON|invalid JSON",
}


@pytest.mark.parametrize(("line", "reason"), BROKEN.items(), ids=range(len(BROKEN)))
def test_a_broken_line_is_named_with_file_number_and_reason(
    tmp_path: Path, line: str, reason: str
) -> None:
    with pytest.raises(ReadError, match=rf"(?s)t\.jsonl, line 3: ({reason}).*skip_bad_lines=True"):
        read_jsonl(tmp_path, GOOD, "", line, GOOD)


def test_skipped_lines_are_listed_and_all_others_arrive(tmp_path: Path) -> None:
    content = "\n".join(f"{GOOD}\n{line}" for line in BROKEN)
    reader = read_transitions(write(tmp_path / "t.jsonl", content), skip_bad_lines=True)
    assert moves(reader) == [("a", "b")] * len(BROKEN)
    assert [skipped.line for skipped in reader.skipped] == [2 * i + 2 for i in range(len(BROKEN))]
    assert reader.skipped_count == len(BROKEN)


def test_all_skipped_lines_are_counted_and_the_first_thousand_kept(tmp_path: Path) -> None:
    path = write(tmp_path / "t.jsonl", "broken\n" * 1_500 + GOOD)
    reader = read_transitions(path, skip_bad_lines=True)
    assert len(list(reader)) == 1
    assert (len(reader.skipped), reader.skipped_count) == (1_000, 1_500)


def test_what_a_broken_line_says_cannot_reach_the_terminal(tmp_path: Path) -> None:
    line = json.dumps({"\x1b[2J": 1, "source": "a", "target": "b", "step": "\x1b[2J" * 1_000})
    with pytest.raises(ReadError) as caught:
        read_jsonl(tmp_path, line)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500
    with pytest.raises(ReadError) as caught:
        read_jsonl(tmp_path, line, source_field="from")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_invalid_utf8_spoils_its_own_line_alone(tmp_path: Path, suffix: str) -> None:
    lines = {
        "jsonl": [b'{"source": "\xff", "target": "b"}', GOOD.encode()],
        "csv": [b"source,target", b"\xff,b", b"a,b"],
    }[suffix]
    path = write(tmp_path / f"t.{suffix}", b"\n".join(lines))
    reader = read_transitions(path, skip_bad_lines=True)
    assert moves(reader) == [("a", "b")]
    assert [skipped.line for skipped in reader.skipped] == [len(lines) - 1]
    assert "invalid UTF-8" in reader.skipped[0].reason


def test_a_row_is_known_by_its_first_line_though_cells_span_lines(tmp_path: Path) -> None:
    rows = ["source,target,note", 'a,b,"one\ntwo\nthree"', "a,b", "a,b,4", '"a"x,b,5', "a,b,6"]
    path = write(tmp_path / "t.csv", "\n".join(rows))
    reader = read_transitions(path, skip_bad_lines=True)
    assert moves(reader) == [("a", "b")] * 3
    assert [skipped.line for skipped in reader.skipped] == [5, 7]
    assert reader.skipped[0].reason == "2 fields, where the header has 3"


@pytest.mark.parametrize("length", [10, 20_000])
def test_a_quote_that_is_never_closed_spoils_its_own_line_alone(
    tmp_path: Path, length: int
) -> None:
    rows = ["source,target", "a,b", 'a,"b', *["a,b"] * length]
    reader = read_transitions(write(tmp_path / "t.csv", "\n".join(rows)), skip_bad_lines=True)
    assert len(list(reader)) == length + 1
    assert [skipped.line for skipped in reader.skipped] == [3]


def test_quotes_that_swallow_all_lines_cost_one_look_more_at_each(tmp_path: Path) -> None:
    # Each of these lines, read inside or outside of a quote, ends inside of one.
    path = write(tmp_path / "t.csv", "source,target\n" + 'x","\n' * 30_000 + "a,b\n")
    reader = read_transitions(path, skip_bad_lines=True)
    assert moves(reader) == [("a", "b")]
    assert reader.skipped_count == 30_000


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_what_came_before_a_cut_of_the_gzip_file_counts(tmp_path: Path, suffix: str) -> None:
    header = "source,target,note\n" if suffix == "csv" else ""
    row = "a,b,{}\n" if suffix == "csv" else '{{"source": "a", "target": "b", "note": {}}}\n'
    noise = random.Random(0)
    text = header + "".join(row.format(noise.randrange(10**9)) for _ in range(20_000))
    packed = gzip.compress(text.encode())
    path = write(tmp_path / f"t.{suffix}.gz", packed[: len(packed) // 2])
    reader = read_transitions(path, skip_bad_lines=True)
    read = len(list(reader))
    assert 8_000 < read < 12_000
    assert reader.skipped_count == 1
    assert "damaged" in reader.skipped[0].reason
    assert reader.skipped[0].line == read + (2 if suffix == "csv" else 1)
    with pytest.raises(ReadError, match="damaged"):
        list(read_transitions(path))


@given(data=st.data())
def test_no_change_to_a_file_crashes_a_reader_or_loses_a_line_unsaid(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    suffix = data.draw(st.sampled_from(["jsonl", "csv", "graphml"]))
    text = {
        "jsonl": f"{GOOD}\n".encode() * 5,
        "csv": b"source,target,note\n" + b'a,b,"x\ny"\n' * 5,
        "graphml": "\n".join(nx.generate_graphml(nx.DiGraph([("a", "b")]))).encode(),
    }[suffix]
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 4)))
    text = text[:start] + data.draw(st.binary(max_size=4)) + text[end:]
    if data.draw(st.booleans()):
        text = gzip.compress(text)[: data.draw(st.integers(1, 200))]
    path = write(tmp_path_factory.mktemp("fuzz") / f"t.{suffix}", text)
    with suppress(ReadError):  # a file without a first record is refused at once
        reader = read_transitions(path, skip_bad_lines=True)
        assert len(list(reader)) + reader.skipped_count > 0


# Wrong use


def test_an_unknown_column_names_the_columns_and_the_option(tmp_path: Path) -> None:
    for option, value in [("source_field", "src"), ("trajectory_field", "thread")]:
        with pytest.raises(ReadError, match=rf"no field '{value}'; the fields are 'source', 'tar"):
            read_csv(tmp_path, "source,target", "a,b", **{option: value})
        flag = "--" + option.replace("_", "-")
        with pytest.raises(ReadError, match=rf"{option}= \(on the command line {flag}\)"):
            read_jsonl(tmp_path, GOOD, **{option: value})


def test_an_unknown_column_is_no_bad_line_to_skip(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="no field 'src'; the fields are 'source', 'target'"):
        read_jsonl(tmp_path, GOOD, GOOD, source_field="src", skip_bad_lines=True)


def test_a_label_that_no_line_has_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match=r"no field 'modle'.*context_fields="):
        read_jsonl(tmp_path, GOOD, context_fields=["modle"])


@pytest.mark.parametrize("content", ["", "\n\n", "source,target\n"])
def test_an_empty_file_is_an_error(tmp_path: Path, content: str) -> None:
    with pytest.raises(ReadError, match="is empty: it holds no transitions"):
        list(read_transitions(write(tmp_path / "t.csv", content)))
    with pytest.raises(ReadError, match="is empty: it holds no transitions"):
        list(read_transitions(write(tmp_path / "t.jsonl.gz", gzip.compress(b"\n"))))


def test_missing_files_directories_and_unknown_formats_are_errors(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match=r"there is no file .*absent\.jsonl"):
        read_transitions(tmp_path / "absent.jsonl")
    with pytest.raises(ReadError, match=r"there is no file .*absent\.db"):
        read_transitions(tmp_path / "absent.db")
    with pytest.raises(ReadError, match="is a directory; name one file in it"):
        read_transitions(str(tmp_path))
    with pytest.raises(ReadError, match=r"shows a format.*--format\) to one of "):
        read_transitions(write(tmp_path / "trace.txt", "x"))


def test_utf16_and_repeated_columns_are_errors(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="written in UTF-16; save it as UTF-8"):
        list(read_transitions(write(tmp_path / "t.csv", "source,target\na,b\n".encode("utf-16"))))
    for name in ("source", "step"):
        with pytest.raises(ReadError, match=f"two columns are called '{name}'"):
            read_csv(tmp_path, f"source,target,step,{name}", "a,b,1,2")


def test_options_without_sense_are_errors(tmp_path: Path) -> None:
    path = write(tmp_path / "t.jsonl", GOOD)
    with pytest.raises(InvalidInputError, match=r"format must be .*csv, .*; got 'xml'"):
        read_transitions(path, format="xml")
    with pytest.raises(InvalidInputError, match="delimiter must be one character"):
        read_transitions(path, delimiter="::")
    with pytest.raises(InvalidInputError, match="boundaries must be two different names"):
        read_transitions(path, boundaries=("x", "x"))
    with pytest.raises(InvalidInputError, match=r"source must be a path, .*; got int"):
        read_transitions(5)  # type: ignore[arg-type]


# Graphs and stores


def test_a_live_graph_gives_back_what_was_recorded() -> None:
    graph = TransitionGraph()
    graph.record("a", "b", count=3)
    graph.record("a", "b", context={"model": "m"})
    graph.record("b", None, count=2)
    expected = [
        Transition("a", "b", count=3),
        Transition("a", "b", context=(("model", "m"),)),
        Transition("b", None, count=2),
    ]
    assert list(read_transitions(graph.graph)) == expected


@pytest.mark.parametrize("packed", [False, True])
def test_graphml_gives_counts_labels_and_escapes(tmp_path: Path, packed: bool) -> None:
    graph: nx.MultiDiGraph[str] = nx.MultiDiGraph()
    graph.add_edge("a", "b", visits=3, model="m")
    graph.add_edge("a", "b", visits=1, model="n")
    graph.add_edge("b", "a", model="m")
    graph.nodes["a"]["escapes"] = 2
    path = tmp_path / ("t.graphml.gz" if packed else "t.graphml")
    nx.write_graphml(graph, path)
    reader = read_transitions(path, count_field="visits", context_fields=["model"])
    assert list(reader) == [
        Transition("a", "b", context=(("model", "m"),), count=3),
        Transition("a", "b", context=(("model", "n"),), count=1),
        Transition("b", "a", context=(("model", "m"),), count=1),
        Transition("a", None, count=2),
    ]


def test_defaults_that_graphml_declares_count(tmp_path: Path) -> None:
    path = write(
        tmp_path / "t.graphml",
        '<graphml xmlns="http://graphml.graphdrawing.org/xmlns">'
        '<key id="k" for="edge" attr.name="count" attr.type="int"><default>5</default></key>'
        '<graph edgedefault="directed"><edge source="a" target="b"/></graph></graphml>',
    )
    assert list(read_transitions(path)) == [Transition("a", "b", count=5)]


def test_a_graph_with_a_count_that_is_none_names_the_edge() -> None:
    graph = nx.DiGraph()
    graph.add_edge("a", "b", count=-1)
    graph.add_edge("b", "a", count=4)
    graph.add_node("c", escapes="many")
    with pytest.raises(ReadError, match="edge 'a' -> 'b': 'count' must be a whole number, 0 or"):
        list(read_transitions(graph))
    reader = read_transitions(graph, skip_bad_lines=True)
    assert list(reader) == [Transition("b", "a", count=4)]
    assert [skipped.line for skipped in reader.skipped] == ["edge 'a' -> 'b'", "node 'c'"]


def test_an_undirected_graph_is_an_error(tmp_path: Path) -> None:
    nx.write_graphml(nx.Graph([("a", "b")]), tmp_path / "t.graphml")
    with pytest.raises(ReadError, match="undirected"):
        list(read_transitions(tmp_path / "t.graphml"))


def test_a_graph_without_edges_is_empty() -> None:
    with pytest.raises(ReadError, match="the graph is empty"):
        list(read_transitions(nx.DiGraph()))


def test_xml_that_declares_entities_is_refused(tmp_path: Path) -> None:
    bomb = "".join(f'<!ENTITY e{i + 1} "{f"&e{i};" * 10}">' for i in range(9))
    path = write(
        tmp_path / "t.graphml",
        f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e0 "ha">{bomb}]><graphml>&e9;</graphml>',
    )
    with pytest.raises(ReadError, match=r"t\.graphml cannot be read.*declares the entity 'e0'"):
        list(read_transitions(path))


def test_broken_graphml_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match=r"t\.graphml is empty"):
        list(read_transitions(write(tmp_path / "t.graphml", "")))
    for content in ("<graphml>", "no xml", '<graphml><key id="a"/></graphml>'):
        path = write(tmp_path / "t.graphml", content)
        with pytest.raises(ReadError, match=r"t\.graphml cannot be read as GraphML"):
            list(read_transitions(path))


def test_a_store_gives_back_what_was_appended(tmp_path: Path) -> None:
    written = [
        Transition("a", "b", "run", (("model", "m"),), 1, 5.0, 2),
        Transition("b", None, "run", (("model", "m"),), 2, 6.0),
    ]
    path = tmp_path / "runs?#.db"
    with TransitionStore(f"sqlite:///{tmp_path}/runs.db") as store:
        store.append(written)
    (tmp_path / "runs.db").rename(path)
    assert list(read_transitions(path)) == written
    path.rename(tmp_path / "runs.db")
    assert list(read_transitions(f"sqlite:///{tmp_path}/runs.db")) == written


def test_what_is_no_store_is_an_error_without_the_password(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match=r"t\.db"):
        list(read_transitions(write(tmp_path / "t.db", "no database" * 1_000)))
    with pytest.raises(ReadError, match=r"absent\.db"):
        list(read_transitions(f"sqlite:///{tmp_path}/absent.db"))
    assert not (tmp_path / "absent.db").exists()
    for url in ("nosuch://me:secret@host/runs", "postgresql+psycopg://me:secret@127.0.0.1:1/runs"):
        with pytest.raises(DetailedBalanceError) as caught:
            list(read_transitions(url))
        assert "secret" not in str(caught.value)


# Real traces


def count_lines(path: Path) -> Counter[tuple[str, str | None]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        records = [json.loads(line) for line in lines]
    return Counter((record["source"], record["target"]) for record in records)


@pytest.mark.parametrize("model", AIRLINE)
def test_the_airline_runs_are_read_to_the_last_step(model: str) -> None:
    path = data_file("tau2_airline", f"{model}.jsonl.gz")
    reader = read_transitions(path, context_fields=["model"], boundaries=("start", "end"))
    transitions = list(reader)
    names = {START: "start", END: "end"}
    pairs = [(names.get(s, s), names.get(t, t)) for s, t in moves(transitions)]
    assert Counter(pairs) == count_lines(path)
    assert len({t.context for t in transitions}) == 1
    runs = {t.trajectory for t in transitions}
    assert sum(t.source == START for t in transitions) == len(runs)


def test_a_reader_is_loaded_when_a_file_of_its_format_is_read(tmp_path: Path) -> None:
    (tmp_path / "moves.csv").write_text("source,target\na,b\n")
    code = f"""if True:
        import sys
        from detailed_balance import readers
        def loaded():
            return "detailed_balance.readers.tables.delimited" in sys.modules
        before = loaded()
        list(readers.read_transitions({str(tmp_path / "moves.csv")!r}))
        print(before, loaded(), "detailed_balance.readers.tables.xes" in sys.modules)
    """
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["False", "True", "False"]
