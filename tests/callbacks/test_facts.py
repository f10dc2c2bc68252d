"""The facts of steps: what repeats is seen, and nothing of what is said is kept."""

import copy

import pytest
from hypothesis import given, strategies as st
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.types import Command

from detailed_balance.callbacks.facts import RunFacts, digest, digest_call, read_usage

KEY = b"0123456789abcdef"


def call(name="search", number="1", **arguments):
    return {"name": name, "args": arguments, "id": number}


def said(text, number="1", **more):
    return ToolMessage(text, tool_call_id=number, **more)


def test_the_same_call_repeats_and_with_the_same_answer_it_is_stale():
    run = RunFacts()
    first = run.step(2, [run.task([said("a")], [call(q="x")])])
    other = run.step(4, [run.task([said("a")], [call(q="y")])])
    fresh = run.step(6, [run.task([said("b")], [call(q="x")])])
    stale = run.step(8, [run.task([said("a")], [call(q="x")])])
    assert [(f.call, f.answer, f.repeats, f.stale) for f in (first, other, fresh, stale)] == [
        (2, 2, False, False),
        (4, 2, False, False),
        (2, 6, True, False),
        (2, 2, True, True),
    ]


def test_the_order_of_arguments_and_of_parallel_calls_does_not_count():
    run = RunFacts()
    one = run.task([said("a", "1")], [call(q="x", n=1)])
    two = run.task([said("b", "2")], [call("read", "2", path="p")])
    run.step(2, [one, two])
    again = RunFacts.task(run, [said("a", "1")], [call(n=1, q="x")])
    assert run.step(4, [two, again]).stale


def test_one_task_may_answer_several_calls():
    run = RunFacts()
    task = run.task([said("a", "1"), said("b", "2")], [call(), call("read", "2"), call("no", "3")])
    assert len(task.calls) == len(task.answers) == 2


def test_a_failed_tool_has_its_call_and_no_answer():
    run = RunFacts()
    facts = run.step(2, [run.task([], [call(q="x")], failed=True)])
    assert (facts.failed, facts.call, facts.answer) == (True, 2, None)
    assert run.step(4, [run.task([], [call(q="x")], failed=True)]).repeats


def test_an_answer_that_is_an_error_failed():
    run = RunFacts()
    assert run.step(1, [run.task([said("no", status="error")], [call()])]).failed
    assert not run.step(2, [run.task([said("yes")], [call()])]).failed


def test_a_node_without_calls_has_what_it_wrote_as_its_answer():
    run = RunFacts()
    reply = AIMessage("hi", id="1"), AIMessage("hi", id="2")
    first, again = (
        run.step(n, [run.task([m], (), {"messages": [m]})]) for n, m in enumerate(reply)
    )
    assert (first.call, first.answer, again.answer, again.stale) == (None, 0, 0, False)
    assert run.step(3, [run.task([], (), None)]).answer is None


def test_tokens_are_credited_to_the_next_step_and_counted_once():
    counts = {"input_tokens": 9, "output_tokens": 1, "total_tokens": 10}
    paid = {"token_usage": {"cost": 0.25}}
    asks = AIMessage("", usage_metadata=counts, response_metadata=paid, id="1")
    run = RunFacts()
    run.carry(run.task([asks]))
    ran = run.step(2, [run.task([asks, said("a")], [call()])])
    assert (ran.tokens, ran.cost) == (10, 0.25)
    assert run.step(4, [run.task([said("a")], [call()])]).tokens is None


@pytest.mark.parametrize("counts", [{"total_tokens": "many"}, {"total_tokens": float("nan")}, {}])
def test_what_is_no_number_of_tokens_is_not_known(counts):
    message = AIMessage("")
    object.__setattr__(message, "usage_metadata", counts)
    assert read_usage(message).tokens is None


class Hostile(dict):
    def items(self):
        raise KeyboardInterrupt

    def __iter__(self):
        raise RuntimeError

    def __repr__(self):
        raise RuntimeError


CIRCLE: list = []
CIRCLE.append(CIRCLE)


@pytest.mark.parametrize(
    "content", [Hostile(a=1), CIRCLE, object(), {1: 2, "a": 3}, [Hostile(a=1)]]
)
def test_what_cannot_be_read_is_not_known_and_nothing_is_raised(content):
    assert digest(KEY, content).value is None
    run = RunFacts()
    facts = [run.step(n, [run.task([said("a")], [call(q=content)])]) for n in range(2)]
    assert [(f.call, f.repeats, f.stale) for f in facts] == 2 * [(None, False, False)]


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(json_like, json_like)
def test_digests_are_equal_where_contents_are(one, other):
    same = copy.deepcopy(one)
    assert digest(KEY, one) == digest(KEY, same)
    if repr(one) != repr(other) and one != other:
        assert digest(KEY, one) != digest(KEY, other)


def test_messages_and_commands_are_read_without_their_ids():
    asks = [AIMessage("", tool_calls=[call(q="x")], id=name) for name in "ab"]
    updates = [Command(update={"messages": [HumanMessage("q"), m]}, goto="x") for m in asks]
    assert digest(KEY, updates[0]) == digest(KEY, updates[1])
    assert digest(KEY, Command(goto="y")) != digest(KEY, Command(goto="z"))


def test_of_a_long_text_the_beginning_and_the_length_count():
    text = 100_000 * "a"
    assert digest(KEY, text).size == 100_000
    assert digest(KEY, text) == digest(KEY, text[:-1] + "b")
    assert digest(KEY, text) != digest(KEY, text + "a")
    assert digest(KEY, text) != digest(KEY, "b" + text[1:])
    assert digest_call(KEY, "write", {"text": text}).size > 100_000


def test_another_key_gives_another_digest():
    assert digest_call(KEY, "a", {}).value != digest_call(b"another", "a", {}).value
    assert RunFacts().task([said("a")], [call()]) != RunFacts().task([said("a")], [call()])


def test_nothing_of_the_contents_is_kept():
    run = RunFacts()
    facts = run.step(2, [run.task([said("the secret")], [call(q="the secret")])])
    assert "secret" not in repr(facts)


def test_what_a_run_remembers_is_bounded():
    run = RunFacts(max_entries=3)
    for number in range(10):
        run.step(number, [run.task([said(str(number))], [call(q=str(number))])])
    assert not run.step(10, [run.task([said("0")], [call(q="0")])]).repeats
    assert run.step(11, [run.task([said("9")], [call(q="9")])]).stale
