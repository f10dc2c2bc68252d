"""What the score of a guard reads of steps: facts, texts, memory; live as offline."""

import json
import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from detailed_balance.analyzers import END, START, OutcomeScore, RunGuard, StepCount, Trajectory
from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.analyzers.guard._grams import last_grams, state_grams
from detailed_balance.analyzers.guard._ridge import fit_ridge_logistic
from detailed_balance.analyzers.guard._texts import align_texts, hash_grams
from detailed_balance.analyzers.guard.watch import run_risks
from detailed_balance.analyzers.runs.table import RunTable
from detailed_balance.analyzers.runs.trajectory import StepFacts

SAID = {True: ["All done.", "I see the order 12.", None], False: ["Sorry.", "I am not sure", ""]}


class Letters:
    """Embeddings: the shares of four letters."""

    def embed_documents(self, texts):
        return [[text.lower().count(letter) / len(text) for letter in "aeno"] for text in texts]


def make_runs(seed=0, number=80):
    """Return runs whose failures repeat calls and apologise, and what they wrote."""
    rng = np.random.default_rng(seed)
    runs, texts = [], {}
    for i in range(number):
        success = bool(rng.random() < 0.5)
        states = [str(rng.integers(4)) for _ in range(rng.integers(2, 12))]
        facts = tuple(
            StepFacts(
                failed=bool(rng.random() < 0.1),
                repeats=bool(rng.random() < (0.1 if success else 0.5)),
                stale=bool(rng.random() < 0.1),
                tokens=int(rng.integers(0, 2000)) or None,
            )
            if rng.random() < 0.9
            else None
            for _ in states
        )
        path = [START, *states]
        moves = tuple(pairwise(path))
        if rng.random() < 0.3:
            moves, facts = (*moves, (states[-1], END)), (*facts, None)
        runs.append(Trajectory(moves, f"run {i}", success=success, facts=facts))
        side = success if rng.random() < 0.8 else not success
        texts[f"run {i}"] = [SAID[side][rng.integers(3)] for _ in states]
    return runs, texts


RUNS, TEXTS = make_runs()
SCORES = {
    "facts": OutcomeScore(),
    "memory": OutcomeScore(memory=3),
    "ngrams": OutcomeScore(text="ngrams"),
    "embeddings": OutcomeScore(text=Letters(), memory=2),
}


@pytest.fixture(scope="module", params=SCORES)
def fitted(request):
    score = SCORES[request.param]
    return score.fit(RUNS, **({} if score.text is None else {"texts": TEXTS}))


def test_live_and_offline_give_the_same_risks_to_the_last_digit(fitted):
    new, texts = make_runs(1, 30)
    offline = run_risks(fitted, RunTable.of(new), texts)
    live = []
    for run in new:
        state, said = fitted.start(), [*texts[run.name], None]
        live += [
            state.update(*move, facts=facts, text=text)
            for move, facts, text in zip(run.moves, run.facts, said, strict=False)
        ]
    assert offline.tolist() == live


def test_a_score_survives_json_with_all_that_it_reads(fitted):
    text = json.dumps(fitted.to_dict())
    restored = OutcomeScore.from_dict(json.loads(text), fitted.embeddings)
    new, texts = make_runs(2, 20)
    table = RunTable.of(new)
    assert run_risks(restored, table, texts).tolist() == run_risks(fitted, table, texts).tolist()


def test_calls_that_repeat_raise_the_risk_and_the_move_to_the_end_does_not():
    score = SCORES["facts"].fit(RUNS)
    plain, again = score.start(), score.start()
    for i in range(4):
        one = plain.update("0", "1", facts=StepFacts(call=i))
        other = again.update("0", "1", facts=StepFacts(call=0, repeats=i > 0))
    assert other > one
    end = StepFacts(failed=True, repeats=True, tokens=9)
    assert again.update("1", END, facts=end, text="Sorry.") == other


def test_growth_is_the_log_of_the_most_expensive_step_over_the_first():
    runs = [
        Trajectory(
            tuple(("a", "a") for _ in tokens),
            success=success,
            facts=tuple(StepFacts(tokens=each) for each in tokens),
        )
        for tokens, success in [((None, 100, 50, 400, 200), False), ((100, 90, 100, 80, 100), True)]
    ]
    from detailed_balance.analyzers.guard._evidence import RunFeatures, _plain_columns

    growth = _plain_columns(RunTable.of(runs))["growth"]
    expected = [0, 0, 0, math.log(4), math.log(4)] + [0] * 5
    assert growth == pytest.approx(expected)
    evidence = RunFeatures(OutcomeScore().fit(runs * 3).model)
    for move, facts in zip(runs[0].moves, runs[0].facts, strict=True):
        evidence.update(*move, facts, None)
    assert evidence.values()["growth"] == growth[4]


def test_without_facts_nothing_of_them_has_a_weight():
    bare = [Trajectory(run.moves, run.name, success=run.success) for run in RUNS]
    score = OutcomeScore().fit(bare)
    assert not score.weighs_facts
    assert SCORES["facts"].fit(RUNS).weighs_facts


def test_texts_of_failed_runs_raise_the_risk():
    score = SCORES["ngrams"].fit(RUNS, texts=TEXTS)
    good, bad = score.start(), score.start()
    for _ in range(3):
        one = good.update("0", "1", text="All done.")
        other = bad.update("0", "1", text="Sorry. I am not sure")
    assert other > one + 0.2
    # What texts say by themselves is not counted again.
    assert not {"steps", "states"} & score.model.weights.keys()


