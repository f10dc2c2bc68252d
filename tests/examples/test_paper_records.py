"""The paper's records in its own form: what is written is read, and what is printed is right."""

import json

import numpy as np
import pytest

from detailed_balance.analyzers import TransitionCounts, measure_triplets
from detailed_balance.analyzers.errors import InvalidInputError, ReadError
from detailed_balance.sources import open_source
from examples.paper import DATA
from examples.paper.experiments import records, tables, words
from examples.paper.records import (
    log_error_of_score,
    read_log_errors,
    write_answers,
    write_expressions,
)

EDGES = [("x", "c", 3), ("c", "x", 2), ("x", "x", 4), ("c", "c * x", 1), ("x", None, 5)]


@pytest.mark.parametrize("name", ["records.json", "records.json.gz"])
def test_what_is_written_as_expressions_is_read_again(tmp_path, name):
    counts = TransitionCounts.from_edges(EDGES).sorted()
    errors = {"x": -1.0, "c": -2.5, "c * x": 3.0}
    write_expressions(tmp_path / name, counts, errors)
    found = open_source(tmp_path / name).counts()
    assert found.states == counts.states
    assert (found.counts != counts.counts).nnz == 0
    assert found.attempts.tolist() == counts.attempts.tolist()
    assert read_log_errors(tmp_path / name) == pytest.approx(errors, abs=1e-4)


def test_what_is_written_as_answers_has_the_moves_and_not_the_rest(tmp_path):
    write_answers(tmp_path / "words.json", TransitionCounts.from_edges(EDGES))
    content = json.loads((tmp_path / "words.json").read_text())
    assert content == {"x": ["c"] * 3, "c": ["c * x", "x", "x"], "c * x": []}
    assert read_log_errors(tmp_path / "words.json") == {}


def test_a_score_is_that_of_the_paper():
    assert log_error_of_score(20) == pytest.approx(np.log10(0.0602))
    assert 10 ** log_error_of_score(80) == pytest.approx(0.0602e-4)  # 10 to the -4/60 a point


def test_a_file_without_scores_has_none_and_a_broken_one_is_an_error(tmp_path):
    path = tmp_path / "odd.json"
    path.write_text('[{"source_expressions": 3}, 7, null, {"target_score": "high"}]')
    assert read_log_errors(path) == {}
    for text in ("{", "[" * 100_000):
        path.write_text(text)
        with pytest.raises(ReadError, match="is not readable JSON"):
            read_log_errors(path)


def test_the_numbers_of_a_file_are_printed_beside_the_published_ones(capsys, tmp_path):
    records.main(["--output", str(tmp_path)])
    printed = " ".join(capsys.readouterr().out.split())
    counts = open_source(DATA / "grammar_records.json.gz").counts()
    paper, ours = (measure_triplets(counts, errors=each) for each in ("paper", "multinomial"))
    fits = f"{len(paper)} {paper.mean_square:.2f} {ours.mean_square:.2f}"
    assert f"at least 1 {fits} 2,118; 1.55 140; 0.76" in printed
    assert f"samples {counts.attempts.sum():,} 50,228 19,968" in printed
    assert "grammar_records.json.gz: N0 = observed" in printed
    assert "lexicon_records.json.gz: N0 = 10000" in printed
    assert len(list(tmp_path.glob("*.png"))) == 6


def test_a_budget_is_shared_by_all_states(capsys):
    path = str(DATA / "lexicon_records.json.gz")
    records.main([path, "--attempts", "6400"])
    by_budget = capsys.readouterr().out
    assert "N0 = 6400" in by_budget
    with pytest.raises(InvalidInputError, match=r"--attempts '-3'.*budget"):
        records.main([path, "--attempts", "-3"])


def test_the_tables_have_the_published_numbers(capsys):
    tables.main([])
    printed = " ".join(capsys.readouterr().out.split())
    assert "p1-(p2/(x+p3)) 0.880" in printed
    for word, escapes in tables.TABLE_II.items():
        assert f"{escapes:,} {escapes:,}" in printed, word  # published, and here
    assert "4.380 0.129 0.129 0.126" in printed
    assert "action over K(0) 68%" in printed


def test_only_one_model_can_be_written_to_a_file(tmp_path):
    with pytest.raises(SystemExit, match="--records takes one model"):
        words.main(["--only", "claude", "gemini", "--records", str(tmp_path / "a.json")])
    words.main(["--only", "lexicon", "--probes", "300", "--records", str(tmp_path / "a.json")])
    assert open_source(tmp_path / "a.json").counts().total > 150
