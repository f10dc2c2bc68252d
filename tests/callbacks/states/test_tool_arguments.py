"""Tools named with their arguments: calls that mean the same are one state."""

import json

import pytest
from hypothesis import example, given, strategies as st
from langchain.agents import create_agent
from langchain_core.language_models import FakeMessagesListChatModel
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langgraph.graph import END, START

from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.callbacks import (
    ActionStates,
    NodeStates,
    ToolStates,
    TransitionCallbackHandler,
)
from detailed_balance.callbacks.states._tool_arguments import (
    canonical_text,
    name_call,
    shorten,
)
from tests.support.agents import Walks, path

any_text = st.text(st.characters(categories=None))  # lone surrogates too
any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | any_text,
    lambda parts: st.lists(parts) | st.dictionaries(any_text, parts),
    max_leaves=10,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (" PARIS ", "paris"),
        ("New\n\tYork", "new york"),
        ("Ｐａｒｉｓ", "paris"),  # noqa: RUF001 - full-width letters are the case
        ("Straße", "strasse"),
        (3, "3"),
        (3.0, "3"),
        (-0.0, "0"),
        (2.50, "2.5"),
        (1e3, "1000"),
        (True, "true"),
        (None, "null"),
        ("", '""'),
        ("a,b", '"a,b"'),
        ("a|b", r'"a\u007cb"'),
        ("\x1b[31m", r'"\u001b[31m"'),
        ("\ud800", r'"\ud800"'),
        (["B", "a"], "[b,a]"),
        (("B", "a"), "[b,a]"),
        ({"B", "a"}, "{a,b}"),
        ({"to": "Rome", "From": 1.0}, "{from:1,to:rome}"),
    ],
)
def test_value_has_one_text(value, text):
    assert canonical_text(value) == text


@given(st.integers(-(2**53), 2**53))
def test_equal_numbers_are_written_alike(number):
    assert canonical_text(number) == canonical_text(float(number))


@given(st.text("abc XYZ\n\t.-"))
def test_case_and_white_space_do_not_count(text):
    assert canonical_text(f"  {text.upper()}\n") == canonical_text(text.lower().replace(" ", "  "))


@given(st.dictionaries(any_text, st.integers()), st.randoms(use_true_random=False))
def test_order_of_a_mapping_does_not_count(mapping, random):
    items = list(mapping.items())
    random.shuffle(items)
    assert canonical_text(dict(items)) == canonical_text(mapping)


@given(*[st.lists(st.text('ab,[]"\\|:')) for _ in range(2)])
@example(["a,b"], ["a", "b"])
@example(['a","b'], ["a", "b"])
@example([""], [])
def test_texts_in_lists_stay_apart_whatever_marks_they_hold(one, other):
    assert (canonical_text(one) == canonical_text(other)) == (one == other)


@given(any_json)
def test_text_is_one_printable_line_without_the_mark_of_what_happened_side_by_side(value):
    text = canonical_text(value)
    assert text.isprintable()
    assert "|" not in text
    text.encode()


@given(st.dictionaries(any_text, any_json), st.sampled_from(["all", ("a", "b"), {"t": ("a",)}]))
@example({"a": "x" * 10_000, "b": ["y"] * 10_000}, "all")
@example({str(i): "x" * 59 for i in range(100)}, "all")
def test_name_of_a_call_is_bounded_and_its_arguments_are_not_changed(arguments, chosen):
    before = repr(arguments)
    name = name_call("t", arguments, chosen)
    assert len(name) <= 203
    assert name.startswith("t")
    assert repr(arguments) == before


def test_long_values_with_the_same_head_stay_apart():
    one, other = (name_call("t", {"q": "x" * 500 + end}, ("q",)) for end in "ab")
    assert one != other
    assert one.startswith("t(q=xxx")


def test_whole_documents_stay_apart_wherever_they_differ():
    one, other = (name_call("t", {"q": "x" * 50_000 + end}, ("q",)) for end in "ab")
    assert one != other
    assert len(one) <= 66


@given(any_text, st.integers(10, 100))
def test_shortened_text_keeps_its_head_and_fits(text, limit):
    short = shorten(text, limit)
    assert len(short) <= limit
    assert short == text or short.startswith(text[: limit - 9])


