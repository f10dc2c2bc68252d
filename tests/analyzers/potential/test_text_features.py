import math

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from langchain_core.embeddings import DeterministicFakeEmbedding

from detailed_balance.analyzers import (
    embedding_features,
    fit_explicit_potential,
    frequency_features,
    make_features,
    text_features,
)
from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.analyzers.kernel import Kernel


def test_a_text_is_counted_by_hand():
    assert text_features("Two 2s, OK?") == {
        "length": 11,
        "letters": 6,
        "vowels": 2,
        "capitals": 3,
        "digits": 1,
        "other characters": 2,
        "distinct characters": 9,  # t w o 2 s , k ? and the space
        "words": 3,
        "word length": 3.0,
        "letter sum": 20 + 23 + 15 + 19 + 15 + 11,
    }


@pytest.mark.parametrize("word", ["ATTITUDE", "Personal", "problems", "BUZZY", "turkey"])
def test_the_words_of_the_paper_sum_to_a_hundred(word):
    assert text_features(word)["letter sum"] == 100


@settings(deadline=None)
@given(state=st.text(max_size=60))
def test_any_text_has_the_same_finite_features(state):
    table = make_features([state, "x"], [text_features, frequency_features({"x": 2, "a b": 1})])
    assert np.isfinite(table.values).all()
    assert text_features(state).keys() == text_features("").keys()


def test_frequencies_are_logarithms_and_a_factor_changes_no_difference():
    table = {"the": 1000.0, "Cat": 10.0, "ibex": 1.0, "never": 0.0}
    features = frequency_features(table)
    scaled = frequency_features({word: 7 * count for word, count in table.items()})
    assert features("THE cat")["log frequency"] == pytest.approx(math.log(100))
    assert features("never seen") == {"log frequency": 0.0, "unknown words": 2}
    assert features("")["unknown words"] == 0
    for key in ("log frequency", "unknown words"):
        gap = features("the cat")[key] - features("ibex who")[key]
        assert scaled("the cat")[key] - scaled("ibex who")[key] == pytest.approx(gap)
    with pytest.raises(InvalidInputError, match="none of 1 frequencies is above 0"):
        frequency_features({"a": 0})


def test_an_embedding_model_is_asked_in_batches_and_once_for_each_state():
    batches = []

    def vectors(texts):
        batches.append(list(texts))
        return [[len(text), text.count("a")] for text in texts]

    states = ["a" * n for n in range(1, 8)]
    table = make_features(states, [embedding_features(vectors, batch=3), text_features])
    assert [len(batch) for batch in batches] == [3, 3, 1]
    assert [text for batch in batches for text in batch] == states
    where = table.names.index("embedding 1")
    assert table.values[:, where].tolist() == list(range(1, 8))


def test_models_of_langchain_are_read_as_they_are():
    model = DeterministicFakeEmbedding(size=4)
    row = embedding_features(model, prefix="meaning")("dog")
    assert list(row.values()) == pytest.approx(model.embed_documents(["dog"])[0])
    assert list(row) == [f"meaning {i}" for i in range(4)]


def test_a_potential_along_one_direction_of_an_embedding_is_found():
    model = DeterministicFakeEmbedding(size=3)
    states = tuple(f"state {i}" for i in range(60))
    values = np.array(model.embed_documents(list(states))) @ [1.0, -0.5, 0.0]
    rates = np.exp((values[:, None] - values[None, :]) / 2)
    np.fill_diagonal(rates, 0)
    kernel = Kernel.from_matrix(rates * 0.9 / rates.sum(axis=1).max(), states)
    fit = fit_explicit_potential(kernel, embedding_features(model), penalty=1e-7)
    assert fit.theta == pytest.approx([1.0, -0.5, 0.0], abs=1e-4)
    new = ["one that was not there", "nor this"]
    wanted = np.array(model.embed_documents(new)) @ [1.0, -0.5, 0.0]
    assert np.diff(fit.predict(new)) == pytest.approx(np.diff(wanted), abs=1e-3)


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (lambda texts: [[1.0]], "shape .1, 1. for 2 texts"),
        (lambda texts: [1.0, 2.0], "shape .2,. for 2 texts"),
        (lambda texts: [[1.0], [1.0, 2.0]], "no table of numbers"),
        (lambda texts: [["a"], ["b"]], "no table of numbers"),
        (lambda texts: [[math.nan], [0.0]], "feature 'embedding 0' of state 'a' is nan"),
    ],
)
def test_a_model_that_gives_no_table_of_numbers_is_named(vectors, message):
    with pytest.raises(InvalidInputError, match=message):
        make_features(["a", "b"], embedding_features(vectors))


def test_what_is_no_embedding_model_is_refused():
    with pytest.raises(InvalidInputError, match="embeddings=3; allowed is a model"):
        embedding_features(3)
    with pytest.raises(InvalidInputError, match="batch=0"):
        embedding_features(lambda texts: [], batch=0)
