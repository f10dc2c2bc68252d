"""The experiment over contexts: its measures by hand, its data, and its tables."""

import numpy as np
import pytest

from detailed_balance.analyzers import Kernel
from examples.paper.chains import load_smollm2, sample
from examples.paper.experiments.contexts import load_prompt_kernels, main, measure_agreement


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


def test_the_kernel_kept_for_the_first_prompt_is_the_one_of_the_demo():
    words, temperatures = load_smollm2()
    some, prompts = load_prompt_kernels()
    places = [words.index(word) for word in some]
    known = temperatures[1.0][np.ix_(places, places)]
    np.testing.assert_allclose(prompts["related"], known, atol=1e-3)
    # and the others are others
    assert all(abs(logs - known).max() > 1 for name, logs in prompts.items() if name != "related")


def test_the_experiment_runs_without_a_model_or_airline_runs(tmp_path, capsys):
    main(["--attempts", "500", "--airline", str(tmp_path), "--output", str(tmp_path)])
    text = capsys.readouterr().out
    assert "are left out" in text
    assert "that all V are equal is rejected" in text
    assert len(list(tmp_path.glob("contexts-*.png"))) == 3