@given(
    st.lists(
        st.lists(
            st.tuples(st.sampled_from(["a", "b", START]), st.sampled_from(["a", "b", None, END])),
            max_size=12,
        ).map(lambda moves: Trajectory(tuple(moves))),
        max_size=4,
    )
)
@settings(max_examples=60, deadline=None)
def test_n_grams_of_a_table_are_those_of_each_path(runs):
    table = RunTable.of(runs)
    grams, names = state_grams(table)
    found = list(zip(grams.move.tolist(), [names[i] for i in grams.gram.tolist()], strict=True))
    expected, move = [], 0
    for run in runs:
        path = []
        for source, target in run.moves:
            if target != END:
                path = [*(path or [source]), target]
                expected += [(move, gram) for gram in last_grams(path[-3:])]
            move += 1
    assert sorted(found, key=str) == sorted(expected, key=str)


def test_the_ridge_model_is_the_stationary_point_of_its_penalised_likelihood():
    # Checked by the gradient, computed here from the definition, and by Newton's method on it.
    rng = np.random.default_rng(3)
    x, weights = rng.normal(size=(60, 3)) * [1, 5, 0.1] + 2, rng.uniform(0.5, 2, 60)
    y = rng.random(60) < 1 / (1 + np.exp(-x[:, 0]))
    found = fit_ridge_logistic(x, y, weights, ridge=7.0)
    share = weights / weights.sum()
    mean = share @ x
    spread = np.sqrt(share @ (x - mean) ** 2)
    design = np.column_stack([np.ones(60), (x - mean) / spread])
    penalty, point = np.diag([0, 7.0, 7.0, 7.0]), np.zeros(4)
    for _ in range(50):
        p = 1 / (1 + np.exp(-design @ point))
        hessian = design.T @ (design * (weights * p * (1 - p))[:, None]) + penalty
        point -= np.linalg.solve(hessian, design.T @ (weights * (p - y)) + penalty @ point)
    slopes = point[1:] / spread
    assert found == pytest.approx([point[0] - slopes @ mean, *slopes], abs=1e-6)


def test_the_ridge_model_is_that_of_scikit_learn():
    linear = pytest.importorskip("sklearn.linear_model", reason="scikit-learn is not installed")
    rng = np.random.default_rng(4)
    x = rng.normal(size=(80, 2))
    x = (x - x.mean(0)) / x.std(0)
    y = rng.random(80) < 1 / (1 + np.exp(-x[:, 0]))
    ours = fit_ridge_logistic(x, y, np.ones(80), ridge=4.0)
    theirs = linear.LogisticRegression(C=1 / 4.0, tol=1e-10).fit(x, y)
    assert ours == pytest.approx([*theirs.intercept_, *theirs.coef_[0]], abs=1e-5)


def test_hostile_texts_are_read_as_any_other():
    score = SCORES["ngrams"].fit(RUNS, texts=TEXTS)
    for text in ("\ud800", "\x00" * 10, "a " * 100_000, "=1+1", "日本語", "%s {} __import__"):
        assert all(0 <= bucket < 4096 for bucket in hash_grams(text))
        assert math.isfinite(score.start().update("0", "1", text=text))


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (None, "no texts are given"),
        ({"other": ["a"]}, "none of the 80 runs is among the texts; these are of runs 'other'"),
        ({"run 0": "a text"}, "run 'run 0' has .* moves and one text"),
        ({"run 0": ["a"] * 99}, "run 'run 0' has .* moves and 99 texts"),
    ],
)
def test_texts_that_cannot_be_of_these_runs_are_refused(texts, message):
    with pytest.raises(InvalidInputError, match=message):
        OutcomeScore(text="ngrams").fit(RUNS, texts=texts)


def test_two_runs_of_one_name_cannot_share_texts():
    with pytest.raises(InvalidInputError, match="two runs are called 'run 0'"):
        align_texts(RunTable.of([RUNS[0], RUNS[0]]), TEXTS)


@pytest.mark.parametrize("settings", [{"text": "words"}, {"text": 3}, {"memory": -1}])
def test_settings_that_cannot_be_are_refused(settings):
    with pytest.raises(InvalidInputError, match="give"):
        OutcomeScore(**settings)


def test_embeddings_of_another_size_are_refused():
    class Wrong:
        def embed_documents(self, texts):
            return [[1.0] for _ in texts]

    data = SCORES["embeddings"].fit(RUNS, texts=TEXTS).to_dict()
    with pytest.raises(InvalidInputError, match="class 'Letters'"):
        OutcomeScore.from_dict(data)
    score = OutcomeScore.from_dict(data, Wrong())
    with pytest.raises(InvalidInputError, match="1 coordinates, and the score was fitted with 4"):
        score.start().update("0", "1", text="a")


def test_counting_steps_is_a_score_with_a_promise():
    guard = RunGuard.fit(RUNS, 0.2, StepCount())
    assert guard.threshold == float(int(guard.threshold))
    long = [("0", "1")] * 50
    assert guard.watch(long).stopped_at == guard.threshold + 1
    assert RunGuard.from_dict(guard.to_dict()).watch(long).stopped_at == guard.threshold + 1
