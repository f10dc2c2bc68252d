"""The paper's symbolic agent: a language that runs nothing, fits, states, and a known kernel."""

import asyncio
import json
import math
import re
import sys

import numpy as np
import pytest
from hypothesis import assume, given, settings, strategies as st
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import AIMessage, HumanMessage

from detailed_balance.analyzers import TransitionCounts, check_balance, estimate_potential
from detailed_balance.analyzers.errors import (
    DetailedBalanceError,
    InvalidInputError,
    ReadError,
)
from detailed_balance.callbacks import TransitionStore
from examples.paper.agent.evaluation import recover_potential
from examples.paper.agent.explore import ModelFailedError, explore
from examples.paper.agent.plan import Plan, Recorded
from examples.paper.agent.simulated import REFUSAL
from examples.paper.experiments import symbolic
from examples.paper.experiments.symbolic import main
from examples.paper.symbolic.analysis import correlate_ranks, study_expressions
from examples.paper.symbolic.datasets import MAX_ROWS, DataSet, make_decay, read_csv
from examples.paper.symbolic.expressions import Expression, evaluate, parse_expression
from examples.paper.symbolic.fitting import FitError, Fitter, fit_expression
from examples.paper.symbolic.grammar import (
    FUNCTIONS,
    MAX_DEPTH,
    MAX_LENGTH,
    MAX_NODES,
    PAPER_FUNCTIONS,
    ExpressionError,
)
from examples.paper.symbolic.grammar_model import (
    GrammarChatModel,
    GrammarKernel,
    mutate,
    score_potential,
)
from examples.paper.symbolic.task import SymbolicTask
from tests.support.chains import data_file

VARIABLES = {"x": np.array([-1.7, -0.4, 0.3, 1.1, 2.6]), "y": np.array([0.9, -2.2, 1.4, 0.2, 3.1])}


def canonical(text):
    return parse_expression(text, VARIABLES).text


def value(text, parameters=(), **variables):
    found = evaluate(parse_expression(text, variables), variables, parameters)
    return float(found) if found.ndim == 0 else found.tolist()


# The language


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 + 2 * 3", 7.0),
        ("(1 + 2) * 3", 9.0),
        ("2 ** 3 ** 2", 512.0),
        ("(2 ** 3) ** 2", 64.0),
        ("-x ** 2", -9.0),
        ("(-x) ** 2", 9.0),
        ("2 ** -x", 0.125),
        ("8 / 4 / 2", 1.0),
        ("8 / (4 / 2)", 4.0),
        ("5 - 2 - 1", 2.0),
        ("5 - (2 - 1)", 4.0),
        ("- - x", 3.0),
        ("+x - -x", 6.0),
        ("2e1 + .5 + 3.", 23.5),
        ("abs(-x) + sqrt(x + 1)", 5.0),
        ("exp(log(x))", 3.0),
        ("(x - 5) * (x - 1)", -4.0),
        ("1 / (1 - x)", -0.5),
    ],
)
def test_expressions_have_the_values_that_mathematics_gives_them(text, expected):
    assert value(text, x=3.0) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("x+y", "  y + (x) "),
        ("x - y", "-y + x"),
        ("x - (y - c)", "x + c - y"),
        ("x / (y * c)", "x / c / y"),
        ("x / (y / c)", "c * x / y"),
        ("-(x * y)", "y * -x"),
        ("(x - y) * c", "-((y - x) * c)"),
        ("1 / (x - y)", "-1 / (y - x)"),
        ("c3 * x + c9", "c + c0 * x"),
        ("c5 * x + x ** c5", "x ** c1 + c1 * x"),
        ("(c0 - c1) * x ** c0 + c1", "c0 - x ** c1 * (c0 - c1)"),
        ("2.0 * x", "x * 2"),
        ("1 * x", "x"),
        ("1e3", "1000.0"),
    ],
)
def test_equal_expressions_are_one_state(one, other):
    assert canonical(one) == canonical(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("x - y", "y - x"),
        ("x / y", "y / x"),
        ("x ** y", "y ** x"),
        ("x ** 2 ** y", "(x ** 2) ** y"),
        ("c * x + c", "c0 * x + c0"),
        ("c0 * x + c0 * y + c1", "c0 * x + c1 * y + c1"),
        ("sin(x)", "cos(x)"),
        ("x + x", "2 * x"),  # no algebra, as the page says
        ("-x ** 2", "(-x) ** 2"),
    ],
)
def test_expressions_that_differ_are_two_states(one, other):
    assert canonical(one) != canonical(other)


