"""From one record of a trace, a mapping of fields, to one `Transition`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.analyzers.runs.labels import Context
from detailed_balance.analyzers.runs.trajectory import Outcome
from detailed_balance.callbacks import Ending, Transition
from detailed_balance.callbacks.facts import Digest, TaskFacts, Usage
from detailed_balance.readers.records.values import (
    BadRecordError,
    Step,
    TableMove,
    parse_cost,
    parse_count,
    parse_flag,
    parse_integer,
    parse_labels,
    parse_outcome,
    parse_state,
    parse_text,
    parse_time,
)
from detailed_balance.render.formatting import safe_text

__all__ = ["FACTS", "FieldNames", "get_field", "has_field", "unknown_field_message"]

FACTS = ("failed", "tokens", "call", "answer")
"""What fields may tell of a step, as `FieldNames` calls it."""

_DIGEST_BYTES = 16
_MISSING = object()
_NAMES_SHOWN = 12
_TEMPLATE_FIELD = re.compile(r"\{([^{}]+)\}")


@dataclass(frozen=True, slots=True)
class FieldNames:
    """Which field of a record holds what.

    Parameters
    ----------
    source, target : str
        The states; every record has both. An empty target is an escape.
    trajectory, step, time, count : str
        May be absent.
    context : tuple of str
        Fields whose values become context labels of the same names.
    state : str or None
        The state that a record reached, where a trace has steps, not moves: a field, or a text
        with fields in braces such as ``{node}:{tool}``.
    event : str or None
        An id of the step.
    cost : str or None
        What the move cost.
    block : str or None
        The task or batch of the run; it becomes a label.
    failed, tokens, call, answer : str or None
        Whether the step failed, the tokens that it used, what was called, and what was answered.
    success : str or None
        The outcome or the success of the run; see `parse_outcome`.
    success_values : tuple of str
        The values of it that mean success, where it is told in other words than usual.
    boundaries : mapping of str to str
        The names that stand for START and END in this trace.

    Examples
    --------
    >>> FieldNames(source="from", target="to").to_transition({"from": "plan", "to": 5})
    Transition(source='plan', target='5', trajectory=None, context=(), step=None, time=None, count=1)
    """  # noqa: E501 - a doctest's output stands in one line

    source: str = "source"
    target: str = "target"
    trajectory: str = "trajectory"
    step: str = "step"
    time: str = "time"
    count: str = "count"
    context: tuple[str, ...] = ()
    state: str | None = None
    event: str | None = None
    success: str | None = None
    success_values: tuple[str, ...] = ()
    cost: str | None = None
    block: str | None = None
    failed: str | None = None
    tokens: str | None = None
    call: str | None = None
    answer: str | None = None
    boundaries: Mapping[str, str] = field(default_factory=dict)

    def expected(self, *, steps: bool = False) -> dict[str, str]:
        """Return the fields that some record must have, each with the option that names it.

        Those are the states and every field that was asked for by another name than usual: where
        none has it, the name is a mistake.
        """
        usual = FieldNames()
        expected = {self.source: "source_field", self.target: "target_field"}
        if steps:
            expected = dict.fromkeys(self.state_fields, "state_field")
        named = ("trajectory", "step", "time", "count", "event", "success", "cost", "block")
        for role in (*named, *FACTS):
            name = getattr(self, role)
            if name is not None and name != getattr(usual, role):
                expected[name] = f"{role}_field"
        return expected | dict.fromkeys(self.context, "context_fields")

    def expected_labels(self) -> dict[str, str]:
        """Return the fields that some record must have where the format itself defines the rest."""
        expected = dict.fromkeys(self.state_fields, "state_field")
        expected |= {} if self.block is None else {self.block: "block_field"}
        return expected | dict.fromkeys(self.context, "context_fields")

    @property
    def state_fields(self) -> tuple[str, ...]:
        """The fields that a state is made of."""
        if self.state is None:
            return ()
        return tuple(_TEMPLATE_FIELD.findall(self.state)) or (self.state,)

    def read_state(self, record: Mapping[str, Any]) -> str | None:
        """Return the state of a record that is a step; an empty field is an escape.

        Raises
        ------
        BadRecordError
            Where it lacks a field of the state, or the value is neither a text nor a number.
        """
        if self.state is None:
            raise InvalidInputError("no field of the state is known; set state_field=")
        if has_field(record, self.state):
            value = get_field(record, self.state)
            return None if value in (None, "") else self.rename(parse_state(value, self.state))
        values = {name: self._get(record, name, "state_field") for name in self.state_fields}
        texts = {name: parse_text(value, name) or "" for name, value in values.items()}
        state = _TEMPLATE_FIELD.sub(lambda found: texts[found[1]], self.state)
        return self.rename(parse_state(state, self.state))

    def to_step(self, record: Mapping[str, Any], state: str | None) -> Step:
        """Return the step of `record`, whose state is known.

        Raises
        ------
        BadRecordError
            Where a value is of no use for its field.
        """
        outcome, success = self.read_outcome(record)
        return Step(
            parse_text(get_field(record, self.trajectory), self.trajectory),
            state,
            parse_integer(get_field(record, self.step), self.step),
            parse_time(get_field(record, self.time), self.time),
            self.read_labels(record),
            None if self.event is None else parse_text(get_field(record, self.event), self.event),
            cost=None if self.cost is None else parse_cost(get_field(record, self.cost), self.cost),
            outcome=outcome,
            success=success,
            told=self.read_facts(record),
        )

    def to_transition(self, record: Mapping[str, Any]) -> Transition:
        """Return the move of `record`.

        Raises
        ------
        BadRecordError
            Where a state is missing, or a value is of no use for its field.
        """
        source = self._get(record, self.source, "source_field")
        target = self._get(record, self.target, "target_field")
        count = get_field(record, self.count)
        move = (
            self.rename(parse_state(source, self.source)),
            None if target is None else self.rename(parse_state(target, self.target)),
            parse_text(get_field(record, self.trajectory), self.trajectory),
            self.read_labels(record),
            parse_integer(get_field(record, self.step), self.step),
            parse_time(get_field(record, self.time), self.time),
            1 if count is None else parse_count(count, self.count),
        )
        if self.cost is None and not self.tell_facts:
            return Transition(*move)
        told = self.read_facts(record)
        cost = None if self.cost is None else parse_cost(get_field(record, self.cost), self.cost)
        return TableMove(*move, cost=cost, told=() if told is None else (told,))

    @property
    def tell_facts(self) -> bool:
        """Whether some field tells facts of a step."""
        return any(getattr(self, role) is not None for role in FACTS)

    def read_facts(self, record: Mapping[str, Any]) -> TaskFacts | None:
        """Return the facts of a step that a record tells, None where that is nothing.

        Raises
        ------
        BadRecordError
            Where a value is of no use for its field.
        """
        if not self.tell_facts:
            return None
        names: list[str | None] = [getattr(self, role) for role in FACTS]
        values = [None if name is None else get_field(record, name) for name in names]
        failed, tokens, call, answer = zip(names, values, strict=True)
        return _parse_facts(failed, tokens, call, answer)

    def to_ending(self, record: Mapping[str, Any], move: Transition | Step) -> Ending | None:
        """Return what `record` says of the end of its run, None where that is nothing.

        Raises
        ------
        BadRecordError
            Where the field of the success says something else.
        """
        outcome, success = self.read_outcome(record)
        if outcome is None and success is None:
            return None
        return Ending(move.trajectory, outcome, None, success, move.context, move.time)

    def read_outcome(self, record: Mapping[str, Any]) -> tuple[Outcome | None, bool | None]:
        """Return what a record says of the end of its run.

        Raises
        ------
        BadRecordError
            Where the field of the success says something else.
        """
        if self.success is None:
            return None, None
        return parse_outcome(get_field(record, self.success), self.success, self.success_values)

    @property
    def labels(self) -> tuple[str, ...]:
        """The fields that become labels, that of the block among them."""
        return self.context if self.block is None else (*self.context, self.block)

    def read_labels(self, record: Mapping[str, Any]) -> Context:
        """Return the labels that a record carries.

        Raises
        ------
        BadRecordError
            Where a value is neither a text nor a number.
        """
        return parse_labels(record, {name: get_field(record, name) for name in self.labels})

    def rename(self, state: str) -> str:
        """Return START or END for the names that stand for them."""
        return self.boundaries.get(state, state)

    @staticmethod
    def _get(record: Mapping[str, Any], name: str, option: str) -> Any:
        if not has_field(record, name):
            raise BadRecordError(unknown_field_message(name, option, record))
        return get_field(record, name)


def _parse_facts(
    failed: tuple[str | None, Any],
    tokens: tuple[str | None, Any],
    call: tuple[str | None, Any],
    answer: tuple[str | None, Any],
) -> TaskFacts | None:
    """Return what a record tells of its step: each argument is the name of a field and its value.

    Returns
    -------
    TaskFacts or None
        None where all values are empty.

    Raises
    ------
    BadRecordError
        Where a value is of no use for its field.

    Examples
    --------
    >>> told = _parse_facts(("bad", "true"), ("n", 7), ("args", {"q": 1}), ("text", None))
    >>> told.failed, told.usage[0].tokens, told.calls[0].size, told.answers
    (True, 7, 7, ())
    """
    if all(_is_empty(value) for _, value in (failed, tokens, call, answer)):
        return None
    spent = () if _is_empty(tokens[1]) else (parse_count(tokens[1], tokens[0] or ""),)
    return TaskFacts(
        _digest(*call),
        _digest(*answer),
        not _is_empty(failed[1]) and parse_flag(failed[1], failed[0] or ""),
        [Usage(None, number, None) for number in spent],
    )


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _digest(name: str | None, value: Any) -> Sequence[Digest]:
    """Return the digest of a text, or of another value as JSON; of an empty one none."""
    if _is_empty(value):
        return ()
    if not isinstance(value, str):
        try:
            value = json.dumps(
                value,
                sort_keys=True,
                ensure_ascii=False,
                separators=(",", ":"),
                default=lambda other: other.tolist() if hasattr(other, "tolist") else str(other),
            )
        except (TypeError, ValueError, RecursionError) as error:
            raise BadRecordError(f"{name!r} must be a text or a value of JSON") from error
    data = value.encode("utf-8", "surrogatepass")
    return (Digest(blake2b(data, digest_size=_DIGEST_BYTES).digest(), len(data)),)


def has_field(record: Mapping[str, Any], name: str) -> bool:
    """Say whether a record has a field, by itself or, with dots, in objects inside of it.

    Examples
    --------
    >>> has_field({"message": {"role": "user"}}, "message.role"), has_field({}, "a.b")
    (True, False)
    """
    return name in record or ("." in name and _walk(record, name) is not _MISSING)


def get_field(record: Mapping[str, Any], name: str) -> Any:
    """Return the value of a field, which may stand in objects inside of the record; else None.

    Examples
    --------
    >>> get_field({"message": {"role": "user"}}, "message.role")
    'user'
    """
    if name in record or "." not in name:
        return record.get(name)
    value = _walk(record, name)
    return None if value is _MISSING else value


def _walk(record: Any, name: str) -> Any:
    for part in name.split("."):
        if not isinstance(record, Mapping) or part not in record:
            return _MISSING
        record = record[part]
    return record


def unknown_field_message(name: str, option: str, there: Iterable[str]) -> str:
    """Say that no field is called `name`, which ones there are, and which option to set."""
    names = list(map(str, there))
    shown = ", ".join(f"'{safe_text(name, 40)}'" for name in names[:_NAMES_SHOWN])
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    flag = "--" + option.removesuffix("s").replace("_", "-")
    is_move = option in ("source_field", "target_field")
    steps = "; where a record is one step, name its state with state_field= (--state-field)"
    return (
        f"there is no field '{safe_text(name, 40)}'; the fields are {shown or 'none'}{more}. "
        f"Name the right one with {option}= (on the command line {flag}){steps if is_move else ''}"
    )
