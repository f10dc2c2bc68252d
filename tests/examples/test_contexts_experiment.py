"""The experiment over contexts: its measures by hand, its data, and its tables."""

import numpy as np
import pytest
from scipy.stats import kstest

from detailed_balance.analyzers import Kernel
from detailed_balance.analyzers.errors import InvalidInputError
from examples.paper.chains import load_smollm2, sample
from examples.paper.experiments import contexts
from examples.paper.experiments.contexts import (
    PROMPTS,
    equality_test,
    explained,
    left_beside_popularity,
    load_kernels,
    load_ngrams,
    main,
    measure_agreement,
    scaled_kernel,
    seen_difference,
    share_rows,
)


def test_scaled_potentials_are_explained_by_their_scale():
    v = np.array([0.0, 1.0, 5.0, 2.0])
    found = measure_agreement(np.array([v, 3 * v + 7]))
    assert found.correlation == pytest.approx(1)
    assert found.same_order == 1
    # Centred they are w and 3w: the mean 2w leaves 2 |w|^2 of 10 |w|^2.
    assert found.shared == pytest.approx(0.8)
    assert found.explained == pytest.approx(1)
    assert found.scales == pytest.approx([1, 3])


def test_potentials_with_nothing_in_common_share_one_part_in_k():
    found = measure_agreement(np.array([[1.0, -1, 1, -1], [1, 1, -1, -1]]))
    assert found.correlation == pytest.approx(0)
    assert found.shared == pytest.approx(1 / 2)
    assert found.explained == pytest.approx(0)
    # Of six pairs of states, two are ties in the one and two others in the other.
    assert found.same_order == pytest.approx(1 / 6)


def test_equal_potentials_leave_nothing_for_a_scale():
    found = measure_agreement(np.array([[0.0, 2, 1]] * 3))
    assert found.shared == 1
    assert np.isnan(found.explained)


def test_sampled_counts_follow_the_kernel_and_keep_its_escapes():
    kernel = Kernel.from_matrix([[0.1, 0.2, 0.3], [0, 0.5, 0.5], [0.25, 0, 0]], ("a", "b", "c"))
    counts = sample(kernel, 40_000, np.random.default_rng(0))
    assert counts.attempts.tolist() == [40_000] * 3
    shares = counts.counts.toarray() / 40_000
    np.testing.assert_allclose(shares, kernel.probabilities.toarray(), atol=0.01)
    assert counts.counts.toarray()[2, 1] == 0


def metropolis(v, seed):
    """A kernel in balance with V on a complete graph, with rates of its own."""
    rates = np.random.default_rng(seed).random((len(v), len(v)))
    rates = (rates + rates.T) * np.exp((v[:, None] - v) / 2)
    np.fill_diagonal(rates, 0)
    return Kernel.from_matrix(rates / rates.sum(axis=1).max(), tuple("abcdef"))


def test_a_shared_potential_explains_all_and_another_scale_needs_one():
    v = np.array([0.0, 1, 3, 2, 0.5, 2.5])
    alike = share_rows({"one": metropolis(v, 0), "other": metropolis(v, 1)}, np.zeros(6) + v)
    assert alike[:4] == pytest.approx((1, 1, 1, 1))
    assert alike[6] == pytest.approx(1)  # what is given as frequency is V itself
    assert max(alike[4:6]) < 1
    twice = share_rows({"one": metropolis(v, 0), "other": metropolis(2 * v, 1)}, v)
    assert twice[0] == pytest.approx(1)
    assert twice[1] < 0.99
    assert twice[3] == pytest.approx(1)  # V of the others, scaled
    left, error = left_beside_popularity({"one": metropolis(v, 0), "other": metropolis(v, 1)})
    assert left == pytest.approx(1 - alike[5])
    assert 0 < error < 1


