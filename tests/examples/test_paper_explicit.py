"""The experiment on explicit potentials, on chains that are small or known."""

import json

import numpy as np
import pytest

from detailed_balance.analyzers import Kernel
from detailed_balance.analyzers.errors import InvalidInputError
from examples.paper.chains import smollm2
from examples.paper.experiments import explicit, search
from examples.paper.search import Limits, run_candidate


@pytest.fixture
def no_packages(monkeypatch):
    """Neither word frequencies nor an embedding model."""

    def absent(*_):
        raise ImportError

    def refuse():
        raise InvalidInputError("a package is missing")

    monkeypatch.setattr(explicit, "import_module", absent)
    monkeypatch.setattr(explicit, "MiniLM", refuse)


def planted(count, seed=0):
    """A kernel whose potential is the number of letters `a`, and nothing else."""
    rng = np.random.default_rng(seed)
    drawn = {"".join(rng.choice(list("abcde"), rng.integers(3, 8))) for _ in range(2 * count)}
    states = tuple(sorted(drawn)[:count])
    values = np.array([2.0 * state.count("a") for state in states])
    near = rng.random((count, count)) < 0.1
    rates = np.exp((values[:, None] - values[None, :]) / 2) * (near | near.T)
    np.fill_diagonal(rates, 0)
    return Kernel.from_matrix(0.9 * rates / rates.sum(axis=1, keepdims=True).max(), states)


def test_the_measured_kernel_has_150_words_and_97_probable_moves():
    kernel = smollm2(0.7)
    moves = kernel.probabilities.toarray() - np.diag(kernel.probabilities.diagonal())
    assert len(kernel.states) == 150
    assert (moves > 0.05).sum() == 97


def test_a_random_potential_goes_down_as_often_as_up():
    shares = explicit.random_shares(planted(40), seed=1)
    assert shares.sum(axis=1) == pytest.approx(100)
    down = shares[:, 0]
    assert down.mean() == pytest.approx(50, abs=4 * down.std() / np.sqrt(len(down)))
    assert (shares[:, 2] == 0).all()


def test_a_feature_that_makes_the_potential_predicts_words_never_seen():
    kernel = planted(60)
    right, scores = explicit.judge_new_states(kernel, [lambda s: {"a": s.count("a")}], seed=0)
    wrong, _ = explicit.judge_new_states(kernel, [lambda s: {s: 1, s[0]: 1}], seed=0)
    assert max(right) < 0.95
    assert np.mean(wrong) > 0.99
    assert sum(score.down for score in scores) > 3 * sum(score.up for score in scores)


def test_the_stand_in_offers_programs_that_run_and_one_that_is_refused():
    found = [
        run_candidate(text, ["dog", "rain"], Limits(wall_seconds=30)) for text in search.PROGRAMS
    ]
    assert [done.status for done in found] == ["ok", "ok", "ok", "refused", "ok"]


@pytest.fixture
def walk(tmp_path):
    """A file of moves drawn from a planted kernel."""
    kernel, rng, walk = planted(30), np.random.default_rng(2), tmp_path / "walk.jsonl"
    rows = kernel.probabilities.toarray()
    np.fill_diagonal(rows, 1 - rows.sum(axis=1))
    lines = [
        {"trajectory": "t", "step": k, "source": kernel.states[i], "target": kernel.states[j]}
        for i, row in enumerate(rows)
        for k, j in enumerate(rng.choice(len(row), 60, p=row))
    ]
    walk.write_text("\n".join(map(json.dumps, lines)))
    return walk


def test_the_experiment_runs_on_a_walk_and_says_what_is_left_out(no_packages, walk, capsys):
    explicit.main(["--walk", str(walk), "--least", "5"])
    printed = capsys.readouterr().out
    assert "left out: frequency: wordfreq is missing" in printed
    assert "left out: embeddings: a package is missing" in printed
    table = {line.split("  ")[0].strip(): line.split() for line in printed.splitlines()}
    assert table["the paper's agent"][-3:] == ["69.56", "25.83", "4.62"]
    letters = next(line for line in printed.splitlines() if line.startswith("letters and pairs"))
    down, up, _ = map(float, letters.split()[3:])
    assert down > 2 * up  # the letters make this potential


def test_the_search_runs_on_a_walk_and_shows_the_best_program(walk, capsys):
    search.main(["--walk", str(walk), "--least", "5", "--rounds", "1"])
    printed = capsys.readouterr().out
    assert "best: number" in printed
    assert "def features(state" in printed
