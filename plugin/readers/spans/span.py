"""`Span`, one run of a trace, with the run around it; and how its values are read."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from detailed_balance.readers.records.values import BadRecordError, parse_text
from detailed_balance.render.formatting import safe_text

__all__ = [
    "Span",
    "error_type",
    "is_control_flow",
    "parse_count",
    "parse_error",
    "parse_id",
    "parse_json",
    "parse_metadata",
    "parse_name",
    "parse_nanoseconds",
    "parse_number",
    "parse_object",
    "parse_tags",
    "unwrap",
]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NANOSECONDS_BOUND = 2**63  # what a column of a database holds
_LONGEST_NAME = 10_000  # characters: a state key is a short text
# The size of a number says whether it is seconds, milliseconds, microseconds or nanoseconds;
# these bounds are years 1973 to 5138 in each unit.
_UNITS = ((10**11, 10**9), (10**14, 10**6), (10**17, 10**3))
_RAISED = re.compile(r"([A-Za-z_][\w.]*)\(")
_LAST_LINE = re.compile(r"^([A-Za-z_][\w.]*)(?::|$)", re.MULTILINE)
_HEX = re.compile(r"(?:0x)?([0-9a-fA-F]{16}|[0-9a-fA-F]{32})")
_ENDS_OF_TYPES = ("Error", "Exception", "Interrupt", "Exit", "ParentCommand", "GraphBubbleUp")
_NO_FAILURES = ("GraphBubbleUp", "GraphInterrupt", "NodeInterrupt", "ParentCommand")
_CONTROL_FLOW = {
    "Command(": "ParentCommand",
    "(Interrupt(": "GraphInterrupt",
    "[Interrupt(": "GraphInterrupt",
    "Recursion limit of ": "GraphRecursionError",
}


@dataclass(frozen=True, slots=True)
class Span:
    """One run: a chain, a node, a tool, a model; what tracers call run, observation or span.

    Parameters
    ----------
    trace, id : str
        What it is known by; the id within its trace.
    parent : str or None
        The id of the run that it is inside of.
    kind : str
        ``"agent"``, ``"model"``, ``"tool"``, ``"handoff"`` (one agent gives the work to another),
        ``"retriever"``, ``"chain"`` (any other part of an agent), or ``"foreign"``, which is no
        part of one: an HTTP request, an evaluation.
    name : str
        Its own name.
    start, end : int
        Nanoseconds since 1970; the end is None where it was not seen.
    metadata : dict
        What is known of it besides; LangGraph's own keys (``langgraph_node``, ...) among them.
    tags : tuple of str
        Its tags.
    inputs, output : Any
        As in the trace: plain JSON values.
    error : str or None
        The type of the error that it raised; "" where only that it raised one is known.
    model : str or None
        The model that it called.
    tokens, cost : int or None, float or None
        What it took, where the trace says it of this run alone; a cost in dollars.
    asks : tuple of str or None
        The tools that a model's reply asks for, "" where one has no name; None where the trace
        does not say.
    link : (str, str) or None
        The trace and the id of the span that caused one without a parent.
    success : Any
        What the trace says of the outcome, in the field asked for.
    record : mapping or None
        It as it stands in the trace, for a state function that is given that.
    line : int or str
        Where it stands in the trace.

    Examples
    --------
    >>> Span("t", "1", None, "tool", "search", 0, 5).end
    5
    """

    trace: str
    id: str
    parent: str | None
    kind: str
    name: str
    start: int
    end: int | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    inputs: Any = None
    output: Any = None
    error: str | None = None
    model: str | None = None
    tokens: int | None = None
    cost: float | None = None
    asks: tuple[str, ...] | None = None
    link: tuple[str, str] | None = None
    success: Any = None
    record: Mapping[str, Any] | None = None
    line: int | str = 0


def parse_name(value: Any, name: str) -> str | None:
    """Return a text that is no longer than a name may be; None and the empty text are None."""
    text = parse_text(value, name)
    if text and len(text) > _LONGEST_NAME:
        raise BadRecordError(f"{name!r} is longer than {_LONGEST_NAME} characters: {_show(text)}")
    return text or None


def parse_id(value: Any, name: str) -> str | None:
    """Return an id; those of OpenTelemetry in lower-case hexadecimal digits; zeros are not an id.

    Examples
    --------
    >>> parse_id("0x08A2FDF6E2318092", "spanId"), parse_id("CKL99uIxgJI=", "spanId")
    ('08a2fdf6e2318092', '08a2fdf6e2318092')
    """
    text = parse_name(value, name)
    if text is None:
        return None
    if digits := _HEX.fullmatch(text):
        return digits[1].lower() if digits[1].strip("0") else None
    if len(text) in (12, 24) and text.endswith("="):  # bytes, as protobuf writes them into JSON
        with suppress(binascii.Error, ValueError):
            decoded = base64.b64decode(text, validate=True)
            return decoded.hex() if any(decoded) else None
    return text


def parse_nanoseconds(value: Any, name: str) -> int | None:
    """Return a time as nanoseconds since 1970; None stays None.

    Examples
    --------
    >>> parse_nanoseconds("1970-01-01T00:00:01.5Z", "start"), parse_nanoseconds(1.7e12, "start")
    (1500000000, 1700000000000000000)
    """
    if value is None or value == "":
        return None
    try:
        nanoseconds = _to_nanoseconds(value)
    except (TypeError, ValueError, OverflowError):
        nanoseconds = _NANOSECONDS_BOUND
    if abs(nanoseconds) >= _NANOSECONDS_BOUND:
        raise BadRecordError(
            f"{name!r} must be an ISO 8601 date or a number of seconds, milliseconds, microseconds "
            f"or nanoseconds since 1970; got {_show(value)}"
        )
    return nanoseconds


def _to_nanoseconds(value: Any) -> int:
    if isinstance(value, bool):
        raise TypeError
    if isinstance(value, str):
        text = value.strip()
        try:
            value = int(text) if text.lstrip("-").isdecimal() else float(text)
        except ValueError:
            value = datetime.fromisoformat(text)
    if isinstance(value, datetime):  # without a time zone it is in UTC
        moment = value if value.tzinfo else value.replace(tzinfo=UTC)
        return (moment - _EPOCH) // timedelta(microseconds=1) * 1_000
    factor = next((factor for bound, factor in _UNITS if abs(value) < bound), 1)
    return int(value * factor)


def parse_number(value: Any) -> float | None:
    """Return a count or an amount of money, which may be written as a text; None for all else.

    Examples
    --------
    >>> parse_number("12"), parse_number(-1), parse_number(True)
    (12.0, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    with suppress(ValueError, OverflowError):
        number = float(value)
        return number if 0 <= number < 1e15 else None
    return None


def parse_count(value: Any) -> int | None:
    """Return a number of tokens, as `parse_number` reads it.

    Examples
    --------
    >>> parse_count("12"), parse_count("?")
    (12, None)
    """
    number = parse_number(value)
    return None if number is None else int(number)


def parse_json(value: Any) -> Any:
    """Return what a JSON text says; what is none stays as it is."""
    if isinstance(value, str) and value[:1] in '{["tfn-0123456789':
        with suppress(ValueError, RecursionError):
            return json.loads(value)
    return value


def parse_object(value: Any) -> dict[str, Any]:
    """Return a JSON object, or the one that a JSON text says; an empty one for all else."""
    found = parse_json(value)
    return found if isinstance(found, dict) else {}


def unwrap(value: Any, name: str) -> Any:
    """Return what LangSmith wrapped into an object because it was none.

    Examples
    --------
    >>> unwrap({"input": None}, "input"), unwrap({"input": "a channel"}, "input")
    (None, {'input': 'a channel'})
    """
    wrapped = isinstance(value, dict) and list(value) == [name]
    return value[name] if wrapped and not isinstance(value[name], str) else value


def parse_tags(value: Any) -> tuple[str, ...]:
    """Return tags: a list, JSON of a list, or a text with commas."""
    found = parse_json(value)
    if isinstance(found, str):
        found = [tag.strip() for tag in found.split(",")]
    return tuple(tag for tag in found if isinstance(tag, str)) if isinstance(found, list) else ()


def parse_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return metadata with LangGraph's own keys checked, and free of JSON within JSON.

    Raises
    ------
    BadRecordError
        Where LangGraph's keys hold what LangGraph never writes.
    """
    checked = {str(key): value for key, value in metadata.items() if value is not None}
    for key in ("langgraph_node", "langgraph_checkpoint_ns", "thread_id", "lc_agent_name"):
        if key in checked:
            checked[key] = parse_name(checked[key], key) or ""
    if "langgraph_step" in checked:
        checked["langgraph_step"] = _parse_step(checked["langgraph_step"])
    if "langgraph_path" in checked:
        checked["langgraph_path"] = _parse_path(checked["langgraph_path"])
    return checked


def _parse_step(value: Any) -> int:
    with suppress(TypeError, ValueError, OverflowError):
        step = int(value)
        if not isinstance(value, bool) and step == float(value) and 0 <= step < 2**63:
            return step
    raise BadRecordError(f"'langgraph_step' must be a whole number; got {_show(value)}")


def _parse_path(value: Any) -> Sequence[Any]:
    found = parse_json(value)
    if isinstance(found, str):  # of a tuple that was written as text, only the last part matters
        return ("", found.rstrip(") ").endswith("True"))
    return tuple(found) if isinstance(found, list | tuple) and found else ("", False)


def parse_error(value: Any) -> str | None:
    """Return the type of an error by its text; "" where the text has none; None for no error.

    Examples
    --------
    >>> parse_error("ValueError('boom')Traceback ..."), parse_error("boom"), parse_error(None)
    ('ValueError', '', None)
    """
    if value is None or value == "":
        return None
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    for start, kind in _CONTROL_FLOW.items():
        if text.startswith(start):
            return kind
    if named := _RAISED.match(text):
        return error_type(named[1])
    last = _LAST_LINE.findall(text[-_LONGEST_NAME:])[-1:]  # of a traceback
    return error_type(last[0]) if last and last[0].endswith(_ENDS_OF_TYPES) else ""


def is_control_flow(error: str) -> bool:
    """Say whether an error of this type is not a failure, but how LangGraph stops or hands over."""
    return error in _NO_FAILURES


def error_type(name: Any) -> str:
    """Return the name of an exception type without its module; "" where it is not a name.

    Examples
    --------
    >>> error_type("langgraph.errors.GraphInterrupt"), error_type("no type at all")
    ('GraphInterrupt', '')
    """
    last = name[:_LONGEST_NAME].rpartition(".")[2] if isinstance(name, str) else ""
    return last if last.isidentifier() and last[0].isupper() else ""


def _show(value: Any) -> str:
    return safe_text(
        repr(value) if isinstance(value, str | int | float) else "a list or object", 60
    )
