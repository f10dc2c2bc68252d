"""What was acknowledged survives the death of the process, just once, wherever it was by then."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import sqlalchemy

from detailed_balance.callbacks import TransitionStore
from tests.callbacks.recorder.test_harmless_store import Line
from tests.callbacks.store.test_store import file_url, postgres_url  # noqa: F401 - a fixture

KILLS = int(os.environ.get("DETAILED_BALANCE_TEST_KILLS", "10"))

# Forks a writer for each line of its input; a writer says on the output what `append`, `flush` or
# `record` with "sync" has acknowledged.
NURSERY = textwrap.dedent("""
    import itertools, os, signal, sys
    from detailed_balance.callbacks import TransitionStore
    from detailed_balance.callbacks.transition import Transition

    def say(text):
        # In one go: print() may write the end of the line by itself, and be killed before.
        os.write(1, f"{text}\\n".encode())

    def write(url, folder, run, mode):
        durability = "sync" if mode == "sync" else "batched"
        store = TransitionStore(url, spool=folder, durability=durability)
        for first in itertools.count(0, 40):
            steps = range(first, first + 40)
            moves = [Transition("a", f"b{s % 7}", run, (), s, float(s)) for s in steps]
            if mode == "append":
                store.append(moves)
            for move in moves if mode != "append" else ():
                store.record(move)
                if mode == "sync":
                    say(move.step)
            if mode == "flush":
                store.flush()
            if mode != "sync":
                say(first + 39)

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        child = os.fork() if line.strip() else None
        if child == 0:
            write(*line.split())
        say("end" if child is None else f"child {child}")
""")


class Nursery:
    """Processes that write until they are killed."""

    def __init__(self):
        command = [sys.executable, "-c", NURSERY]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.process = subprocess.Popen(
            command, text=True, bufsize=1, start_new_session=True, **pipes
        )

    def start(self, *arguments):
        """Start a writer; return its process id when it has acknowledged something."""
        self.process.stdin.write(" ".join(map(str, arguments)) + "\n")
        lines = [self.process.stdout.readline().split() for _ in range(2)]
        (pid,) = [int(line[1]) for line in lines if len(line) == 2]
        self.first = [line for line in lines if len(line) == 1]
        return pid

    def kill(self, pid):
        """Kill a writer; return the last that it has acknowledged."""
        os.kill(pid, signal.SIGKILL)
        while Path(f"/proc/{pid}").exists():
            time.sleep(0.001)
        self.process.stdin.write("\n")
        said = [*(line[0] for line in self.first), *iter(self._read, "end")]
        return int(said[-1])

    def _read(self):
        return self.process.stdout.readline().strip()


class Database:
    """What the writers write to, and how to take it away from them."""

    def __init__(self, url, cut, mend):
        self.url, self.cut, self.mend = url, cut, mend


def sqlite_database(folder):
    """Take a file away by renaming its table: a lock would be waited for."""

    def rename(old, new):
        with sqlite3.connect(folder / "runs.db", timeout=30) as other:
            other.execute(f"ALTER TABLE {old} RENAME TO {new}")
        other.close()

    table = "detailed_balance_transitions"
    url = file_url(folder)
    TransitionStore(url).close()
    return Database(url, lambda: rename(table, "away"), lambda: rename("away", table))


def postgres_database(url):
    url = sqlalchemy.make_url(url)
    line = Line(url.host, url.port)
    host, port = line.address
    far = url.set(host=host, port=port).render_as_string(hide_password=False)
    TransitionStore(far).close()
    return Database(far, line.cut, line.mend)


@pytest.fixture(params=["sqlite", "postgres"])
def database(request, tmp_path):
    if request.param == "sqlite":
        return sqlite_database(tmp_path)
    return postgres_database(request.getfixturevalue("postgres_url"))


@pytest.fixture
def nursery():
    if not Path("/proc/self").exists():
        pytest.skip("there is no /proc to see a process end")
    nursery = Nursery()
    yield nursery
    os.killpg(nursery.process.pid, signal.SIGKILL)
    nursery.process.communicate()


def kill_at_random(nursery, database, folder, run, mode, dice):
    """Let a process write until it is killed, at times with its database away; return what it said.

    Where the database is away, nothing is appended: that raises, as it should.
    """
    pid = nursery.start(database.url, folder, run, mode)
    is_cut = mode != "append" and dice.random() < 0.5
    time.sleep(dice.uniform(0, 0.2))
    if is_cut:
        database.cut()
        time.sleep(dice.uniform(0, 0.4))
    acknowledged = nursery.kill(pid)
    if is_cut:
        database.mend()
    return acknowledged


def test_kill_9_loses_nothing_acknowledged_and_writes_nothing_twice(database, nursery, tmp_path):
    dice = random.Random(KILLS)
    folder = tmp_path / "spool"
    by_spool = 0
    for number in range(KILLS):
        run, mode = f"run{number}", ("flush", "sync", "append")[number % 3]
        acknowledged = kill_at_random(nursery, database, folder, run, mode, dice)
        by_spool += any(folder.glob("*"))
        with TransitionStore(database.url, spool=folder) as store:
            store.flush()
            steps = [move.step for move in store.read(trajectory=run)]
            assert steps == list(range(len(steps)))
            assert len(steps) > acknowledged
            assert (store.lost, store.spooled) == (0, 0)
        assert list(folder.glob("*")) == []
    assert by_spool > 0 or KILLS < 10
    print(f"{KILLS} kills, {by_spool} with a spool left")


def test_a_file_is_whole_after_the_kills(nursery, tmp_path):
    database = sqlite_database(tmp_path)
    dice = random.Random(1)
    for number in range(3):
        kill_at_random(nursery, database, tmp_path, str(number), "flush", dice)
    with sqlite3.connect(tmp_path / "runs.db") as other:
        assert other.execute("PRAGMA integrity_check").fetchone() == ("ok",)
