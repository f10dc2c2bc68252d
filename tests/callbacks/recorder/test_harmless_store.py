"""Whatever happens to the store, agents do what they did, and no loss goes uncounted."""

import shutil
import socket
import sqlite3
import threading
from contextlib import contextmanager, suppress

import pytest
from sqlalchemy.engine import make_url

from detailed_balance.analyzers.errors import ReadError
from detailed_balance.callbacks import TransitionCallbackHandler, TransitionStore
from detailed_balance.callbacks.store._writer import BatchWriter
from tests.callbacks.store.test_store import file_url, postgres_url  # noqa: F401 - a fixture
from tests.support.agents import INPUT, loop

resource = pytest.importorskip("resource", reason="this system does not limit files")

ROUNDS = 20
MOVES = 2 * ROUNDS + 1
RECORDS = MOVES + 2  # and how it began and ended
STEPS = {"recursion_limit": 100}
EXPECTED = loop(ROUNDS).invoke(INPUT, STEPS)


def run(handler):
    assert loop(ROUNDS).invoke(INPUT, {"callbacks": [handler], **STEPS}) == EXPECTED


def warnings(caplog):
    """Return what was logged of the store."""
    return [record.getMessage() for record in caplog.records if record.name == "detailed_balance"]


@contextmanager
def limited_files(size):
    """Let no file of this process grow beyond `size` bytes: the disk is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_loses_what_does_not_fit_and_nothing_else(tmp_path, caplog):
    store = TransitionStore(file_url(tmp_path))
    handler = TransitionCallbackHandler(store=store)
    run(handler)
    store.flush()
    kept = list(store.read())
    assert len(kept) == MOVES
    with limited_files(8192):  # the spool finds a little room
        for _ in range(9):
            run(handler)
            store.flush()
    spooled = store.spooled
    assert 0 < spooled < 9 * RECORDS
    assert store.lost + spooled == 9 * RECORDS
    away, lost = warnings(caplog)
    assert "runs.db" in away
    assert "runs.db" in lost
    run(handler)  # there is room again
    store.close()
    with TransitionStore(file_url(tmp_path), create=False) as again:
        found = list(again.read())
        assert found[:MOVES] == kept
        runs = 2 + spooled // RECORDS
        assert (len(found), len(again.endings())) == (runs * MOVES, runs)
    assert handler.faults == 0
    assert handler.graph.snapshot().total == 11 * MOVES


def test_a_spool_on_another_disk_keeps_what_a_full_one_cannot(tmp_path):
    (tmp_path / "other").mkdir()
    with TransitionStore(file_url(tmp_path), spool=tmp_path / "other") as store:
        handler = TransitionCallbackHandler(store=store)
        with limited_files(12_000):
            run(handler)
            store.flush()
        assert [store.lost, store.spooled] == [0, RECORDS]
        (file,) = (tmp_path / "other").iterdir()
        assert file.stat().st_mode & 0o777 == 0o600
        store.flush()
        assert [store.lost, store.spooled, len(store)] == [0, 0, MOVES]
        assert list((tmp_path / "other").iterdir()) == []


def test_a_deleted_file_is_made_anew(tmp_path):
    store = TransitionStore(file_url(tmp_path))
    handler = TransitionCallbackHandler(store=store)
    run(handler)
    store.flush()
    for file in tmp_path.iterdir():
        file.unlink()
    run(handler)
    store.close()
    with TransitionStore(file_url(tmp_path), create=False) as again:
        assert len(again) == MOVES
    assert store.lost == 0


def test_a_removed_folder_is_a_loss(tmp_path, caplog):
    folder = tmp_path / "runs"
    folder.mkdir()
    store = TransitionStore(file_url(folder))
    handler = TransitionCallbackHandler(store=store)
    run(handler)
    store.flush()
    shutil.rmtree(folder)
    for _ in range(3):
        run(handler)
        handler.flush()
    assert store.lost == 3 * RECORDS
    assert handler.faults == 0
    assert len(warnings(caplog)) == 1
    folder.mkdir()
    run(handler)
    store.close()
    with TransitionStore(file_url(folder), create=False) as again:
        assert len(again) == MOVES


def test_an_agent_ends_while_the_database_is_locked(tmp_path):
    store = TransitionStore(file_url(tmp_path))
    handler = TransitionCallbackHandler(store=store)
    other = sqlite3.connect(tmp_path / "runs.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    run(handler)
    run(handler)  # the lock is held until here, so the agent has not waited for it
    other.execute("ROLLBACK")
    other.close()
    handler.flush()
    assert len(store) == 2 * MOVES
    assert store.lost == 0
    store.close()


class Line:
    """A line to a server that can be cut: connections through it die, and no new one comes up."""

    def __init__(self, host, port):
        self._target = (host, port)
        self.address = ("127.0.0.1", 0)
        self.mend()
        self.address = self._server.getsockname()

    def mend(self):
        self._server = socket.create_server(self.address)
        self._ends = []
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self):
        for end in (self._server, *self._ends):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def _accept(self):
        while True:
            try:
                near, _ = self._server.accept()
            except OSError:
                return
            far = socket.create_connection(self._target)
            self._ends += near, far
            for ends in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=ends, daemon=True).start()

    def _carry(self, source, target):
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def test_a_server_that_goes_away_costs_nothing(postgres_url, tmp_path, caplog):  # noqa: F811
    url = make_url(postgres_url)
    line = Line(url.host, url.port)
    host, port = line.address
    store = TransitionStore(url.set(host=host, port=port), spool=tmp_path)
    handler = TransitionCallbackHandler(store=store)
    run(handler)
    store.flush()
    line.cut()
    for _ in range(3):
        run(handler)
        handler.flush()
    assert store.spooled == 3 * RECORDS
    assert store.lost == handler.faults == 0
    assert len(warnings(caplog)) == 1
    line.mend()
    run(handler)
    store.close()
    assert store.spooled == 0
    with TransitionStore(postgres_url, create=False) as again:
        assert len(again) == 5 * MOVES


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nobody.invalid:5432"])
def test_a_server_that_was_never_there_is_refused_before_any_agent_runs(address):
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    with pytest.raises(ReadError, match="cannot open"):
        TransitionCallbackHandler(store=f"postgresql+psycopg://me@{address}/none")


def test_a_write_that_never_ends_does_not_keep_the_process_from_ending(caplog):
    never = threading.Event()
    writer = BatchWriter(lambda batch: never.wait(), name="a database")
    writer.put("a")
    writer.close(timeout=0.01)  # as at the exit of the interpreter, only sooner
    assert writer.lost == 1
    assert "the process ends" in caplog.text
    never.set()
