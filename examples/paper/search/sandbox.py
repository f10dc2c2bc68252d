"""The sandbox: a feature function that somebody else wrote, run in a process that can do nothing.

What each layer stops, and what the whole is not, is on the page ``docs/paper/explicit.md``.
"""

from __future__ import annotations

import json
import math
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import IO, Any, Literal, NoReturn, TypeAlias

from detailed_balance.analyzers.errors import InvalidInputError

__all__ = [
    "Child",
    "Limits",
    "SandboxResult",
    "SandboxedFeatures",
    "Status",
    "StoppedError",
    "run_candidate",
]

Status: TypeAlias = Literal[
    "ok", "refused", "error", "time", "memory", "output", "invalid", "unstable", "died"
]
"""How a candidate ended; see `SandboxResult`."""

_Row: TypeAlias = "dict[str, float]"

_LAYERS = ("syntax", "audit", "seccomp")
_STARTUP = 60.0
"""Seconds for Python to start, on however busy a machine; the candidate is not yet running."""

_GREATEST = 1e9
_LONGEST_NAME = 200

_PROGRAM = Path(__file__).resolve().parent / "bootstrap" / "candidate.py"
_CHUNK = 65_536
_PAUSE = 0.002
_ENDS: dict[int, tuple[Status, str]] = {
    -signal.SIGSYS: ("refused", "the kernel ended it for a system call that is not allowed"),
    -signal.SIGXCPU: ("time", "it used up its seconds of the processor"),
    -signal.SIGSEGV: ("died", "its interpreter crashed"),
}


@dataclass(frozen=True, slots=True)
class Limits:
    """What one run of a candidate may use.

    Parameters
    ----------
    wall_seconds : float
        From when the process is locked to its answer.
    cpu_seconds : int
        Of the processor, the start of Python included.
    memory_bytes : int
        Of address space, Python's own 30 MB included.
    output_bytes : int
        Of what it answers.
    features : int
        Different names, over all states.
    program_characters : int
        Of the text of the candidate.

    Raises
    ------
    InvalidInputError
        Where one is not positive.
    """

    wall_seconds: float = 10.0
    cpu_seconds: int = 10
    memory_bytes: int = 512 * 2**20
    output_bytes: int = 32 * 2**20
    features: int = 300
    program_characters: int = 20_000

    def __post_init__(self) -> None:
        for field in fields(self):
            if not getattr(self, field.name) > 0:
                value = getattr(self, field.name)
                raise InvalidInputError(f"{field.name}={value!r}; a limit is above 0")


@dataclass(frozen=True, slots=True)
class SandboxResult:
    """How a candidate ended.

    Parameters
    ----------
    status : Status
        "ok", or why there are no features: "refused" (it asked for what it may not have), "error"
        (it raised), "time", "memory" and "output" (a limit), "invalid" (no finite numbers by
        name), "unstable" (a second run gave others), "died" (its process ended without a word).
    reason : str
        The same in a sentence; parts of it are the candidate's words.
    features : tuple of dict of str to float, or None
        Of each state, in order.
    seconds : float
        From the start of its first process to the end of its last.
    filtered : bool
        Whether the kernel filtered its system calls; without that it is less well locked up.
    """

    status: Status
    reason: str
    features: tuple[_Row, ...] | None
    seconds: float
    filtered: bool


def run_candidate(text: str, states: Sequence[str], limits: Limits | None = None) -> SandboxResult:
    """Run a feature function on states, twice, each time in a process of its own.

    The second run has the states in reverse and other hashes: features that depend on anything but
    the state come out differently.

    Parameters
    ----------
    text : str
        Python that defines ``features(state: str) -> dict[str, float]``. It may import collections,
        functools, itertools, math, re, statistics, string and unicodedata.
    states : sequence of str
        What to run it on.
    limits : Limits, optional
        Of each run.

    Raises
    ------
    InvalidInputError
        Where the system is none that can limit a process (Windows).

    Examples
    --------
    >>> run_candidate("def features(state): return {'length': len(state)}", ["a", "bc"]).features
    ({'length': 1.0}, {'length': 2.0})
    >>> run_candidate("import os", ["a"]).reason.split(":")[0]
    'import os'
    """
    if os.name != "posix":
        raise InvalidInputError("candidates run on Linux and other Unix systems only")
    trial = _Trial(text, limits if limits is not None else Limits())
    begun = time.monotonic()
    status: Status = "ok"
    reason, rows = "", None
    try:
        rows = trial.run_twice(list(states))
    except StoppedError as stopped:
        status, reason = stopped.status, stopped.reason
    return SandboxResult(status, reason, rows, time.monotonic() - begun, trial.filtered)


@dataclass(frozen=True, slots=True)
class SandboxedFeatures:
    """A feature function whose every evaluation happens in the sandbox.

    Parameters
    ----------
    text : str
        The candidate, as for `run_candidate`.
    limits : Limits
        Of each run.

    Examples
    --------
    >>> SandboxedFeatures("def features(state): return {'length': len(state)}")("abc")
    {'length': 3.0}
    """

    text: str
    limits: Limits = Limits()

    def __call__(self, state: str) -> Mapping[str, float]:
        """Return the features of one state."""
        return self.for_states([state])[0]

    def for_states(self, states: Sequence[str]) -> Sequence[Mapping[str, float]]:
        """Return the features of each state.

        Raises
        ------
        InvalidInputError
            Where the candidate was stopped, or failed.
        """
        done = run_candidate(self.text, states, self.limits)
        if done.features is None:
            raise InvalidInputError(f"the program gives no features ({done.status}: {done.reason})")
        return done.features