def test_what_an_expression_holds_is_counted():
    found = parse_expression("c0 * x + c0 - c", ["x"])
    assert (found.text, found.shared, found.parameters) == ("c0 + c0 * x - c", 1, 2)
    assert found.complexity == 7  # +, c0, *, c0, x, -, c
    assert value("c0 * x + c0 - c", [3.0, 10.0], x=2.0) == pytest.approx(3 * 2 + 3 - 10)
    with pytest.raises(InvalidInputError, match="2 parameters"):
        evaluate(found, {"x": 1.0}, [1.0])


# Random trees, written and evaluated by means of their own: one is (text, function of a mapping).

OPERATORS = {"+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide, "**": np.power}
NUMPY = {name: getattr(np, name) for name in ("abs", "cos", "exp", "log", "sin", "sqrt", "tanh")}
leaves = st.sampled_from(["x", "y", "2", "0.5", "3e0"]).map(
    lambda text: (text, (lambda at, text=text: at[text] if text in at else np.float64(text)))
)


def grown(smaller):
    binary = st.tuples(smaller, st.sampled_from(sorted(OPERATORS)), smaller).map(
        lambda parts: (
            f"({parts[0][0]}){parts[1]} ({parts[2][0]})",
            lambda at: OPERATORS[parts[1]](parts[0][1](at), parts[2][1](at)),
        )
    )
    unary = st.tuples(st.sampled_from(sorted(NUMPY)), smaller).map(
        lambda parts: (f"{parts[0]}( {parts[1][0]})", lambda at: NUMPY[parts[0]](parts[1][1](at)))
    )
    minus = smaller.map(lambda part: (f"-({part[0]})", lambda at: -part[1](at)))
    return binary | unary | minus


trees = st.recursive(leaves, grown, max_leaves=8)


def read_or_skip(text):
    try:
        return parse_expression(text, VARIABLES)
    except ExpressionError as error:  # a constant part like log(log(0.5)) has no value
        assume("not a finite number" not in str(error) and "deep" not in str(error))
        raise


@settings(max_examples=150, deadline=None)
@given(trees)
def test_random_expressions_keep_their_values(tree):
    text, function = tree
    assume(len(text) <= MAX_LENGTH)
    with np.errstate(all="ignore"):
        expected = np.broadcast_to(function(VARIABLES), (5,))
    found = evaluate(read_or_skip(text), VARIABLES)
    # Sums and products are taken in another order: where digits cancel, that shows.
    usable = np.isfinite(expected) & (np.abs(expected) > 1e-6) & (np.abs(expected) < 1e6)
    assume(usable.any())
    np.testing.assert_allclose(found[usable], expected[usable], rtol=1e-5)


def test_a_sum_that_is_its_own_negative_has_no_sign():
    assert parse_expression("-((x - x) * x)", VARIABLES).text == "(x - x) * x"


@settings(max_examples=150, deadline=None)
@given(trees)
def test_a_canonical_text_is_its_own_canonical_text(tree):
    assume(len(tree[0]) <= MAX_LENGTH)
    found = read_or_skip(tree[0])
    assert parse_expression(found.text, VARIABLES) == found


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.sampled_from(["c0*x", "c1 * y", "c0", "-c1", "x/c2", "exp(c2)", "-y"]), min_size=2),
    st.randoms(use_true_random=False),
)
def test_neither_the_order_of_terms_nor_the_names_of_parameters_matter(terms, random):
    terms = terms[:8]
    shuffled = random.sample(terms, len(terms))
    names = dict(zip(["c0", "c1", "c2"], random.sample(["c4", "c0", "c17"], 3), strict=True))
    renamed = [re.sub(r"c\d", lambda found: names[found[0]], term) for term in shuffled]
    for sign in "+*":
        assert canonical(f" {sign} ".join(f"({t})" for t in terms)) == canonical(
            sign.join(f"({t})" for t in renamed)
        )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the end where a value"),
        ("10**10**10", "not a finite number"),
        ("9**9**9**9**9**9", "not a finite number"),
        ("x + 1/0", "not a finite number"),
        ("(" * 149 + "x" + ")" * 149, f"more than {MAX_DEPTH} deep"),
        ("-" * 299 + "x", f"more than {MAX_DEPTH} deep"),
        ("exp(" * 60 + "x" + ")" * 20, f"more than {MAX_DEPTH} deep"),
        ("x**" * 90 + "x", f"more than {MAX_DEPTH} deep"),
        ("(" * 10**6, f"up to {MAX_LENGTH}"),
        ("x+" * 10**6 + "x", f"up to {MAX_LENGTH}"),
        ("+".join("x" * 100), f"more than {MAX_NODES}"),
        ("9" * 299, "up to 25 digits"),
        ("1e999", "too large"),
        ("x.real", "'.real' at 1"),
        ("x.__class__", "not of the language"),
        ("__import__('os').system('true')", "not of the language"),
        ("__import__(x)", "no function '__import__'"),
        ("eval(x)", "no function 'eval'"),
        ("exp", "no variable 'exp'"),
        ("exp(x", "where '\\)' should be"),
        ("x(y)", "no function 'x'"),
        ("exp(x, y)", "not of the language"),
        ("[x for x in y]", "not of the language"),
        ("lambda: x", "not of the language"),
        ("z + x", "no variable 'z'"),
        ("0x10", "where an operator"),
        ("1_000", "where an operator"),
        ("3 x", "where an operator"),
        ("x == y", "not of the language"),
        ("x; y", "not of the language"),
        ("х + 1", "U\\+0445"),  # noqa: RUF001 - a Cyrillic letter
        ("x + １", "U\\+FF11"),  # noqa: RUF001 - full width, which float() takes for a digit
        ("x − 1", "U\\+2212"),  # noqa: RUF001 - a minus sign
        ("x\x00", "not of the language"),
        ("\x1b[2Jx", r"\\x1b"),
        ("c0+c0+c1+c1+c2+c2+c3+c3+c4+c4", "up to 4 may be"),
    ],
)
def test_hostile_texts_are_refused_with_a_reason(text, message):
    with pytest.raises(ExpressionError, match=message) as refused:
        parse_expression(text, VARIABLES)
    assert len(str(refused.value)) < 300
    assert str(refused.value).isprintable()


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=400) | st.text("xyc01(+-*/. )^e", max_size=80))
def test_any_text_is_an_expression_or_refused(text):
    try:
        found = parse_expression(text, VARIABLES)
    except ExpressionError:
        return
    assert isinstance(found, Expression)
    assert len(found.text) <= MAX_LENGTH


