"""Inspect, the evaluations of the UK AI Security Institute: logs as ``.eval`` and as ``.json``."""

from __future__ import annotations

import json
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import zstandard

from detailed_balance.analyzers import Outcome
from detailed_balance.analyzers.errors import ReadError
from detailed_balance.readers.messages.agent_steps import get_objects, get_part, get_text, make_call
from detailed_balance.readers.messages.conversation import Conversation, read_conversations
from detailed_balance.readers.records.base import BadLines, ReadOptions, Record
from detailed_balance.readers.records.opening import Opening
from detailed_balance.readers.tables.json_files import read_objects
from detailed_balance.render.formatting import safe_text

__all__ = ["looks_like", "read"]

_ZIP = b"PK\x03\x04"
_ZSTANDARD = 93  # the method that zipfile knows from Python 3.14 on
_LARGEST = 2**30
_DAMAGE = (
    EOFError,
    NotImplementedError,
    OSError,
    RecursionError,
    RuntimeError,  # it is encrypted
    ValueError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
    zstandard.ZstdError,
)
_GRADES = {"C": True, "I": False, "P": False, "N": False, 1: True, 0: False}


def looks_like(opening: Opening) -> bool:
    """Say whether a file is a log, or a zip file that begins as one."""
    if opening.head.startswith(_ZIP):
        return b"_journal/" in opening.head or opening.path.suffix == ".eval"
    first = opening.first
    return {"eval", "status"} <= first.keys() and isinstance(first["eval"], dict)


def read(path: Path, options: ReadOptions, bad: BadLines) -> Iterator[Record]:
    """Yield the moves of each sample and epoch."""
    return read_conversations(_read_logs(path, options, bad), options, bad)


def _read_logs(path: Path, options: ReadOptions, bad: BadLines) -> Iterator[Conversation]:
    if zipfile.is_zipfile(path):
        yield from _read_archive(path, bad)
        return
    for place, log in read_objects(path, options, bad):
        samples = log.get("samples")
        if log.get("status") != "success" and samples is None:
            bad.accepted += 1  # an evaluation that stopped before its first sample
        elif not isinstance(samples, list):
            bad.report(place, "it has no list 'samples': read_eval_log was told header_only=True")
        for number, sample in enumerate(samples if isinstance(samples, list) else (), 1):
            if (found := _read_sample(sample, f"sample {number}", log, bad)) is not None:
                yield found


def _read_archive(path: Path, bad: BadLines) -> Iterator[Conversation]:
    """Yield the samples of a zip file one by one: each is a member."""
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            members = {member.filename: member for member in archive.infolist()}
            begin = members.get("header.json") or members.get("_journal/start.json")
            log = {} if begin is None else _parse(_unpack(file, archive, begin))
            for name, member in members.items():
                if not name.startswith("samples/"):
                    continue
                try:
                    sample = _parse(_unpack(file, archive, member))
                except _DAMAGE as error:
                    bad.report(safe_text(name, 60), f"it is damaged ({safe_text(str(error), 120)})")
                    continue
                if (found := _read_sample(sample, name, log, bad)) is not None:
                    yield found
    except _DAMAGE as error:
        raise ReadError(f"{path} is damaged ({safe_text(str(error), 120)})") from error


def _parse(text: bytes) -> Any:
    return json.loads(text)


def _unpack(file: Any, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """Return what a member says, whichever way it is packed."""
    if member.compress_type != _ZSTANDARD:
        with archive.open(member) as stream:
            text = stream.read(_LARGEST + 1)
    else:
        file.seek(member.header_offset)
        name, extra = struct.unpack("<26xHH", file.read(30))
        file.seek(name + extra, 1)
        packed = file.read(member.compress_size)
        with zstandard.ZstdDecompressor().stream_reader(packed) as stream:
            text = stream.read(_LARGEST + 1)
    if len(text) > _LARGEST:
        raise ValueError(f"it says more than {_LARGEST // 2**20:,} MiB")
    return text


def _read_sample(sample: Any, place: str, log: Any, bad: BadLines) -> Conversation | None:
    messages = sample.get("messages") if isinstance(sample, dict) else None
    if not isinstance(messages, list):
        bad.report(place, "a sample needs a list 'messages'")
        return None
    spent = _read_spending(get_objects(sample, "events"))
    about = get_part(log, "eval")
    fields = {**sample, "messages": None, "events": None}
    fields |= {"task": about.get("task"), "model": about.get("model")}
    outcome, error = _read_outcome(sample, get_text(log, "status"))
    name = f"{sample.get('id')}-{sample.get('epoch', 1)}"
    read = [_read_message(message, spent) for message in messages]
    return Conversation(place, read, name, fields, outcome, _read_scores(sample), error)


def _read_message(message: Any, spent: dict[str, dict[str, Any]]) -> Any:
    """Return a message as OpenAI writes it; what is not a message as it is."""
    if not isinstance(message, dict):
        return message
    message = {**message, **spent.get(get_text(message, "id") or "", {})}
    if message.get("role") == "tool":
        failed = get_part(message, "error").get("type") is not None
        status = "error" if failed else "success"
        return {**message, "name": message.get("function"), "status": status, "error": failed}
    message["tool_calls"] = [
        make_call(call.get("function"), call.get("arguments"), call.get("id"))
        for call in get_objects(message, "tool_calls")
    ]
    return message


def _read_spending(events: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the tokens and the time of each reply of the model, by its id."""
    spent = {}
    for event in events:
        told = {"usage": get_part(event, "output", "usage"), "timestamp": event.get("timestamp")}
        for reply in get_objects(get_part(event, "output"), "choices"):
            if (id_ := get_text(get_part(reply, "message"), "id")) is not None:
                spent[id_] = told
    return spent


def _read_outcome(sample: dict[str, Any], status: str | None) -> tuple[Outcome | None, str | None]:
    if error := sample.get("error"):
        said = get_text(get_part({"error": error}, "error"), "message") or str(error)
        return (Outcome.CANCELLED if "CancelledError" in said else Outcome.FAILED), said
    if limit := sample.get("limit"):
        kind = get_part({"limit": limit}, "limit").get("type", limit)
        return (Outcome.CANCELLED if kind == "operator" else Outcome.RECURSION_LIMIT), None
    whole = status == "success" or sample.get("completed_at") or sample.get("scores")
    return (Outcome.ENDED if whole else None), None


def _read_scores(sample: dict[str, Any]) -> bool | None:
    """Return the verdict where all scores agree: C and 1 are good; I, P, N and 0 are not."""
    scores = get_part(sample, "scores") or {"score": sample.get("score")}
    values = [s.get("value") if isinstance(s, dict) else s for s in scores.values()]
    plain = isinstance(values, list) and all(isinstance(v, str | int | float) for v in values)
    verdicts = {_GRADES.get(value) for value in values} if plain else {None}
    return verdicts.pop() if len(verdicts) == 1 else None