def test_answers_that_ignore_the_question_are_all_popularity():
    p = np.array([0.5, 0.2, 0.1, 0.1, 0.06, 0.04])
    kernel = scaled_kernel(np.log(np.tile(p, (6, 1))) - 3, tuple("abcdef"))
    np.testing.assert_allclose(kernel.probabilities.toarray()[3], p)
    assert explained(kernel, -np.log(p)) == pytest.approx(1)
    assert explained(kernel, 5 * np.log(p), scaled=True) == pytest.approx(1)
    assert explained(kernel, np.zeros(6)) == pytest.approx(0)


def drawn(rng, values, covariance, scales):
    """Return estimates of scales times values with these covariances."""
    noise = rng.multivariate_normal(np.zeros(len(values)), covariance, len(scales))
    return np.outer(scales, values - values.mean()) + noise


CENTRED = np.eye(8) - 1 / 8
ROOT = CENTRED @ np.random.default_rng(1).normal(size=(8, 8))
COVARIANCE = 0.01 * ROOT @ ROOT.T
VALUES = np.arange(8.0)


def test_the_tests_of_equality_keep_their_level_and_find_a_scale():
    rng = np.random.default_rng(0)
    covariances = np.array([COVARIANCE] * 3)
    samples = [drawn(rng, VALUES, COVARIANCE, [1, 1, 1]) for _ in range(300)]
    assert kstest([equality_test(x, covariances).pvalue for x in samples], "uniform").pvalue > 0.01
    samples = [drawn(rng, VALUES, COVARIANCE, [1, 2, 0.5]) for _ in range(100)]
    found = [equality_test(x, covariances, scaled=True).pvalue for x in samples]
    assert kstest(found, "uniform").pvalue > 0.01
    assert max(equality_test(x, covariances).pvalue for x in samples) < 1e-6


def test_a_difference_as_large_as_told_is_found_nine_times_in_ten():
    rng = np.random.default_rng(2)
    size = seen_difference(2 * COVARIANCE)
    found = []
    for _ in range(600):
        # Differences in random directions whose power is 0.9: the noncentrality is fixed.
        shift = CENTRED @ rng.normal(size=8)
        inverse = np.linalg.pinv(2 * COVARIANCE)
        expected = size**2 * 8 / 7 * np.trace(inverse)
        shift *= np.sqrt(expected / (shift @ inverse @ shift))
        values = drawn(rng, VALUES, COVARIANCE, [1, 1])
        values[1] += shift
        found.append(equality_test(values, np.array([COVARIANCE] * 2)).pvalue <= 0.05)
    assert np.mean(found) == pytest.approx(0.9, abs=0.04)


def test_the_kernel_kept_for_the_first_prompt_is_the_one_of_the_demo():
    words, temperatures = load_smollm2()
    some, kernels = load_kernels()
    places = [words.index(word) for word in some]
    for temperature in (0.7, 1.0):
        known = temperatures[temperature][np.ix_(places, places)]
        # Kept in 16 bits: up to 0.008 nats off between 16 and 32.
        kept = kernels["SmolLM2", "related", temperature]
        np.testing.assert_allclose(kept, known, atol=0.01)
    assert {model for model, *_ in kernels} == set(contexts.MODELS)
    assert {prompt for _, prompt, _ in kernels} == set(PROMPTS)


def test_the_first_order_of_the_n_grams_ignores_the_question_and_no_other_does():
    for name, logs in load_ngrams().items():
        assert (np.ptp(logs, axis=0).max() == 0) == (name == "order 1")
        assert np.exp(logs).sum(axis=1).max() < 1


def test_weights_that_are_needed_are_asked_for():
    with pytest.raises(InvalidInputError, match="--weights"):
        main(["--measure", "Gemma 3"])


def test_the_experiment_runs_without_a_model_or_airline_runs(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(contexts, "left_beside_popularity", lambda kernels: (0.0, 0.0))  # slow
    main(["--attempts", "500", "--airline", str(tmp_path), "--output", str(tmp_path)])
    text = capsys.readouterr().out
    assert "are left out" in text
    assert "SmolLM2, 3 prompts" in text
    assert len(list(tmp_path.glob("contexts-*.png"))) == 3
