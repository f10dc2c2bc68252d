"""What a hostile candidate tries, and which layer stops it; nothing here harms the machine."""

import importlib.util
import os
import platform
import socket
import struct
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from detailed_balance.analyzers import make_features
from detailed_balance.analyzers.errors import InvalidInputError
from examples.paper.search import (
    Limits,
    SandboxedFeatures,
    run_candidate,
    sandbox,
)

STATES = ["ab", "b", "cathedral"]
QUICK = Limits(wall_seconds=0.4, memory_bytes=256 * 2**20, output_bytes=2**20)
PROGRAM = Path(sandbox.__file__).parent / "bootstrap" / "candidate.py"

filtered = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in {"x86_64", "aarch64"},
    reason="the filter of system calls is for Linux on x86_64 and aarch64",
)


def body(*lines):
    return "def features(state):\n" + "".join(f"    {line}\n" for line in lines)


def test_it_runs_from_any_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert run_candidate(body("return {'a': 1}"), ["a"]).features == ({"a": 1.0},)


def test_features_of_plain_programs_come_back():
    text = """
from __future__ import annotations
import math, re
from collections import Counter

def vowels(state: str) -> int:
    return len(re.findall("[aeiou]", state))

def features(state: str) -> dict[str, float]:
    print("debugging", state)
    return {"vowels": vowels(state), "most": max(Counter(state).values()), "log": math.log(2)}
"""
    done = run_candidate(text, STATES)
    assert (done.status, done.reason) == ("ok", "")
    assert [row["vowels"] for row in done.features] == [1, 0, 3]
    assert [row["most"] for row in done.features] == [1, 1, 2]