def test_the_largest_work_that_is_allowed_has_a_bound_on_its_steps():
    """Four shared parameters are 24 orders: count the calls instead of the seconds."""
    text = "*".join(["(c0-c1)", "(c1-c2)", "(c2-c3)", "(c3-c0)", "(c0+c1*(x-c2*(c3-c0*(x-c1))))"])
    calls = 0

    def count(frame, event, argument):
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        canonical(text)
    finally:
        sys.setprofile(None)
    assert calls < 100_000


# Data


def table(tmp_path, text):
    path = tmp_path / "table.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_a_table_is_read_column_by_column(tmp_path):
    data = read_csv(table(tmp_path, "\ufeffa, y ,b\n1,2,3\n\n4,5,6\n7,8,9\n"), "y")
    assert {name: column.tolist() for name, column in data.variables.items()} == {
        "a": [1.0, 4.0, 7.0],
        "b": [3.0, 6.0, 9.0],
    }
    assert data.target.tolist() == [2.0, 5.0, 8.0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("x,y\n", "0 rows"),
        ("x,y\n1,2\n", "1 rows"),
        ("x,z\n1,2\n", "no column 'y'; its columns are x, z"),
        ("x,x,y\n1,2,3\n", "two columns of one name"),
        ("y\n1\n2\n3\n", "no column beside"),
        ("x,y\n1,2\n3,four\n5,6\n", "line 3, column 'y': 'four'"),
        ("x,y\n1,2\n,4\n5,6\n", "line 3, column 'x': ''"),
        ("x,y\n1,2\nnan,4\n5,6\n", "'nan' is not a finite number"),
        ("x,y\n1,2\n3,-inf\n5,6\n", "'-inf' is not a finite number"),
        ("x,y\n1,2\n1_0,4\n5,6\n", "'1_0' is not a finite number"),
        ("x,y\n1,2\n3\n5,6\n", "1 cells for 2 columns"),
        ("log v/k,y\n1,2\n3,4\n5,6\n", "no variable can be called 'log v/k'"),
        ("c1,y\n1,2\n3,4\n5,6\n", "no variable can be called 'c1'"),
        ("exp,y\n1,2\n3,4\n5,6\n", "no variable can be called 'exp'"),
        (b"x,y\n1,\xff\n", "cannot be read as CSV in UTF-8"),
        (b"x,y\n1,2\n\x00,3\n", "cannot be read|not a finite number"),
        ('x,y\n1,"2\n', "cannot be read as CSV"),
        ("x,y\n1,\x1b[31m\n", r"\\x1b"),
        ("x,y\n" + "1,2\n" * (MAX_ROWS + 1), "more than 10,000 rows"),
    ],
)
def test_an_odd_table_is_refused_with_a_reason(tmp_path, text, message):
    with pytest.raises((ReadError, InvalidInputError), match=message):
        read_csv(table(tmp_path, text), "y")


