"""Whatever way a process ends, what it recorded is written."""

import os
import subprocess
import sys
import threading

import pytest

from detailed_balance import TransitionStore, read_runs
from detailed_balance.callbacks.store import _writer
from detailed_balance.callbacks.store._writer import BatchWriter

METHODS = ["spawn"] if os.name == "nt" else ["fork", "forkserver", "spawn"]

WORK = """
import atexit, concurrent.futures, multiprocessing, os, sys, threading
from detailed_balance.analyzers import Outcome
from detailed_balance.callbacks import Ending, Transition, TransitionStore

def work(name):
    store = TransitionStore("sqlite:///runs.db")
    for step in range(7):
        store.record(Transition("a", "a", str(name), step=step))
    store.record(Ending(str(name), Outcome.ENDED))
    return store  # as long as it is held, nothing closes it

def work_in_worker(name):
    kept.append(work(name))

kept = []
"""

WAYS = {
    "a process": """
    children = [context.Process(target=work_in_worker, args=(name,)) for name in ("p0", "p1")]
    [child.start() for child in children]
    [child.join() for child in children]
""",
    "a daemonic process": """
    child = context.Process(target=work_in_worker, args=("daemonic",), daemon=True)
    child.start()
    child.join()
""",
    "an executor": """
    with concurrent.futures.ProcessPoolExecutor(workers, mp_context=context) as pool:
        list(pool.map(work_in_worker, ["e0", "e1", "e2", "e3"]))
""",
    "a pool that is closed": """
    pool = context.Pool(workers)
    pool.map(work_in_worker, ["c0", "c1", "c2", "c3"])
    pool.close()
    pool.join()
""",
    "a pool that is terminated": """
    with context.Pool(workers) as pool:
        pool.map(work_in_worker, ["t0", "t1", "t2", "t3"])
""",
    "a process with a thread that outlives it": """
    child = context.Process(target=outlive)
    child.start()
    child.join()
""",
}

OUTLIVE = """
def outlive():
    def later():
        ending.wait()
        work_in_worker("outlives")
    ending = threading.Event()
    kept.append(TransitionStore("sqlite:///other.db"))
    kept[0].record(Transition("a", "b"))
    threading.Thread(target=later).start()
    from multiprocessing import util
    util.Finalize(None, ending.set, exitpriority=-1000)
"""


def run(folder, code, **variables):
    (folder / "program.py").write_text(code)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("DETAILED_BALANCE")}
    environment |= variables
    command = [sys.executable, "program.py"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def counted(folder):
    with TransitionStore(f"sqlite:///{folder / 'runs.db'}", create=False) as store:
        return [(len(run.states), str(run.outcome)) for run in read_runs(store)]


def moves_in(folder):
    with TransitionStore(f"sqlite:///{folder / 'runs.db'}", create=False) as store:
        return len(store), len(store.endings())


RUNS = ["p0 p1", "daemonic", "e0 e1 e2 e3", "c0 c1 c2 c3", "t0 t1 t2 t3", "outlives"]


@pytest.mark.parametrize("method", METHODS)
def test_child_writes_all_that_it_recorded(tmp_path, method):
    workers = 1 if method == "spawn" else 2  # each of which imports everything anew
    ways = "".join(WAYS.values())
    children = f"    context, workers = multiprocessing.get_context({method!r}), {workers}{ways}"
    run(tmp_path, f"{WORK}{OUTLIVE}\nif __name__ == '__main__':\n{children}")
    with TransitionStore(f"sqlite:///{tmp_path / 'runs.db'}", create=False) as store:
        written = {run.name: (len(run.moves), str(run.outcome)) for run in read_runs(store)}
    for way, names in zip(WAYS, RUNS, strict=True):
        for name in names.split():
            assert written.pop(name) == (7, "ended"), way
    assert written == {}


AGENT = """
import detailed_balance, multiprocessing
from langgraph.graph import StateGraph

def work():
    agent = StateGraph(dict).add_node("a", lambda state: state).set_entry_point("a").compile()
    agent.invoke({})

if __name__ == "__main__":
    for method in METHODS:
        child = multiprocessing.get_context(method).Process(target=work)
        child.start()
        child.join()
        print(len(detailed_balance.read_runs("runs.db")))
"""


def test_agent_in_a_child_of_a_recorded_program_is_recorded(tmp_path):
    place = str(tmp_path / "runs.db")
    said = run(tmp_path, AGENT.replace("METHODS", repr(METHODS)), DETAILED_BALANCE_STORE=place)
    assert said.split() == ["1", "2", "3"][: len(METHODS)]  # one more by each method
    assert counted(tmp_path) == len(METHODS) * [(1, "ended")]


AT_EXIT = {
    "first record in a handler": "atexit.register(work_in_worker, 0)",
    "handler that runs before ours": "store = work(0); atexit.register(work_in_worker, 1)",
    "handler that runs after ours": "atexit.register(work_in_worker, 0); store = work(1)",
    "the same store in a handler that runs after ours": """
atexit.register(lambda: [store.record(Transition("a", "a")) for _ in range(7)])
store = work(1)
""",
    "threads of a handler": """
def crowd():
    threads = [threading.Thread(target=work_in_worker, args=(name,)) for name in range(3)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
if sys.version_info < (3, 12):  # later ones start no thread at exit
    atexit.register(crowd)
else:
    crowd()
store = work(3)
""",
}
MOVES = [7, 14, 14, 14, 28]


@pytest.mark.parametrize(("way", "moves"), [*zip(AT_EXIT, MOVES, strict=True)])
def test_what_exit_handlers_record_is_written(tmp_path, way, moves):
    run(tmp_path, f"{WORK}{AT_EXIT[way]}")
    assert moves_in(tmp_path)[0] == moves


def test_agent_in_an_exit_handler_of_a_recorded_program_is_recorded(tmp_path):
    agent = AGENT.partition("if __name__")[0]
    code = f"import atexit{agent}atexit.register(work)\nwork()\n"
    run(tmp_path, code, DETAILED_BALANCE_STORE=str(tmp_path / "runs.db"))
    assert counted(tmp_path) == [(1, "ended"), (1, "ended")]


def test_item_is_written_by_its_own_thread_where_python_starts_no_other(monkeypatch):
    def refuse(_):
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    written = []
    writer = BatchWriter(written.extend, name="a list")
    writer.start()
    writer.put("a")
    assert (written, writer.lost, writer.waiting) == (["a"], 0, 0)
    writer.put("b")
    assert writer.flush()
    writer.close()
    assert (written, writer.lost) == (["a", "b"], 0)


def test_items_of_a_finaliser_are_taken_along_at_the_end():
    written = []

    def write(batch):
        written.extend(batch)
        if batch == ["a"]:
            writer.put("from a finaliser")

    writer = BatchWriter(write, name="a list")
    writer._end()
    writer.put("a")
    assert written == ["a", "from a finaliser"]
    assert (writer.lost, writer.waiting) == (0, 0)


def test_callers_wait_no_longer_than_stated_at_the_end(monkeypatch):
    clock = iter(range(0, 1000, 20))  # each write takes twenty seconds
    monkeypatch.setattr(_writer.time, "monotonic", lambda: next(clock))
    written = []
    writer = BatchWriter(written.extend, name="a list")
    writer._end()
    for item in range(5):
        writer.put(item)
    assert (written, writer.lost) == ([0, 1], 3)
