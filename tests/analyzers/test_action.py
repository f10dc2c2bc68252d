import mpmath
import numpy as np
import pytest
from hypothesis import given, strategies as st

from detailed_balance.analyzers import (
    CustomViolation,
    Exponential,
    Softplus,
    check_violation_function,
)
from detailed_balance.analyzers.errors import InvalidInputError, ViolationFunctionError


@pytest.mark.parametrize("make", [Exponential, Softplus])
@given(x=st.floats(-30, 30), beta=st.floats(0.1, 5))
def test_the_rate_ratio_of_detailed_balance_holds_at_every_x(make, x, beta):
    violation = make(beta)
    there, back = violation.derivative(np.array([x, -x]))
    assert there == pytest.approx(back * np.exp(-beta * x), rel=1e-12)


@pytest.mark.parametrize(
    ("violation", "reference"),
    [
        (Exponential(1.7), lambda x: mpmath.exp(-0.85 * x)),
        (Softplus(1.7), lambda x: mpmath.log1p(mpmath.exp(-1.7 * x))),
    ],
)
def test_derivatives_agree_with_those_of_arbitrary_precision(violation, reference):
    with mpmath.workdps(40):
        for x in (-9.0, -0.3, 0.0, 2.5, 11.0):
            point = np.array([x])
            assert violation.value(point)[0] == pytest.approx(float(reference(x)), rel=1e-13)
            first, second = (float(mpmath.diff(reference, x, order)) for order in (1, 2))
            assert violation.derivative(point)[0] == pytest.approx(first, rel=1e-10)
            assert violation.second_derivative(point)[0] == pytest.approx(second, rel=1e-10)


def test_softplus_neither_overflows_nor_vanishes_far_out():
    with np.errstate(over="raise", invalid="raise"):
        assert Softplus().value(np.array([-800.0]))[0] == 800.0
        assert Softplus().derivative(np.array([-800.0]))[0] == -1.0


def parabola(beta=1.0):
    # Convex, but K'(x) = K'(-x) exp(-x) does not hold.
    return CustomViolation(lambda x: x**2, lambda x: 2 * x, lambda x: 2 + 0 * x, beta)


def concave():
    return CustomViolation(
        lambda x: -np.exp(-x / 2), lambda x: np.exp(-x / 2) / 2, lambda x: -np.exp(-x / 2) / 4
    )


def wrong_slope():
    return CustomViolation(
        lambda x: np.exp(-x / 2), lambda x: -np.exp(-x / 2), lambda x: np.exp(-x / 2) / 2
    )


def not_finite():
    return CustomViolation(
        lambda x: np.where(x > 3, np.nan, np.exp(-x / 2)),
        lambda x: -np.exp(-x / 2) / 2,
        lambda x: np.exp(-x / 2) / 4,
    )


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (parabola, r"exp\(-beta x\) with beta = 1 does not hold at x = -20"),
        (concave, r"not convex: K''\(x\) is negative at x = -20"),
        (wrong_slope, r"derivative\(x\) is not the slope of value\(x\) at x = -20"),
        (not_finite, "must be finite at x = 3.1"),
    ],
)
def test_a_function_that_cannot_measure_balance_is_refused_by_name_of_the_x(build, message):
    with pytest.raises(ViolationFunctionError, match=message):
        build()


def test_an_object_that_is_not_convex_is_refused_where_it_is_used():
    class Linear:
        beta = 1.0

        def value(self, x):
            return -x

        def derivative(self, x):
            return -np.ones_like(x)

        def second_derivative(self, x):
            return np.zeros_like(x)

    with pytest.raises(ViolationFunctionError, match="does not hold at x"):
        check_violation_function(Linear())


@pytest.mark.parametrize("beta", [0, -1, float("inf"), "1", None])
def test_beta_must_be_a_positive_number(beta):
    with pytest.raises(InvalidInputError, match="finite positive number"):
        Exponential(beta)