@pytest.mark.parametrize(
    ("chosen", "name"),
    [
        ((), "search"),
        (("city",), "search(city=paris)"),
        (("limit", "city"), "search(limit=3, city=paris)"),
        (("absent",), "search"),
        ({"search": ["limit"]}, "search(limit=3)"),
        ({"search": "all"}, "search(city=paris, limit=3)"),
        ({"read": ["limit"]}, "search"),
        ("all", "search(city=paris, limit=3)"),
    ],
)
def test_chosen_arguments_are_in_the_name(chosen, name):
    arguments = {"limit": 3.0, "city": "Paris"}
    assert ToolStates(chosen).name_tool("search", arguments) == name
    assert ActionStates(chosen).name_tool("search", arguments) == name


@pytest.mark.parametrize("wrong", ["city", {"search": "city"}, (1,), ["city", None]])
def test_arguments_that_are_no_names_are_refused(wrong):
    with pytest.raises(InvalidInputError, match="arguments must be names, such as"):
        ToolStates(wrong)


def test_value_without_a_lasting_text_is_refused():
    with pytest.raises(InvalidInputError, match=r"type object .* choose other arguments"):
        canonical_text({"a": [object()]})


class Model(FakeMessagesListChatModel):
    def bind_tools(self, tools, **kwargs):
        return self


@tool
def search(city: str, limit: int = 3) -> str:
    """Search."""
    return "found"


def asks(*arguments):
    calls = [{"name": "search", "args": a, "id": str(i)} for i, a in enumerate(arguments)]
    return AIMessage("", tool_calls=calls)


def walk_of(states, *replies):
    handler = TransitionCallbackHandler(states, graph=Walks())
    agent = create_agent(Model(responses=[*replies, AIMessage("done")]), [search])
    agent.invoke({"messages": [("user", "hi")]}, {"callbacks": [handler]})
    return handler, handler.graph.walk


REPLIES = [
    asks({"city": "Paris"}),
    asks({"city": " PARIS", "limit": 10}),
    asks({"city": "Rome"}, {"city": "Oslo"}),
]
SEARCHED = ["search(city=paris)"] * 2 + ["search(city=oslo)|search(city=rome)"]


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        (ToolStates(("city",)), SEARCHED),
        (ActionStates({"search": ("city",)}), [*SEARCHED, "model"]),
        (ToolStates(), ["search"] * 3),
        (
            NodeStates() + ToolStates(("city",)),
            [
                *("model", "tools:search(city=paris)") * 2,
                *("model", "tools:search(city=oslo)|tools:search(city=rome)", "model"),
            ],
        ),
    ],
)
def test_agent_moves_between_calls_that_mean_different_things(states, expected):
    handler, walk = walk_of(states, *REPLIES)
    assert walk == path(START, *expected, END)
    assert handler.faults == 0


def test_tool_called_with_a_bare_text_is_its_name():
    @tool
    def ask(question: str) -> str:
        """Ask."""
        return "answer"

    names = []

    class Spy(ToolStates):
        def name_tool(self, name, arguments):
            names.append((name, arguments))
            return name

    handler = TransitionCallbackHandler(Spy())
    ask.invoke("why?", {"callbacks": [handler]})
    assert names == [("ask", {})]


class Picky(ToolStates):
    def name_tool(self, name, arguments):
        return f"search in {arguments['limit']}"


@pytest.mark.parametrize("states", [Picky(), NodeStates() + Picky()])
def test_failing_name_of_a_tool_is_an_escape_and_one_warning(states, caplog):
    _, walk = walk_of(states, *REPLIES)
    escapes = [move for move in walk if move[1] is None]
    assert len(escapes) == 3  # one call of the first superstep, two of the third
    assert any("search in 10" in str(target) for _, target in walk)
    assert len(caplog.records) == 1


def test_name_of_a_tool_that_is_no_text_is_an_escape():
    class Wrong(ToolStates):
        def name_tool(self, name, arguments):
            return json.loads("null")

    handler, walk = walk_of(Wrong(), REPLIES[0])
    assert walk == [(START, None), (START, END)]
    assert handler.faults == 1


def test_combined_state_functions_are_left_out_where_they_are_transparent():
    _, walk = walk_of(ActionStates() + (lambda run: "x" if run.name == "model" else None), asks({}))
    # Asking for tools is transparent to ActionStates, so only the second part speaks of it.
    assert [target for _, target in walk][:1] == ["x"]
    assert walk[-2][1] == "model:x"
