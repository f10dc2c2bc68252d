"""The two JSON forms of the paper's records: every answer and every source is a move."""

import json

import pytest

from detailed_balance import analyze
from detailed_balance.analyzers import estimate_potential
from detailed_balance.analyzers.errors import ReadError
from detailed_balance.readers import read_recording, read_transitions
from detailed_balance.sources import open_source

WORDS = {
    "BUZZY": ["ATTITUDE", "TURKEY", "ATTITUDE"],
    "ATTITUDE": ["TURKEY", "INVALID00"],
    "TURKEY": ["ATTITUDE", None],
    "INVALID00": [],
}
EXPRESSIONS = [
    {
        "target_expression": "x",
        "target_score": 21.0,
        "source_expressions": [
            {"expression": "exp(x)", "score": 20.0},
            {"expression": "x", "score": 21.0},
        ],
    },
    {"target_expression": "sin(x)", "source_expressions": [{"expression": "x"}]},
    {"target_expression": "log(x)", "target_score": 3, "source_expressions": []},
]


def write(tmp_path, content, name="records.json"):
    path = tmp_path / name
    path.write_text(json.dumps(content, indent=4), encoding="utf-8")
    return path


def moves(path, **options):
    reader = read_transitions(path, **options)
    return [(move.source, move.target) for move in reader], reader


def test_each_answer_to_a_word_is_a_move_and_null_an_escape(tmp_path):
    found, reader = moves(write(tmp_path, WORDS))
    assert found == [
        *(("BUZZY", word) for word in ("ATTITUDE", "TURKEY", "ATTITUDE")),
        *(("ATTITUDE", word) for word in ("TURKEY", "INVALID00")),
        *(("TURKEY", word) for word in ("ATTITUDE", None)),
    ]
    assert (reader.read_count, reader.skipped_count) == (7, 0)


def test_each_source_of_an_expression_is_a_move_to_it(tmp_path):
    found, reader = moves(write(tmp_path, EXPRESSIONS))
    assert found == [("exp(x)", "x"), ("x", "x"), ("x", "sin(x)")]
    counts = read_recording(reader and tmp_path / "records.json").counts
    # A repeat is an attempt of the state and no move of the action.
    assert dict(zip(counts.states, counts.attempts.tolist(), strict=True)) == {
        "exp(x)": 1,
        "sin(x)": 0,
        "x": 2,
    }


def test_the_attempts_that_the_file_does_not_hold_can_be_given(tmp_path):
    words = {"A": ["B"] * 30 + ["C"] * 5, "B": ["A"] * 10 + ["C"] * 5, "C": ["A"] * 4 + ["B"] * 8}
    path = write(tmp_path, words)
    report = analyze(path, attempts=100)
    by_hand = estimate_potential(open_source(path).counts(), attempts=100)
    assert report.potential.difference("A", "B") == by_hand.difference("A", "B")
    assert report.potential.kernel.attempts.tolist() == [100.0] * 3


@pytest.mark.parametrize("content", [WORDS, EXPRESSIONS])
def test_the_form_is_found_out_by_its_content(tmp_path, content):
    found, _ = moves(write(tmp_path, content))
    assert moves(write(tmp_path, content, "records.txt"))[0] == found
    assert moves(write(tmp_path, content), format="answers")[0] == found


def test_what_is_no_answer_is_named_and_counted(tmp_path):
    wrong = {"A": ["B", 3, ["C"]], "B": "A", "C": ["A", ""]}
    with pytest.raises(ReadError, match=r"the answers to 'A'.*a list"):
        moves(write(tmp_path, wrong), format="answers")
    found, reader = moves(write(tmp_path, wrong), skip_bad_lines=True, format="answers")
    assert found == [("A", "B"), ("A", "3"), ("C", "A")]
    assert [line.line for line in reader.skipped] == [f"the answers to {w!r}" for w in "ABC"]
    entries = [7, {"source_expressions": []}, {"target_expression": "x"}, *EXPRESSIONS]
    entries[-2] = {"target_expression": "x", "source_expressions": ["y", {"expression": "z"}]}
    found, reader = moves(write(tmp_path, entries), skip_bad_lines=True, format="answers")
    assert found == [("exp(x)", "x"), ("x", "x"), ("z", "x")]
    assert [line.line for line in reader.skipped] == ["entry 1", "entry 2", "entry 3", "entry 5"]


def test_a_table_of_columns_is_not_taken_for_answers(tmp_path):
    with pytest.raises(ReadError, match=r"not a list of answers.*JSON Lines"):
        moves(write(tmp_path, {"source": ["a", "b"], "target": ["b", "a"]}))


def test_a_file_without_any_answer_is_an_error(tmp_path):
    for content in ({"A": []}, [EXPRESSIONS[-1]]):
        with pytest.raises(ReadError, match="is empty"):
            moves(write(tmp_path, content))
    with pytest.raises(ReadError, match="holds no answers"):
        moves(write(tmp_path, 3), format="answers")
