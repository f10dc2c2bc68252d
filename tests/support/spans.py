"""Spans of agent frameworks, written as trees and turned into OTLP JSON."""

import itertools

_EPOCH = 1_700_000_000 * 10**9
OK = {"code": "STATUS_CODE_OK"}


def span(title, attributes, *inside, error=None, message="", status=None, events=(), **more):
    """Return a span and what is inside of it; `times`, `link` and `above` where they matter."""
    events = list(events)
    if error:
        events.append(("exception", {"exception.type": error}))
    if error is not None and status is None:
        status = {"code": "STATUS_CODE_ERROR", "message": message}
    return {
        "title": title,
        "attributes": attributes,
        "inside": inside,
        "status": status or {},
        "events": events,
        **more,
    }


_OPTIONS = ("error", "message", "status", "events", "times", "link", "above")


def _make(title, attributes, inside, given):
    options = {name: given.pop(name) for name in _OPTIONS if name in given}
    return span(given.pop("title", title), attributes | given, *inside, **options)


def agent(*inside, **given):
    """Return an agent; what is given is an attribute, unless it is an option of `span`."""
    return _make("agent run", {"gen_ai.operation.name": "invoke_agent"}, inside, given)


def model(*inside, **given):
    """Return a call of a model."""
    return _make("chat", {"gen_ai.operation.name": "chat"}, inside, given)


def tool(name, *inside, **given):
    """Return a call of a tool."""
    attributes = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": name}
    return _make(f"execute_tool {name}", attributes, inside, given)


def chain(*inside, **given):
    """Return a part of an agent."""
    return _make("chain", {"openinference.span.kind": "CHAIN"}, inside, given)


def foreign(title, *inside, **given):
    """Return a span that is not part of an agent."""
    return _make(title, {}, inside, given)


def crashed(*inside):
    """Return spans whose parent is not in the trace."""
    return [{**each, "lost": True} for each in inside]


def document(*roots):
    """Return the OTLP document of some traces; what was lost together is of one trace."""
    ids, clock, spans = itertools.count(1), itertools.count(1), []
    placed = {}

    def write(each, trace, parent):
        own = f"{next(ids):016x}"
        placed[id(each)] = (trace, own)
        began = next(clock)
        written = {
            "traceId": trace,
            "spanId": own,
            "parentSpanId": parent,
            "name": each["title"],
            "attributes": _attributes(each["attributes"]),
            "status": each["status"],
            "events": [
                {"name": name, "attributes": _attributes(found)} for name, found in each["events"]
            ],
        }
        spans.append(written)
        for part in each["inside"]:
            if above := part.get("above"):  # it stands beside, and holds this one
                write(above | {"inside": [{**part, "above": None}]}, trace, own)
            else:
                write(part, trace, own)
        start, stop = each.get("times") or (began, next(clock))
        written["startTimeUnixNano"] = str(_EPOCH + start * 10**9)
        written["endTimeUnixNano"] = str(_EPOCH + stop * 10**9)
        if link := each.get("link"):
            of, cause = placed[id(link)]
            written["links"] = [{"traceId": of, "spanId": cause}]

    for number, root in enumerate(roots, 1):
        if root.get("lost"):
            write(root, f"{1:032x}", "f" * 16)
        else:
            write(root, f"{number:032x}", "")
    return {"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}


def _attributes(found):
    return [{"key": key, "value": _any(value)} for key, value in found.items()]


def _any(value):
    if isinstance(value, list | tuple):
        return {"arrayValue": {"values": [_any(part) for part in value]}}
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    return {"doubleValue": value} if isinstance(value, float) else {"stringValue": value}
