"""One locked process and its channel: started, read line by line, and ended for good."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, Any, Literal, NoReturn, TypeAlias

__all__ = ["Child", "Status", "StoppedError"]

Status: TypeAlias = Literal[
    "ok", "refused", "error", "time", "memory", "output", "invalid", "unstable", "died"
]
"""What became of a candidate; see `SandboxResult`."""

_PROGRAM = Path(__file__).resolve().parent / "bootstrap" / "candidate.py"
_CHUNK = 65_536
_PAUSE = 0.002
_ENDS: dict[int, tuple[Status, str]] = {
    -signal.SIGSYS: ("refused", "the kernel ended it for a system call that is not allowed"),
    -signal.SIGXCPU: ("time", "it used up its seconds of the processor"),
    -signal.SIGSEGV: ("died", "its interpreter crashed"),
}


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
            raise StoppedError("invalid", "its answer is no list of finite numbers") from None

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
