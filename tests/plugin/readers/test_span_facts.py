"""The facts of steps that spans tell, and those that they do not."""

from detailed_balance.callbacks import Transition
from detailed_balance.readers.records.base import BadLines, ReadOptions
from detailed_balance.readers.records.columns import FieldNames
from detailed_balance.readers.spans.replay import replay
from detailed_balance.readers.spans.span import Span


def facts_of(*tools):
    """Return the facts of tools one after the other, each (inputs, output, error)."""
    spans = [Span("t", "root", None, "chain", "ask", 0, 100)]
    for number, (inputs, output, error) in enumerate(tools, 1):
        place = ("t", str(number), "root", "tool", "find", 10 * number, 10 * number + 5)
        spans.append(Span(*place, inputs=inputs, output=output, error=error))
    found = replay(spans, ReadOptions(FieldNames()), BadLines("trace", skip=False))
    moves = [record for record in found if isinstance(record, Transition)]
    return [move.facts for move in moves if move.target != "__end__"]


def test_equal_calls_with_equal_answers_are_stale():
    first, again, other = facts_of(
        ('{"q": 1}', "none", None), ('{"q": 1}', "none", None), ('{"q": 1}', "one", None)
    )
    assert (first.repeats, again.repeats, again.stale) == (False, True, True)
    assert (other.repeats, other.stale) == (True, False)


def test_nothing_is_said_of_contents_that_the_trace_does_not_hold():
    for facts in facts_of((None, None, None), (None, None, None)):
        assert (facts.call, facts.answer, facts.repeats, facts.stale) == (None, None, False, False)


def test_a_call_without_arguments_is_a_call():
    first, again = facts_of(("{}", "a", None), ("{}", "b", None))
    assert (first.repeats, again.repeats, again.stale) == (False, True, False)


def test_a_tool_that_failed_is_a_failed_attempt():
    failed, _ = facts_of(('{"q": 1}', None, "ValueError"), ('{"q": 1}', "x", None))
    assert failed.failed
