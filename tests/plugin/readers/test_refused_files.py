"""What the system refuses is a ReadError that names the file; long attributes take linear work."""

import errno
import io
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from detailed_balance import analyze, read_transitions
from detailed_balance.analyzers.errors import ReadError
from detailed_balance.cli import app
from detailed_balance.sources.source import open_source

ROWS = "trajectory,source,target\nt,a,b\nt,b,a\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "moves.csv"
    path.write_text(ROWS)
    return path


@pytest.mark.parametrize(
    "name", ["moves.csv", "moves.jsonl", "moves.json", "moves.xes", "moves.parquet", "moves.eval"]
)
def test_a_file_that_may_not_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path = tmp_path / name
    path.write_text(ROWS)

    def refuse(self: Path, *_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", refuse)
    for read in (analyze, lambda source: list(read_transitions(source))):
        with pytest.raises(ReadError, match=rf"{name} cannot be read: Permission denied"):
            read(path)


def test_a_file_that_fails_while_it_is_read_is_named(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, _: object) -> int:
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Path, "open", lambda *_, **__: io.BufferedReader(Broken()))
    with pytest.raises(ReadError, match=r"moves\.csv cannot be read: Input/output error"):
        analyze(path)


def test_a_file_that_vanishes_is_named(path: Path) -> None:
    opened = open_source(path)
    path.unlink()
    with pytest.raises(ReadError, match=r"moves\.csv"):
        opened.counts()


def test_a_folder_that_cannot_be_listed_is_no_empty_one(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = path.parent / "inner"
    inner.mkdir()

    def walk(folder: Path, onerror):
        yield str(folder), ["inner"], [path.name]
        onerror(PermissionError(errno.EACCES, "Permission denied", str(inner)))

    monkeypatch.setattr("os.walk", walk)
    with pytest.raises(ReadError, match="inner cannot be read: Permission denied"):
        analyze(path.parent)


def test_a_name_that_no_file_can_have_is_refused() -> None:
    for read in (analyze, read_transitions):
        with pytest.raises(ReadError, match="cannot be read: File name too long"):
            read("x" * 5_000 + ".csv")


def test_a_standard_input_that_is_closed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(ReadError, match="the standard input is closed"):
        analyze("-")


@pytest.mark.parametrize("command", ["analyze", "show", "export", "guard", "import"])
def test_a_command_names_it_in_one_line(
    path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    more = {"show": ["t"], "export": ["out.json"], "import": [str(path.with_suffix(".db"))]}

    def refuse(self: Path, *_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", refuse)
    done = CliRunner().invoke(app, [command, str(path), *more.get(command, []), "--no-config"])
    assert done.exit_code == 1
    assert done.stderr == f"error: {path} cannot be read: Permission denied\n"


def test_a_long_attribute_of_xes_is_parsed_in_chunks_that_grow(tmp_path: Path) -> None:
    calls = []
    for size in (1, 4, 16):
        path = tmp_path / f"{size}.xes"
        key = (
            '<string key="concept:name" value="a"/><date key="time:timestamp" value="2020-01-01"/>'
        )
        text = f'<string key="text" value="{"x" * (size * 2**20)}"/>'
        path.write_text(f"<log><trace><event>{key}{text}</event></trace></log>")
        parts: list[int] = []
        read = read_transitions(path, progress=lambda done, _, parts=parts: parts.append(done))
        assert [move.target for move in read] == ["a", "__end__"]
        calls.append(len(parts))
    # What has no end is parsed anew with each chunk, so its work is linear where chunks double.
    assert calls[1] <= calls[0] + 3
    assert calls[2] <= calls[1] + 3