def test_a_table_that_is_not_there_is_no_traceback(tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--data", str(tmp_path / "none.csv"), "--target", "y"])
    assert "cannot be read" in str(stopped.value)
    with pytest.raises(SystemExit, match="belong together"):
        main(["--target", "y"])


# Fits


@pytest.mark.parametrize(
    ("law", "truth", "parameters"),
    [
        ("c * exp(c * x) + c", lambda x, z: 2 * np.exp(-0.7 * x) + 0.5, [-0.7, 0.5, 2.0]),
        ("c * sin(c * x)", lambda x, z: 1.5 * np.sin(1.2 * x), None),  # both signs may turn
        ("c / (c + x)", lambda x, z: 3 / (2 + x), [2.0, 3.0]),
        ("c0 * x + exp(-c0 * z)", lambda x, z: 0.8 * x + np.exp(-0.8 * z), [0.8]),
        ("c * x ** c", lambda x, z: 1.3 * x**1.7, [1.3, 1.7]),
    ],
)
def test_the_parameters_of_a_law_are_found_again(law, truth, parameters):
    rng = np.random.default_rng(1)
    columns = {name: rng.uniform(0.2, 3.0, 80) for name in "xz"}
    data = DataSet("law", columns, truth(**columns), "y")
    fit = fit_expression(parse_expression(law, columns), data)
    assert fit.mse < 1e-14
    np.testing.assert_allclose(evaluate(fit.expression, columns, fit.parameters), data.target, 1e-5)
    if parameters is not None:
        assert sorted(fit.parameters) == pytest.approx(parameters, rel=1e-4)


def test_the_error_of_a_fit_is_the_least_there_is():
    """For a straight line the answer is known in closed form."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=50)
    y = 3 * x - 1 + rng.normal(size=50)
    least = np.polynomial.Polynomial.fit(x, y, 1, full=True)[1][0][0] / 50
    fit = Fitter(DataSet("line", {"x": x}, y, "y")).fit("c * x + c")
    assert fit.mse == pytest.approx(least, rel=1e-9)


def test_an_expression_without_values_is_not_fitted():
    fitter = Fitter(DataSet("signs", {"x": np.array([-1.0, 0.0, 1.0])}, np.zeros(3), "y"))
    for text in ("log(x)", "1 / x", "sqrt(x) + c", "exp(exp(exp(exp(x + 9))))"):
        with pytest.raises(FitError):
            fitter.fit(text)
    with pytest.raises(FitError, match="13 parameters"):
        fitter.fit(" + ".join(["c * x"] * 13))


def test_a_fit_depends_neither_on_what_came_before_nor_on_how_it_is_written():
    data = make_decay(seed=3)
    first, second = Fitter(data), Fitter(data)
    first.fit("c * sin(c * x)")
    one, other = first.fit("c*exp(x*c)"), second.fit("exp(c7 * x) * c")
    assert one.mse == other.mse
    assert one.parameters.tolist() == other.parameters.tolist()
    assert first.fit("exp(c*x) * c") is one


# The stand-in and its kernel


@pytest.fixture(scope="module")
def known():
    fitter = Fitter(make_decay())
    kernel = GrammarKernel(["x"], score_potential(fitter), max_complexity=3)
    return fitter, kernel, kernel.exact("c")


def test_mutations_within_the_closed_set_lead_back(known):
    _, kernel, exact = known
    assert len(exact.states) > 50
    for text in exact.states:
        for other in kernel.neighbours(text):
            assert text in kernel.neighbours(other)
            assert text in mutate(other, ["x"])
            assert other in exact.states


def test_the_kernel_obeys_detailed_balance_for_its_potential(known):
    _, kernel, exact = known
    heights = np.array([kernel.potential(text) for text in exact.states])
    rates = exact.probabilities.toarray()
    flow = np.exp(-heights)[:, None] * rates
    np.testing.assert_allclose(flow, flow.T, rtol=1e-12, atol=1e-300)
    np.testing.assert_allclose(rates.sum(axis=1), 0.95, rtol=1e-12)
    assert (rates >= 0).all()
    assert np.ptp(heights) > 2


def test_the_potential_of_the_exact_kernel_is_the_one_that_was_put_in(known):
    _, kernel, exact = known
    potential = estimate_potential(exact)
    truth = np.array([kernel.potential(text) for text in potential.states])
    off = potential.values - truth
    np.testing.assert_allclose(off - off.mean(), 0.0, atol=1e-6)


def test_the_chat_model_answers_by_its_kernel(known):
    """Chi-square of 3,000 answers to one question, the refusals and the unchanged included."""
    _, kernel, exact = known
    model = GrammarChatModel(kernel=kernel, seed=5)
    question = [HumanMessage("Expression: exp(x)")]
    answers = [model.invoke(question).text for _ in range(3_000)]
    assert answers.count(REFUSAL) == pytest.approx(150, abs=4 * math.sqrt(150))
    row = exact.probabilities.toarray()[exact.states.index("exp(x)")]
    expected = 3_000 * row
    seen = np.array([answers.count(state) for state in exact.states])
    assert seen[expected == 0].sum() == 0
    tested = expected > 5
    chi2 = ((seen - expected)[tested] ** 2 / expected[tested]).sum()
    assert tested.sum() >= 5
    assert chi2 < tested.sum() + 5 * math.sqrt(2 * tested.sum())


def explore_all(model, fitter, plan, store, **settings_of_run):
    counter = asyncio.run(explore(model, SymbolicTask(fitter), plan, store, **settings_of_run))
    return store.counts(context=plan.context), counter


@pytest.fixture(scope="module", params=["probe", "walk"])
def run(request, known):
    fitter, kernel, exact = known
    plan = Plan("c", 2_500, request.param, {"model": "grammar"}, seed=1)
    with TransitionStore("sqlite://") as store:
        counts, counter = explore_all(GrammarChatModel(kernel=kernel), fitter, plan, store)
        moves = list(store.read())
    return counts, counter, moves, exact


def test_every_question_is_recorded_once_and_escapes_are_counted(run):
    counts, counter, moves, exact = run
    assert counts.attempts.sum() == len(moves) == counter.questions == 2_500
    assert set(counts.states) <= set(exact.states)
    assert counts.escapes.sum() == counter.answers["unreadable"]
    assert counter.answers["unreadable"] == pytest.approx(125, abs=45)
    own = int(counts.counts.diagonal().sum())
    assert own == counter.answers["unchanged"]
    assert counts.total - own == counter.answers["move"]


def test_walks_go_on_from_their_answers_and_probes_do_not(run):
    _, _, moves, _ = run
    at = {}
    broken = 0
    for move in moves:
        broken += at.get(move.trajectory, move.source) != move.source
        at[move.trajectory] = move.target or move.source
    walking = str(moves[0].trajectory).startswith("walk")
    assert len(at) == (8 if walking else 50)
    assert broken == 0 if walking else broken > 2_000


def test_the_known_potential_is_recovered_within_its_errors(run, known):
    """Chi-square per degree of freedom: 1 where errors are right, far above it where V is wrong."""
    _, kernel, _ = known
    potential = estimate_potential(run[0])
    recovery = recover_potential(potential, kernel.potential)
    n = len(recovery.states) + 1
    assert n > 45
    assert recovery.correlation > 0.9
    assert recovery.chi2 / (n - 1) < 1 + 5 * math.sqrt(2 / (n - 1))
    assert recover_potential(potential, len).chi2 / (n - 1) > 3  # another potential does not do


def test_the_stand_in_breaks_no_loop(run):
    report = check_balance(run[0])
    assert len(report.loops) > 20
    assert report.violations == ()


def test_probes_draw_their_sources_uniformly_from_the_states_found():
    recorded = Recorded(["a"])
    for state in "abcdefgh":
        recorded.find(state)
    choose = Plan("a", 4_000).chooser(recorded)
    drawn = [choose("a") for _ in range(4_000)]
    seen = np.array([drawn.count(state) for state in "abcdefgh"])
    assert ((seen - 500) ** 2 / 500).sum() < 24.3  # 0.1% of chi-square with 7 degrees of freedom


# Runs that stop and go on


@pytest.mark.parametrize("mode", ["probe", "walk"])
def test_a_run_that_was_stopped_goes_on_where_it_was(tmp_path, known, mode):
    fitter, kernel, _ = known
    url = f"sqlite:///{tmp_path / 'run.db'}"
    plan = Plan("c", 300, mode, {"model": "grammar"})

    def stop(done, counter):
        if done == 130:
            raise KeyboardInterrupt

    with TransitionStore(url) as store, pytest.raises(KeyboardInterrupt):
        explore_all(GrammarChatModel(kernel=kernel), fitter, plan, store, progress=stop)
    with TransitionStore(url) as store:
        done = len(store)
        assert 130 <= done < 300
        model = GrammarChatModel(kernel=kernel, seed=done)
        counts, counter = explore_all(model, fitter, plan, store)
        assert counter.questions == 300 - done
        assert counts.attempts.sum() == 300
        at = {}
        for move in store.read() if mode == "walk" else ():
            assert at.get(move.trajectory, move.source) == move.source
            at[move.trajectory] = move.target or move.source
        with pytest.raises(InvalidInputError, match="another store"):
            explore_all(model, fitter, Plan("c", 300, mode, {"model": "other"}), store)


def test_questions_are_asked_side_by_side(known):
    running, most = 0, 0

    class Slow(FakeListChatModel):
        async def _agenerate(self, *arguments, **options):
            nonlocal running, most
            running += 1
            most = max(most, running)
            await asyncio.sleep(0.001)
            running -= 1
            return self._generate(*arguments, **options)

    with TransitionStore("sqlite://") as store:
        model = Slow(responses=["c * x"])
        explore_all(model, known[0], Plan("x", 40), store, max_concurrency=5)
    assert most == 5


def test_a_model_that_fails_again_and_again_stops_the_run_with_its_reason(known):
    class Broken(FakeListChatModel):
        async def _agenerate(self, *arguments, **options):
            raise ConnectionError("no route\x1b[2J to the model")

    with TransitionStore("sqlite://") as store:
        with pytest.raises(ModelFailedError, match=r"20 calls.*no route\\x1b"):
            explore_all(Broken(responses=[""]), known[0], Plan("x", 99), store, max_concurrency=1)
        assert store.counts().escapes.tolist() == [20]


def test_a_start_that_is_no_canonical_expression_is_refused(known):
    model = FakeListChatModel(responses=["x"])
    for start, message in (("x + c", r"write 'c \+ x'"), ("x +", "the end"), ("log(-x)", "finite")):
        with (
            TransitionStore("sqlite://") as store,
            pytest.raises(DetailedBalanceError, match=message),
        ):
            explore_all(model, known[0], Plan(start, 5), store)


# The agent


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ("exp(c*x)", "move"),
        ("A decay, I think:\n```\nexp(c0 * x)\n```\n", "move"),
        ("c2 + c1 * x", "unchanged"),
        ("y = c * x", "unreadable"),
        ("I give up.", "unreadable"),
        ("", "unreadable"),
        ("os.system('true')", "unreadable"),
        ("(" * 10**6, "unreadable"),
        ("log(0 - x)", "unfitted"),
        ("x ** 400 ** x", "unfitted"),
    ],
)
def test_an_answer_is_a_move_or_says_why_it_is_none(known, answer, kind):
    fitter = known[0]
    task = SymbolicTask(fitter)
    assert task.judge("c + c * x", answer) == kind
    target = task.states().target(AIMessage(answer))
    assert (target is None) == (kind in {"unreadable", "unfitted"})
    assert target in {None, "exp(c * x)", "c + c * x"}


def test_the_question_shows_the_expression_its_score_and_the_language(known):
    fitter = known[0]
    (question,) = SymbolicTask(fitter).ask("exp(c * x)")
    assert SymbolicTask(fitter).states().source([question]) == "exp(c * x)"
    for shown in ("Expression: exp(c * x)", f"{fitter.fit('exp(c * x)').mse:.4g}", "tanh", "**"):
        assert shown in question.text


def test_with_the_papers_settings_states_are_raw_text_in_its_language(known):
    fitter = Fitter(known[0].data, functions=PAPER_FUNCTIONS)
    task = SymbolicTask(fitter, raw=True)
    task.check("c*x + c")  # not canonical
    read = task.states().target
    assert read(AIMessage("I try\n`c+exp( c*x )`")) == "c+exp( c*x )"
    assert task.judge("c+x", "x+c") == "move"
    assert task.judge("c+x", "c+x") == "unchanged"
    for text in ("arctan(c*x)", "square(tan(x)) + pi", "log10(c + arcsin(x / 100))"):
        assert read(AIMessage(text)) == text
        assert SymbolicTask(known[0]).judge("c", text) == "unreadable"
    (question,) = task.ask("c+x")
    assert "square" in question.text
    assert task.judge("c", "pi(x)") == "unreadable"


def test_the_papers_functions_have_their_values():
    x = np.array([0.25, 0.5])
    for text, value in {
        "arccos(x)": np.arccos(x),
        "log10(x) * square(x)": np.log10(x) * x**2,
        "pi * x": np.pi * x,
    }.items():
        expression = parse_expression(text, ["x"], PAPER_FUNCTIONS)
        np.testing.assert_allclose(evaluate(expression, {"x": x}), value)
    with pytest.raises(ExpressionError, match="there is no function 'arccos'"):
        parse_expression("arccos(x)", ["x"])


def test_one_option_gives_the_papers_settings_of_the_symbolic_agent(monkeypatch):
    seen = []

    def stop(make, task, plan, options):
        seen.append((task, plan))
        raise InvalidInputError("seen enough")

    monkeypatch.setattr(symbolic, "record", stop)
    for option in ([], ["--settings", "paper"]):
        with pytest.raises(SystemExit):
            main(["--complexity", "3", *option])
    (ours, plan), (paper, other) = seen
    assert (ours.raw, ours.fitter.functions) == (False, FUNCTIONS)
    assert (paper.raw, paper.fitter.functions) == (True, PAPER_FUNCTIONS)
    assert (plan.context, other.name) != (other.context, plan.name)


def test_tokens_are_added_up_and_cost_their_price(known):
    reply = AIMessage(
        "x", usage_metadata={"input_tokens": 90, "output_tokens": 10, "total_tokens": 100}
    )

    class Priced(FakeListChatModel):
        async def _agenerate(self, *arguments, **options):
            result = self._generate(*arguments, **options)
            result.generations[0].message = reply
            return result

    with TransitionStore("sqlite://") as store:
        _, counter = explore_all(Priced(responses=["x"]), known[0], Plan("c", 20), store)
    assert (counter.input_tokens, counter.output_tokens) == (1_800, 200)
    assert counter.cost((2.0, 10.0)) == pytest.approx(1_800 * 2e-6 + 200 * 10e-6)


# The results


def test_the_interval_of_a_rank_correlation_covers_the_truth():
    """For a bivariate normal law with r = 0.5, Spearman's is 6 / pi asin(r / 2)."""
    rng = np.random.default_rng(7)
    truth = 6 / math.pi * math.asin(0.25)
    covered = 0
    for _ in range(400):
        x = rng.normal(size=60)
        y = 0.5 * x + math.sqrt(0.75) * rng.normal(size=60)
        found = correlate_ranks(x, y)
        covered += found.low <= truth <= found.high
    assert 0.92 <= covered / 400 <= 0.98
    assert math.isnan(correlate_ranks([1, 1, 1, 1], [1, 2, 3, 4]).value)


def test_what_was_never_left_has_no_finite_potential_and_is_still_listed(known):
    edges = [("c", "x", 9), ("x", "c", 3), ("x", "exp(c * x)", 5), ("c", None, 2)]
    counts = TransitionCounts.from_edges([*edges, ("exp(c * x)", "exp(c * x)", 9), ("c", "c", 4)])
    results = study_expressions(counts, known[0])
    (text, _, _, height, error), *others = results.best()
    assert (text, height) == ("exp(c * x)", -math.inf)
    assert math.isnan(error)
    heights = {row[0]: row[3] for row in others}
    assert heights == {"x": 0.0, "c": pytest.approx(math.log((9 / 15) / (3 / 8)))}
    assert (results.edges, results.transitions) == (3, 17)
    assert len(results.inside) == 2
    json.dumps(results.to_dict(), allow_nan=False)


def test_the_experiment_prints_its_tables_writes_its_figures_and_goes_on(tmp_path, capsys):
    small = ["--probes", "300", "--complexity", "2", "--store", str(tmp_path / "run.db")]
    main([*small, "--output", str(tmp_path / "out")])
    text = capsys.readouterr().out
    for shown in (
        "7,484",
        "21,697",
        "50,228",
        "69.56%",
        "exp(c)",
        "Spearman",
        "degree of freedom",
    ):
        assert shown in text
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"symbolic.json"} | {
        f"symbolic-{kind}.png" for kind in ("pairs", "loops", "landscape")
    }
    found = json.loads((tmp_path / "out" / "symbolic.json").read_text())
    assert found["attempts"] == 300
    main(small)
    text = capsys.readouterr().out
    assert "300 questions" in text  # the journal tells of the calls before
    assert "300 recorded before" in text
    with pytest.raises(SystemExit, match="choose another store"):
        main([*small, "--mode", "walk"])


def test_the_same_seed_gives_the_same_run(capsys):
    texts = []
    for _ in range(2):
        main(["--probes", "200", "--complexity", "2", "--concurrency", "1"])
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1]


def test_pipes_of_nikuradse_can_be_fitted(capsys):
    path = data_file("nikuradse_2.csv")
    fitter = Fitter(read_csv(path, "target"))
    assert len(fitter.data.target) == 362
    line = fitter.fit("c + c * log_v_k_nu")
    assert fitter.fit("c").mse == pytest.approx(np.var(fitter.data.target))
    bent = fitter.fit("c + c * tanh(c * log_v_k_nu)")
    assert bent.mse < 0.5 * line.mse
    main(["--data", str(path), "--target", "target", "--probes", "150", "--complexity", "2"])
    assert "The grammar's own potential" in capsys.readouterr().out