class _Trial:
    """One candidate before the sandbox; `filtered` says whether the kernel's filter stood."""

    def __init__(self, text: str, limits: Limits) -> None:
        self.text, self.limits, self.filtered = text, limits, False

    def run_twice(self, states: list[str]) -> tuple[_Row, ...]:
        if len(self.text) > self.limits.program_characters:
            most = self.limits.program_characters
            raise StoppedError("refused", f"its text has more than {most} characters")
        first, second = self._run(states), self._run(states[::-1])[::-1]
        for state, row, again in zip(states, first, second, strict=True):
            if not _agree(row, again):
                reason = f"a second run gave other features of {state[:80]!r}"
                raise StoppedError("unstable", reason)
        return tuple(first)

    def _run(self, states: list[str]) -> list[_Row]:
        rows: list[_Row] = []
        names: set[str] = set()
        with Child(self._request(states), self.limits.output_bytes) as child:
            self.filtered = child.message(time.monotonic() + _STARTUP) == ["ready", True]
            deadline = time.monotonic() + self.limits.wall_seconds
            for _ in states:
                rows.append(_read_row(child.message(deadline)))
                names.update(rows[-1])
                if len(names) > self.limits.features:
                    reason = f"it has more than {self.limits.features} features"
                    raise StoppedError("invalid", reason)
        return rows

    def _request(self, states: list[str]) -> dict[str, Any]:
        return {
            "text": self.text,
            "states": states,
            "layers": _LAYERS,
            "cpu_seconds": math.ceil(self.limits.cpu_seconds),
            "memory_bytes": self.limits.memory_bytes,
        }


def _read_row(message: Any) -> _Row:
    """Check what came through the channel: whoever wrote it need not be our program."""
    match message:
        case ["row", dict() as row]:
            return {_check_name(name): _check_number(name, value) for name, value in row.items()}
        case ["refused" | "error" | "memory" as status, str() as reason]:
            raise StoppedError(status, reason)
    raise StoppedError("invalid", "its answer is not a mapping of names to numbers")


def _check_name(name: str) -> str:
    if len(name) > _LONGEST_NAME:
        raise StoppedError("invalid", f"a feature's name has more than {_LONGEST_NAME} characters")
    return name


def _check_number(name: str, value: Any) -> float:
    if not isinstance(value, int | float) or not abs(value) <= _GREATEST:
        raise StoppedError(
            "invalid", f"feature {name!r} is {str(value)[:40]!r}, no number up to {_GREATEST:g}"
        )
    return float(value)


def _agree(row: _Row, again: _Row) -> bool:
    """Say whether two runs gave the same, up to the order in which they may have added."""
    return row.keys() == again.keys() and all(
        math.isclose(value, again[name], rel_tol=1e-9, abs_tol=1e-12) for name, value in row.items()
    )


class StoppedError(Exception):
    """A candidate came to an end without features.

    Attributes
    ----------
    status : Status
        How.
    reason : str
        The same in a sentence.
    """

    def __init__(self, status: Status, reason: str) -> None:
        super().__init__(reason)
        self.status: Status = status
        self.reason = reason


class Child:
    """The process of one run; leaving the block kills it, and all that it may have started.

    Parameters
    ----------
    request : dict
        What ``bootstrap/candidate.py`` reads.
    most : int
        The bytes that it may answer.
    """

    def __init__(self, request: dict[str, Any], most: int) -> None:
        self._folder = tempfile.TemporaryDirectory()
        with tempfile.TemporaryFile() as file:
            file.write(json.dumps(request).encode())
            file.seek(0)
            self._process = _start(file, self._folder.name)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._output, selectors.EVENT_READ)
        self._left = most
        self._buffer = b""

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        # Before it is waited for, its number cannot be another's; after that it could.
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._selector.close()
        self._output.close()
        self._folder.cleanup()

    def message(self, deadline: float) -> Any:
        """Return the next line of JSON.

        Raises
        ------
        StoppedError
            Where none comes before `deadline` (of `time.monotonic`), it is too long or no JSON, or
            the process ends.
        """
        parts = [self._buffer]
        while b"\n" not in parts[-1]:
            parts.append(self._read(deadline))
        line, _, self._buffer = b"".join(parts).partition(b"\n")
        try:
            return json.loads(line, parse_constant=_refuse_constant)
        except (ValueError, RecursionError):
            raise StoppedError("invalid", "its answer is not a list of finite numbers") from None

    def _read(self, deadline: float) -> bytes:
        if not self._selector.select(max(0.0, deadline - time.monotonic())):
            raise StoppedError("time", "it did not end in its time")
        chunk = os.read(self._output.fileno(), _CHUNK)
        self._left -= len(chunk)
        if self._left < 0:
            raise StoppedError("output", "its answer is longer than allowed")
        if not chunk:
            self._explain(deadline)
        return chunk

    def _explain(self, deadline: float) -> NoReturn:
        """Say how a process ended that has closed its channel too early."""
        while time.monotonic() < deadline:
            if (code := _exit_code(self._process)) is not None:
                raise StoppedError(*_ENDS.get(code, ("died", f"its process ended ({code})")))
            time.sleep(_PAUSE)
        raise StoppedError("time", "it did not end in its time")

    @property
    def _output(self) -> IO[bytes]:
        output = self._process.stdout
        assert output is not None  # noqa: S101 - it was asked for
        return output


def _start(request: IO[bytes], folder: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - our own program; the candidate is data to it
        [sys.executable, "-I", "-S", "-B", str(_PROGRAM)],
        stdin=request,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=folder,
        env={},
        bufsize=0,
        start_new_session=True,
    )


def _exit_code(process: subprocess.Popen[bytes]) -> int | None:
    """Return how it ended, without taking its number away; None while it runs."""
    if not hasattr(os, "waitid"):  # macOS before Python 3.13
        return process.poll()
    ended = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    if ended is None:
        return None
    return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)
