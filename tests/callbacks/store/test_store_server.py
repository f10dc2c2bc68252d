"""A server that stops and starts under load costs nothing; nor does a full disk, nor a fork."""

import os
import shutil
import socket
import subprocess
import threading
import time
from glob import glob
from pathlib import Path

import pytest

from detailed_balance.callbacks import TransitionStore
from detailed_balance.callbacks.transition import Transition
from tests.callbacks.recorder.test_harmless_store import limited_files
from tests.callbacks.store.test_store import file_url

ROUNDS = int(os.environ.get("DETAILED_BALANCE_TEST_RESTARTS", "2"))


def find_program(name):
    found = shutil.which(name) or next(iter(glob(f"/usr/lib/postgresql/*/bin/{name}")), None)
    return found or pytest.skip(f"no {name} of PostgreSQL is installed")


class Server:
    """A PostgreSQL of its own, run as somebody who is not root."""

    def __init__(self, folder):
        self._folder, self._control = folder / "data", find_program("pg_ctl")
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        self._user = None
        if os.geteuid() == 0:
            self._user = "postgres"
            shutil.chown(folder, self._user)
            for parent in folder.parents:
                if parent != Path("/") and not parent.stat().st_mode & 0o001:
                    parent.chmod(parent.stat().st_mode | 0o011)
        self._run(find_program("initdb"), "-A", "trust", "-U", "postgres", "-N")

    url = property(lambda self: f"postgresql+psycopg://postgres@127.0.0.1:{self._port}/postgres")

    def start(self):
        options = f"-p {self._port} -k '' -c fsync=off -c shared_buffers=16MB"
        self._run(self._control, "-w", "-l", str(self._folder) + ".log", "-o", options, "start")

    def stop(self, how):
        self._run(self._control, "-w", "-m", how, "stop")

    def _run(self, program, *arguments):
        command = [program, "-D", str(self._folder), *arguments]
        subprocess.run(
            command, check=True, user=self._user, cwd="/", stdout=subprocess.DEVNULL, timeout=60
        )


@pytest.fixture
def server(tmp_path):
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    folder = tmp_path / "server"
    folder.mkdir()
    server = Server(folder)
    server.start()
    yield server
    server.stop("immediate")


def test_a_server_that_stops_and_starts_under_load_costs_nothing(server, tmp_path):
    with TransitionStore(server.url, spool=tmp_path / "spool") as store:
        ended = threading.Event()
        steps = dict.fromkeys(range(4), 0)

        def walk(agent):
            while not ended.is_set():
                store.record(Transition("a", "b", str(agent), step=steps[agent]))
                steps[agent] += 1
                time.sleep(0.0005)

        threads = [threading.Thread(target=walk, args=(agent,)) for agent in steps]
        for thread in threads:
            thread.start()
        spooled = 0
        for number in range(ROUNDS):
            time.sleep(0.3)
            server.stop("immediate" if number % 2 else "fast")
            time.sleep(0.5)
            spooled += store.spooled
            server.start()
        ended.set()
        for thread in threads:
            thread.join()
        while store.waiting or store.spooled:
            store.flush()
        assert spooled > 0
        assert store.lost == 0
        for agent, count in steps.items():
            found = [move.step for move in store.read(trajectory=str(agent))]
            assert found == list(range(count))


def test_what_was_acknowledged_before_the_disk_was_full_is_there_once(tmp_path):
    acknowledged, step = 0, 0
    with TransitionStore(file_url(tmp_path)) as store:
        with limited_files(300_000):
            while not store.lost:
                for _ in range(200):
                    store.record(Transition(f"s{step}", "b" * 50, "run", step=step))
                    step += 1
                store.flush()
                acknowledged = acknowledged if store.lost else step
        store.flush()
    with TransitionStore(file_url(tmp_path)) as store:
        steps = [move.step for move in store.read()]
        assert acknowledged > 200
        assert steps == list(range(len(steps)))
        assert len(steps) >= acknowledged


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_fork_leaves_the_spool_to_its_parent(tmp_path):
    store = TransitionStore(file_url(tmp_path))
    with limited_files(12_000):  # enough for the spool, not for the database
        store.record(Transition("parent", "b"))
        store.flush()
    if not store.spooled:
        pytest.skip("the database had room for it")
    child = os.fork()
    if child == 0:
        store.record(Transition("child", "b"))
        store.flush()
        os._exit(0 if store.spooled == 0 else 1)
    assert os.waitpid(child, 0)[1] == 0
    store.close()
    with TransitionStore(file_url(tmp_path), create=False) as store:
        assert sorted(move.source for move in store.read()) == ["child", "parent"]


def test_sync_waits_until_the_record_is_in_the_database(tmp_path):
    with (
        TransitionStore(file_url(tmp_path), durability="sync") as store,
        TransitionStore(file_url(tmp_path), create=False) as reader,
    ):
        for step in range(20):
            store.record(Transition("a", "b", step=step))
            assert len(reader) == step + 1
            assert store.waiting == 0


def test_many_agents_that_wait_share_their_commits(tmp_path):
    with TransitionStore(file_url(tmp_path), durability="sync") as store:
        threads = [
            threading.Thread(
                target=lambda n=n: [store.record(Transition("a", "b", f"{n}")) for _ in range(10)]
            )
            for n in range(16)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(store) == 160
        with store._transaction() as connection:
            (batches,) = connection.exec_driver_sql(
                "SELECT sequence FROM detailed_balance_writers"
            ).one()
        assert batches < 160
