"""The other side of the sandbox: a program by itself that runs one candidate and nothing else.

`examples.paper.search.sandbox` starts it with `python -I -S -B`. It reads one JSON object
from its standard input, gives up one right after the other, and only then looks at the candidate.
To its standard output go lines of JSON: ["ready", whether the kernel filters its system calls],
then ["row", {...}] for each state; ["refused", why], ["memory", why] or ["error", why] ends them
early.
"""

import __future__

import ast
import builtins
import collections
import contextlib
import ctypes
import functools
import importlib.abc
import importlib.util
import itertools
import json
import math
import os
import platform
import re
import resource
import statistics
import string
import struct
import sys
import types
import unicodedata
import warnings

_MODULES = (collections, functools, itertools, math, re, statistics, string, unicodedata)
# These reach attributes by a name that is data, past the check of the syntax, or look at frames.
_WITHHELD = {"Formatter", "update_wrapper", "wraps", "singledispatch", "namedtuple"}
_BUILTINS = (
    *("True", "False", "None", "Ellipsis", "NotImplemented", "__build_class__", "__name__"),
    *("bool", "bytes", "complex", "dict", "float", "frozenset", "int", "list", "object", "set"),
    *("slice", "str", "tuple", "property", "staticmethod", "classmethod", "super", "range"),
    *("abs", "all", "any", "ascii", "bin", "callable", "chr", "divmod", "enumerate", "filter"),
    *("hash", "hex", "id", "isinstance", "issubclass", "iter", "len", "map", "max", "min", "next"),
    *("oct", "ord", "pow", "print", "repr", "reversed", "round", "sorted", "sum", "zip"),
)
_EVENTS = {"compile", "exec", "builtins.id"}  # what `import candidate` and `id` raise
_NOBODY = 65534

_SYSCALLS = {
    # What an interpreter needs that has opened all its files: memory, locks, time and the end.
    "x86_64": (0xC000003E, 1, (9, 10, 11, 12, 14, 15, 25, 28, 60, 202, 228, 231)),
    "aarch64": (0xC00000B7, 64, (93, 94, 98, 113, 135, 139, 214, 215, 216, 222, 226, 233)),
}
_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _FILTER = 22, 38, 2
_KILL, _ALLOW = 0x80000000, 0x7FFF0000
_CHANNEL = 1

_write, _exit = os.write, os._exit


class RefusedError(BaseException):
    """The candidate asked for what it may not have; `except Exception` does not catch this."""


def say(*message):
    """Send one line to the parent."""
    data = memoryview(json.dumps(message).encode() + b"\n")
    while data:
        data = data[_write(_CHANNEL, data) :]


# --- What is given up ---------------------------------------------------------------------------


def limit(name, soft, hard=None):
    """Lower a limit of this process; one that the system does not have is passed over."""
    with contextlib.suppress(AttributeError, OSError, ValueError):
        resource.setrlimit(getattr(resource, name), (soft, soft if hard is None else hard))


def drop_privileges():
    """Stop being root: root is not bound by the number of its processes."""
    with contextlib.suppress(AttributeError, OSError):
        if os.geteuid() == 0:
            os.setgroups([])
            os.setgid(_NOBODY)
            os.setuid(_NOBODY)


def close_files():
    """Keep the channel and nothing else."""
    os.close(0)
    os.closerange(_CHANNEL + 1, 4096)
    sys.stdin = sys.stdout = sys.stderr = sys.__stdin__ = sys.__stdout__ = sys.__stderr__ = None


def set_limits(cpu_seconds, memory_bytes):
    """Bound time and memory; forbid files, descriptors, processes and core dumps."""
    limit("RLIMIT_AS", memory_bytes)
    limit("RLIMIT_CPU", cpu_seconds, cpu_seconds + 1)
    for name in ("RLIMIT_FSIZE", "RLIMIT_NOFILE", "RLIMIT_NPROC", "RLIMIT_CORE"):
        limit(name, 0)


def filter_program(machine):
    """Return the seccomp program: so many system calls, `write` to the channel, or death."""
    architecture, write, allowed = _SYSCALLS[machine]
    load, equal, end = 0x20, 0x15, 0x06
    lines = [(load, 0, 0, 4), (equal, 1, 0, architecture), (end, 0, 0, _KILL), (load, 0, 0, 0)]
    for number in allowed:
        lines += [(equal, 0, 1, number), (end, 0, 0, _ALLOW)]
    lines += [(equal, 0, 3, write), (load, 0, 0, 16), (equal, 0, 1, _CHANNEL)]
    lines += [(end, 0, 0, _ALLOW), (end, 0, 0, _KILL)]
    return b"".join(struct.pack("=HBBI", *line) for line in lines), len(lines)