HOSTILE = {
    "an infinite loop": (body("while True: pass"), "time"),
    "a regular expression that backtracks": (
        "import re\n" + body("return {'a': bool(re.match('(a+)+$', 'a' * 40 + 'b'))}"),
        "time",
    ),
    "one call into C that takes for ever": (body("return {'a': sum(range(10**15))}"), "time"),
    "ten gigabytes": (body("return {'a': len('x' * 10**10)}"), "memory"),
    "ten gigabytes, bit by bit": (
        body("kept = []", "while True: kept.append('x' * 10**6 + str(len(kept)))"),
        "memory",
    ),
    "reading a file": (body("return {'a': len(open('/etc/passwd').read())}"), "error"),
    "import os": ("import os\n" + body("return {'a': os.getpid()}"), "refused"),
    "import inside of the function": (body("import socket", "return {}"), "refused"),
    "import from a package": ("from os import path\n" + body("return {}"), "refused"),
    "the import function": (body("return {'a': __import__('os').getpid()}"), "refused"),
    "a module in a module": (
        "import statistics\n" + body("return {'a': statistics.random.random()}"),
        "error",
    ),
    "the subclasses of object": (
        body("return {'a': len(().__class__.__mro__[1].__subclasses__())}"),
        "refused",
    ),
    "getattr": (body("return {'a': getattr(state, '_' + '_class_' + '_')}"), "error"),
    "exec": (body("exec('import os')", "return {}"), "error"),
    "a fork bomb": ("import os\n" + body("for i in range(20): os.fork()"), "refused"),
    "sys.exit": (body("raise SystemExit(0)"), "error"),
    "enormous output": (body("return {'a' * 10**7: 1}"), "output"),
    "a hundred thousand features": (
        body("return {str(i): i for i in range(10_000)}"),
        "invalid",
    ),
    "deep recursion": (body("return features(state + 'x')"), "error"),
    "deep nesting": ("x = " + "(" * 3_000 + ")" * 3_000, "error"),
    "a long chain": ("x = " + "-" * 19_000 + "1", ("error", "memory", "died")),
    "not a number": (body("return {'a': float('nan')}"), "invalid"),
    "infinity": (body("return {'a': -float('inf')}"), "invalid"),
    "an integer that is too large": (body("return {'a': 10**400}"), "invalid"),
    "a string": (body("return {'a': '1'}"), "invalid"),
    "a list": (body("return {'a': [1]}"), "invalid"),
    "no mapping": (body("return 3"), "error"),
    "nothing": (body("pass"), "error"),
    "no function": ("x = 1", "refused"),
    "no Python": ("def f(", "error"),
    "a long name": (body("return {'a' * 300: 1}"), "invalid"),
    "a long program": ("#" * 30_000, "refused"),
    "hashes of strings": (body("return {'a': hash(state) % 1000}"), "unstable"),
    "addresses": (body("return {'a': id(object())}"), "invalid"),
    "a counter of calls": (
        "seen = []\n" + body("seen.append(1)", "return {'a': len(seen)}"),
        "unstable",
    ),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_candidate_is_stopped_and_its_end_is_named(what):
    text, expected = HOSTILE[what]
    # Only what never ends is given little time, for the machine may be busy.
    limits = QUICK if expected == "time" else replace(QUICK, wall_seconds=30)
    done = run_candidate(text, STATES, limits)
    assert done.status in expected if isinstance(expected, tuple) else done.status == expected
    assert done.features is None
    assert done.reason


def test_an_infinite_loop_ends_by_its_processor_time_too():
    limits = Limits(wall_seconds=30, cpu_seconds=1)
    done = run_candidate(body("while True: pass"), STATES, limits)
    assert (done.status, done.reason) == ("time", "it used up its seconds of the processor")


def test_keys_that_are_hostile_text_stay_text():
    key = "\x1b[31m</script>'; DROP TABLE\u202e"
    done = run_candidate(body(f"return {{{key!r}: 1}}"), ["a"])
    assert done.features == ({key: 1.0},)


# --- The lower layers, each by itself: what one lets through, the next one stops ------------------

BEYOND = {
    "reading a file": "open('/etc/passwd').read()",
    "writing a file": "open(FILE, 'w').write('x')",
    "making a file": "os.open(FILE, os.O_CREAT | os.O_WRONLY)",
    "a listing": "os.listdir('/')",
    "a socket": "import _socket; _socket.socket().connect(('127.0.0.1', PORT))",
    "a fork": "os.fork()",
    "a fork bomb": "[os.fork() for _ in range(5)]",  # 32 processes, were every layer to fail
    "another program": "os.execv('/bin/sh', ['sh', '-c', 'echo > ' + FILE])",
    "a shell": "assert os.system('echo > ' + FILE) == 0",
    "a signal to the parent": "os.kill(os.getppid(), 9)",
    "a thread": "import _thread; _thread.start_new_thread(print, ())",
    "another module": "import sqlite3",
}


def attack(monkeypatch, layers, code, *, file="", port=0):
    """Run a candidate that got past the check of the syntax, and holds the real `os`."""
    monkeypatch.setattr(sandbox, "_LAYERS", layers)
    head = f"import os, sys\nFILE, PORT = {str(file)!r}, {port}\n"
    return run_candidate(head + body(code, "return {'done': 1}"), ["a"], Limits(wall_seconds=30))


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        yield server


@pytest.mark.parametrize("layer", ["audit", pytest.param("seccomp", marks=filtered)])
@pytest.mark.parametrize("what", BEYOND)
def test_each_layer_stops_it_alone(monkeypatch, tmp_path, listener, layer, what):
    file, port = tmp_path / "file", listener.getsockname()[1]
    done = attack(monkeypatch, (layer,), BEYOND[what], file=file, port=port)
    unseen = layer == "audit" and what == "a thread"  # of which Python tells no audit hook
    assert done.status == ("error" if unseen else "refused")
    assert done.filtered == (layer == "seccomp")
    assert not file.exists()
    with pytest.raises(TimeoutError):
        listener.accept()


@pytest.mark.parametrize("what", BEYOND)
def test_limits_alone_stop_it_where_there_is_no_other_layer(monkeypatch, tmp_path, listener, what):
    if what == "a signal to the parent" and os.geteuid() != 0:
        pytest.skip("a process may signal others of its own user")
    file, port = tmp_path / "file", listener.getsockname()[1]
    done = attack(monkeypatch, (), BEYOND[what], file=file, port=port)
    assert done.status in {"error", "died"}
    assert not file.exists()


def test_ignoring_a_signal_saves_nobody(monkeypatch):
    code = "import _signal; _signal.signal(15, _signal.SIG_IGN)\n    while True: pass"
    monkeypatch.setattr(sandbox, "_LAYERS", ("audit",))
    assert run_candidate(body(code), ["a"], QUICK).status == "time"


def test_it_inherits_neither_files_nor_environment_nor_user(monkeypatch, tmp_path):
    monkeypatch.setenv("SECRET", "key")
    code = (
        "raise ValueError([sorted(os.environ), os.geteuid() == 0, list(filter(alive, range(99)))])"
    )
    alive = "def alive(f):\n    try: return bool(os.fstat(f))\n    except OSError: return False\n"
    monkeypatch.setattr(sandbox, "_LAYERS", ())
    with open(tmp_path / "file", "w") as file:
        os.set_inheritable(file.fileno(), True)
        done = run_candidate("import os\n" + alive + body(code), ["a"])
    assert done.reason in {
        "ValueError: [['LC_CTYPE'], False, [1]]",  # Python's own setting
        "ValueError: [[], False, [1]]",
    }


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("os.write(1, b'garbage\\n')", "invalid"),
        ("os.write(1, b'\\xff\\xfe' * 50 + b'\\n')", "invalid"),
        ("os.write(1, b'[' * 60_000 + b'\\n')", "invalid"),
        ('os.write(1, b\'["row", {"a": "text"}]\\n\')', "invalid"),
        ('os.write(1, b\'["row", {"a": NaN}]\\n\')', "invalid"),
        ('os.write(1, b\'["row", {"a": 1e999}]\\n\')', "invalid"),
        ("os.write(1, b'[\"ok\", {}]\\n')", "invalid"),
        ("os._exit(0)", "died"),
        ("while True: os.write(1, b'x' * 60_000)", "output"),
    ],
)
def test_the_channel_is_not_believed(monkeypatch, code, status):
    done = attack(monkeypatch, ("seccomp",), code)
    assert (done.status, done.features) == (status, None)


