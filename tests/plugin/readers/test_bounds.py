"""Files without end: a clear error, within bounds of time and memory that do not depend on them."""

import gzip
import os
import re
import subprocess
import sys

import pytest

from detailed_balance.analyzers.errors import ReadError
from detailed_balance.readers import read_recording, read_transitions
from detailed_balance.readers.records import base, json_values

FIRST = {
    "jsonl": b'{"source": "a", "target": "b"}\n',
    "csv": b"source,target\n",
    "json": b"[",
    "xes": b"<log>",
    "graphml": b"<graphml>",
    "parquet": b"PAR1",
}
# Reads files with 1.5 GiB of memory more than the imports take, and prints what is wrong with each.
LIMITED = """
import resource, sys
import duckdb, pyarrow.parquet
from detailed_balance.analyzers.errors import ReadError
from detailed_balance.readers import read_recording, recording
import detailed_balance.readers.tables.delimited, detailed_balance.readers.messages
with open("/proc/self/statm") as file:
    taken = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (taken + 3 * 2**29,) * 2)
for path in sys.argv[1:]:
    try:
        print(repr(read_recording(path, skip_bad_lines=True).skipped), flush=True)
    except ReadError as error:
        print(repr(str(error)), flush=True)
"""


def read_limited(*paths):
    """Return what is said of each file, in one process."""
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    if not os.path.exists("/proc/self/statm"):
        pytest.skip("the memory of a process is limited as Linux does it")
    command = [sys.executable, "-c", LIMITED, *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr[-2_000:]
    said = done.stdout.splitlines()
    assert len(said) == len(paths)
    return said


def test_a_packed_line_of_2_gib_ends_with_an_error(tmp_path):
    paths = [tmp_path / f"t.{suffix}.gz" for suffix in ("jsonl", "csv")]
    for path in paths:
        first = FIRST[path.suffixes[0][1:]]
        path.write_bytes(gzip.compress(first) + gzip.compress(b"x" * 2**24) * 128)
    for said in read_limited(*paths):
        assert "line 2: it is longer than 64 MiB" in said


def test_a_sparse_file_of_a_terabyte_is_no_trace(tmp_path):
    paths = [tmp_path / f"t.{suffix}" for suffix in FIRST]
    for path in paths:
        with path.open("wb") as file:
            file.write(FIRST[path.suffix[1:]])
            try:
                file.truncate(2**40)
            except OSError:
                pytest.skip("this file system has no sparse files of this size")
    for path, said in zip(paths, read_limited(*paths), strict=True):
        assert re.search("MiB|invalid|cannot be read|nothing after here", said), (path.name, said)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("read", [read_recording, read_transitions])
def test_a_pipe_or_a_device_is_refused_and_not_waited_for(tmp_path, read):
    os.mkfifo(tmp_path / "t.jsonl")
    for path in (tmp_path / "t.jsonl", "/dev/zero"):
        with pytest.raises(ReadError, match=r"not a regular file.* - for standard input"):
            read(path)


def test_a_quote_that_is_never_closed_holds_64_mib_at_most(tmp_path, monkeypatch):
    path = tmp_path / "t.csv"
    path.write_text("source,target\na,b\n" + 'a,"' + "x\n" * 200)
    for module in (
        "detailed_balance.readers.tables.delimited",
        "detailed_balance.readers.records.base",
    ):
        monkeypatch.setattr(sys.modules[module], "LONGEST_LINE", 100)
    found = read_recording(path, skip_bad_lines=True)
    assert (found.read_count, found.skipped_count) == (1, 200)


def test_a_document_is_as_large_as_its_bound(tmp_path, monkeypatch):
    monkeypatch.setattr(base, "LARGEST_DOCUMENT", 100)
    path = tmp_path / "t.json"
    path.write_text('{"directed": true, "multigraph": false, "edges": [' + " " * 100 + "]}")
    with pytest.raises(ReadError, match="read as a whole"):
        read_recording(path, format="nodelink")
    assert json_values._LARGEST == base.LONGEST_LINE