def filter_system_calls():
    """Have the kernel kill this process at any other system call; return whether it will."""
    if sys.platform != "linux" or platform.machine() not in _SYSCALLS or sys.maxsize < 2**32:
        return False
    program, length = filter_program(platform.machine())
    code = ctypes.create_string_buffer(program, len(program))
    whole = struct.pack("@HP", length, ctypes.addressof(code))
    prctl = ctypes.CDLL(None).prctl
    prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]
    pointer = ctypes.create_string_buffer(whole, len(whole))
    if prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        return False
    return prctl(_PR_SET_SECCOMP, _FILTER, ctypes.addressof(pointer), 0, 0) == 0


def refuse_events(event, arguments):
    """Refuse what Python tells its audit hooks of: files, sockets, processes, imports..."""
    if event not in _EVENTS:
        raise RefusedError(f"{event} is not allowed")


# --- What the candidate sees --------------------------------------------------------------------


def check_syntax(text, names):
    """Refuse imports of other modules, and any name that begins or ends with two underscores."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            wanted = [name.name for name in node.names]
        elif isinstance(node, ast.ImportFrom):
            wanted = ["." * node.level + (node.module or "")]
        else:
            wanted = []
        if other := [name for name in wanted if name not in names and name != "__future__"]:
            raise RefusedError(f"import {other[0]}: allowed are {', '.join(names)}")
        for _, value in ast.iter_fields(node):
            for word in value if isinstance(value, list) else [value]:
                if not isinstance(node, ast.Constant | ast.ImportFrom) and is_hidden(word):
                    raise RefusedError(f"{word}: names with two underscores are not allowed")


def is_hidden(word):
    """Say whether a name of the syntax is one of Python's own."""
    return isinstance(word, str) and (word.startswith("__") or word.endswith("__"))


def public_part(module):
    """Return a copy of a module with its public names, without the modules that it imported."""
    copy = types.ModuleType(module.__name__)
    for name in getattr(module, "__all__", None) or dir(module):
        value = getattr(module, name)
        hidden = name.startswith("_") or name in _WITHHELD
        if not hidden and not isinstance(value, types.ModuleType):
            setattr(copy, name, value)
    return copy


def make_builtins(modules):
    """Return the builtins of the candidate; `import` finds the copies of the modules."""

    def find(name, *_, **__):
        if name not in modules:
            raise RefusedError(f"import {name}")
        return modules[name]

    errors = {
        name: value
        for name, value in vars(builtins).items()
        if isinstance(value, type) and issubclass(value, BaseException)
    }
    kept = {name: getattr(builtins, name) for name in _BUILTINS}
    return {**kept, **errors, "__import__": find}


class Candidate(importlib.abc.InspectLoader):
    """Imports a module from its text; no file is read."""

    def __init__(self, text):
        self.text = text

    def get_source(self, fullname):
        """Return the text."""
        return self.text


def load(text, strict):
    """Return the function `features` that the candidate defines."""
    loader = Candidate(text)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("candidate", loader))
    if strict:
        modules = {found.__name__: public_part(found) for found in _MODULES}
        check_syntax(text, list(modules))
        module.__builtins__ = make_builtins({**modules, "__future__": __future__})
    loader.exec_module(module)
    if not callable(getattr(module, "features", None)):
        raise RefusedError("it defines no function features(state)")
    return module.features


def work(request):
    """Lock this process, then run the candidate on every state."""
    layers = request["layers"]
    warnings.simplefilter("ignore")  # to show one, Python would open files
    drop_privileges()
    close_files()
    set_limits(request["cpu_seconds"], request["memory_bytes"])
    filtered = "seccomp" in layers and filter_system_calls()
    say("ready", filtered)
    if "audit" in layers:
        sys.addaudithook(refuse_events)
    features = load(request["text"], "syntax" in layers)
    for state in request["states"]:
        say("row", dict(features(state)))


def run():
    """Run the candidate, and say how it ended where that is not a result."""
    request = json.loads(sys.stdin.buffer.read())
    try:
        work(request)
    except MemoryError:
        say("memory", "it asked for more memory than it may have")
    except RefusedError as error:
        say("refused", str(error)[:500])
    except BaseException as error:  # SystemExit and the like are what a candidate may raise too
        say("error", f"{type(error).__name__}: {error}"[:500])
    _exit(0)


if __name__ == "__main__":
    run()
