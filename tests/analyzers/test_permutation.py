import numpy as np
import pytest

from detailed_balance.analyzers.permutation import permute_inside


@pytest.mark.parametrize("number", [1, 3, 40])
@pytest.mark.parametrize("failed", [0, 1, 30, 99, 100])
def test_marks_are_permuted_inside_strata_as_any_labels_are(failed, number):
    rng = np.random.default_rng(1)
    marks, strata = rng.permutation(np.arange(100) < failed), rng.integers(number, size=100) - 1
    drawn = permute_inside(marks, strata, 50, np.random.default_rng(0))
    labels = permute_inside(marks.astype(np.int64), strata, 50, np.random.default_rng(0))
    assert (drawn == labels).all()
    assert (drawn.sum(axis=1) == failed).all()


def test_every_arrangement_of_marks_is_as_probable():
    marks, strata = np.array([True, False, False, True]), np.zeros(4, dtype=np.int64)
    drawn = permute_inside(marks, strata, 60_000, np.random.default_rng(0))
    _, number = np.unique(drawn, axis=0, return_counts=True)
    assert len(number) == 6
    assert np.abs(number - 10_000).max() < 5 * np.sqrt(10_000)
