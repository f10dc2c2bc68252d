import json

import numpy as np
import pytest

from detailed_balance.analyzers import Kernel, TransitionCounts, estimate_kernel
from detailed_balance.analyzers.errors import InvalidInputError

COUNTS = TransitionCounts.from_edges(
    [("a", "a", 2), ("a", "b", 6), ("a", None, 2), ("b", "a", 5), ("b", "c", 5), ("c", "a", 1)]
)


@pytest.mark.parametrize(
    ("attempts", "expected"),
    [
        ("observed", [[0.2, 0.6, 0.0], [0.5, 0.0, 0.5], [1.0, 0.0, 0.0]]),
        ("transitions", [[1 / 3, 1.0, 0.0], [0.5, 0.0, 0.5], [1.0, 0.0, 0.0]]),
        (4, [[0.5, 1.0, 0.0], [1.0, 0.0, 1.0], [0.25, 0.0, 0.0]]),
        ([20, 10, 2], [[0.1, 0.3, 0.0], [0.5, 0.0, 0.5], [0.5, 0.0, 0.0]]),
    ],
)
def test_every_choice_of_attempts_gives_the_kernel_computed_by_hand(attempts, expected):
    kernel = estimate_kernel(COUNTS, attempts=attempts, min_attempts=1)
    assert np.allclose(kernel.probabilities.toarray(), expected, rtol=1e-15)


def test_states_with_few_attempts_are_dropped_and_named():
    kernel = estimate_kernel(COUNTS)
    assert kernel.states == ("a", "b")
    assert kernel.dropped == ("c",)
    assert kernel.probabilities.toarray().tolist() == [[0.2, 0.6], [0.5, 0.0]]


def test_the_kernel_is_json_and_a_table():
    kernel = estimate_kernel(COUNTS)
    assert kernel.to_table() == {
        "source": ["a", "a", "b"],
        "target": ["a", "b", "a"],
        "probability": [0.2, 0.6, 0.5],
    }
    result = json.loads(json.dumps(kernel.to_dict()))
    assert result["dropped"] == ["c"]
    assert result["attempts"] == [10.0, 10.0]
    assert result["settings"] == {"attempts": "observed", "min_attempts": 2}


@pytest.mark.parametrize(
    ("attempts", "message"),
    [
        ("all", "attempts='all'; allowed are 'observed', 'transitions', a number or an array"),
        (0, "finite and positive"),
        (float("nan"), "finite and positive"),
        ([1, 2], r"shape \(2,\).*one for each of the 3 states"),
        ([1, -2, 3], "finite and positive"),
    ],
)
def test_attempts_that_make_no_sense_are_refused(attempts, message):
    with pytest.raises(InvalidInputError, match=message):
        estimate_kernel(COUNTS, attempts=attempts)


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        ([[0.5, 0.6], [0, 1]], "row 0 is not a probability distribution.*sum 1.1"),
        ([[0.5, 0.5], [-0.1, 1]], "row 1 is not a probability distribution.*entry -0.1"),
        ([[0.5, 0.5]], r"square matrix; got shape \(1, 2\)"),
    ],
)
def test_a_matrix_that_is_no_kernel_is_refused(matrix, message):
    with pytest.raises(InvalidInputError, match=message):
        Kernel.from_matrix(matrix)


def test_a_data_frame_names_the_states_of_a_known_kernel():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame([[0.5, 0.25], [0.2, 0.7]], index=["a", "b"], columns=["a", "b"])
    kernel = Kernel.from_matrix(frame.iloc[::-1])
    assert kernel.states == ("a", "b")
    assert kernel.probabilities.toarray().tolist() == [[0.5, 0.25], [0.2, 0.7]]
    assert Kernel.from_matrix(frame, ("x", "y")).states == ("x", "y")
