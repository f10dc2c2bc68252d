"""The files that the tests of the readers read: of every format, with the options that fit."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any

import pytest

from detailed_balance import Transition, TransitionStore
from detailed_balance.readers import read_recording, read_transitions

__all__ = ["Seed", "collect_seeds"]

TESTS = Path(__file__).parents[2] / "tests" / "plugin" / "readers"
LEFT_OUT = ("test_bounds", "test_engine", "test_readers_fuzz", "test_span_fuzz", "langgraph")
"""Tests of large, broken and slow files."""

LONGEST = 64 * 1024


@dataclass(frozen=True)
class Seed:
    """A file that can be read.

    Parameters
    ----------
    suffix : str
        What its name ends with.
    data : bytes
        What it holds.
    options : dict
        As for `read_transitions` or `read_recording`.
    of_recording : bool
        Whether they are for the latter alone.
    """

    suffix: str
    data: bytes
    options: dict[str, Any] = field(default_factory=dict)
    of_recording: bool = False


def collect_seeds() -> list[Seed]:
    """Run the tests of the readers, and return what they read, each file once."""
    found: dict[tuple[bytes, str, str], Seed] = {}
    with tempfile.TemporaryDirectory() as folder:
        for seed in (*_databases(Path(folder)), *_files_of_tests()):
            found.setdefault((seed.data, seed.suffix, repr(sorted(seed.options))), seed)
    return list(found.values())


class _Listener:
    """A plugin of pytest that notes which files the tests read."""

    def __init__(self) -> None:
        self.seeds: list[Seed] = []

    def pytest_collection_modifyitems(self) -> None:
        """Put ears into the modules of the tests."""
        for name, module in list(sys.modules.items()):
            if name.startswith("tests."):
                for function in (read_transitions, read_recording):
                    if getattr(module, function.__name__, None) is function:
                        setattr(module, function.__name__, self._hear(function))

    def _hear(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def read(source: Any, **options: Any) -> Any:
            if isinstance(source, str | os.PathLike) and Path(source).is_file():
                path = Path(source)
                kept = {name: v for name, v in options.items() if name != "skip_bad_lines"}
                if path.stat().st_size <= LONGEST:
                    whole = function is read_recording
                    self.seeds.append(Seed("".join(path.suffixes), path.read_bytes(), kept, whole))
            return function(source, **options)

        return read


def _files_of_tests() -> list[Seed]:
    listener = _Listener()
    files = [
        str(f) for f in sorted(TESTS.glob("test_*.py")) if not any(n in f.stem for n in LEFT_OUT)
    ]
    arguments = ["-q", "-p", "no:cacheprovider", "--no-header", *files]
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        pytest.main(arguments, plugins=[listener])
    return listener.seeds


def _databases(folder: Path) -> Iterator[Seed]:
    """Yield a store, and checkpoints with and without paths of tasks."""
    from langgraph.checkpoint.sqlite import SqliteSaver

    from tests.support.agents import INPUT, loop, thread

    with TransitionStore(f"sqlite:///{folder / 'store'}") as store:
        store.append([Transition("a", "b", "T", (("model", "m"),), i, float(i)) for i in range(20)])
    yield Seed(".db", _read_database(folder / "store"), {"format": "store"})
    with SqliteSaver.from_conn_string(str(folder / "saver")) as saver:
        loop(3, saver).invoke(INPUT, thread("T"))
    yield Seed(".db", _read_database(folder / "saver"), {"format": "langgraph"})
    with sqlite3.connect(folder / "saver") as database:
        database.execute("ALTER TABLE writes DROP COLUMN task_path")
    yield Seed(".db", _read_database(folder / "saver"), {"format": "langgraph"})


def _read_database(path: Path) -> bytes:
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA journal_mode = DELETE")
    return path.read_bytes()