def fake_program(monkeypatch, tmp_path, text):
    """Put another program in the place of ours: one that nothing has locked."""
    program = tmp_path / "program.py"
    program.write_text("import os, signal, sys, time\n" + text)
    monkeypatch.setattr(sandbox, "_PROGRAM", program)


def test_a_process_that_ignores_signals_ends_with_all_that_it_started(monkeypatch, tmp_path):
    text = """
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGXCPU, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
child = os.fork()
if child:
    os.write(1, b'["ready", %d]\\n' % child)
time.sleep(600)
"""
    fake_program(monkeypatch, tmp_path, text)
    with sandbox.Child({}, 1000) as child:
        _, started = child.message(time.monotonic() + 60)
        with pytest.raises(sandbox.StoppedError, match="did not end in its time"):
            child.message(time.monotonic() + 0.1)
    wait_for_end(started)


def wait_for_end(number):
    """Wait until a process has ended; whoever inherits it may take a moment to bury it."""
    for _ in range(500):
        try:
            if Path(f"/proc/{number}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return
            os.kill(number, 0)
        except (ProcessLookupError, FileNotFoundError):
            return
        time.sleep(0.01)
    raise AssertionError(f"process {number} is still there")


def test_a_process_that_closes_its_channel_and_stays_is_ended(monkeypatch, tmp_path):
    fake_program(monkeypatch, tmp_path, "os.close(1)\ntime.sleep(600)\n")
    with (
        sandbox.Child({}, 1000) as child,
        pytest.raises(sandbox.StoppedError, match="did not end in its time"),
    ):
        child.message(time.monotonic() + 0.5)


# --- The filter of system calls, on a machine made of Python --------------------------------------


@pytest.fixture(scope="module")
def program():
    spec = importlib.util.spec_from_file_location("candidate_program", PROGRAM)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def verdict(code, architecture, number, argument=0):
    """Run a program of the Berkeley packet filter on a system call, as the kernel does."""
    lines = list(struct.iter_unpack("=HBBI", code))
    data = struct.pack("=iIQ6Q", number, architecture, 0, argument, 0, 0, 0, 0, 0)
    place = value = 0
    while True:
        what, then, other, k = lines[place]
        if what == 0x06:
            return k
        if what == 0x20:
            value = int.from_bytes(data[k : k + 4], sys.byteorder)
        place += 1 + ((then if value == k else other) if what == 0x15 else 0)


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filter_allows_what_is_listed_and_nothing_else(program, machine):
    code, length = program.filter_program(machine)
    architecture, write, allowed = program._SYSCALLS[machine]
    assert len(code) == 8 * length
    for number in range(500):
        listed = number in allowed or number == write
        assert (verdict(code, architecture, number, 1) == 0x7FFF0000) == listed
    assert verdict(code, architecture, write, 2) == 0x80000000  # another descriptor
    assert verdict(code, architecture ^ 1, allowed[0]) == 0x80000000  # another architecture
    assert verdict(code, architecture, allowed[0] | 0x40000000) == 0x80000000  # x32


# --- Around it -----------------------------------------------------------------------------------


def test_sandboxed_features_fit_wherever_a_feature_function_fits():
    features = SandboxedFeatures(body("return {'length': len(state)}"))
    table = make_features(STATES, features)
    assert table.values[:, 0].tolist() == [2, 1, 9]
    with pytest.raises(InvalidInputError, match=r"no features .+ ZeroDivisionError"):
        make_features(STATES, SandboxedFeatures(body("return {'a': 1 / 0}")))


def test_a_limit_that_is_not_above_zero_is_refused():
    with pytest.raises(InvalidInputError, match=r"wall_seconds=0; a limit is above 0"):
        Limits(wall_seconds=0)
