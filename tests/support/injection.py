"""Find every function of the recorder, and break one at a time, for the tests of harmlessness."""

import importlib
import inspect
import pkgutil
import sys
import threading
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import detailed_balance.callbacks

CALLS = []
"""One entry for each call of the function that is broken now."""


class InjectedError(Exception):
    """What a broken function raises."""


def hit():
    CALLS.append(1)
    raise InjectedError("injected")


def _broken(*args, **kwargs):
    from tests.support.injection import (
        hit,  # the code runs as that of another module, without the names of this
    )

    hit()


def _innermost(value):
    """Return the plain function inside decorators, properties and class methods, if any."""
    while not inspect.isfunction(value) or hasattr(value, "__wrapped__"):
        if isinstance(value, property):
            value = value.fget
        elif isinstance(value, cached_property):
            value = value.func
        elif hasattr(value, "__wrapped__"):
            value = value.__wrapped__
        elif isinstance(value, (classmethod, staticmethod)):
            value = value.__func__
        else:
            return None
    return value


def _members(module):
    for value in vars(module).values():
        if inspect.isclass(value) and value.__module__ == module.__name__:
            yield from vars(value).values()
        else:
            yield value


def find_functions():
    """Return every function that is written in `callbacks/`, by its name."""
    package = detailed_balance.callbacks
    found = {}
    for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        module = importlib.import_module(info.name)
        for function in filter(None, map(_innermost, _members(module))):
            if Path(function.__code__.co_filename) == Path(module.__file__):
                name = f"{info.name.rpartition('.')[2]}.{function.__qualname__}"
                found[name] = function
    return found


@contextmanager
def watched(functions):
    """Yield a set that grows by the names of the functions that this thread and new ones call."""
    names = {function.__code__: name for name, function in functions.items()}
    called = set()

    def note(frame, event, arg):
        if event == "call" and frame.f_code in names:
            called.add(names[frame.f_code])

    before = threading.getprofile(), sys.getprofile()
    threading.setprofile(note)
    sys.setprofile(note)
    try:
        yield called
    finally:
        threading.setprofile(before[0])
        sys.setprofile(before[1])


@contextmanager
def broken(*functions):
    """Let functions raise wherever they are called, however they were imported or bound before."""
    CALLS.clear()
    codes = [function.__code__ for function in functions]
    for function, code in zip(functions, codes, strict=True):
        function.__code__ = _broken.__code__.replace(co_freevars=code.co_freevars)
    try:
        yield CALLS
    finally:
        for function, code in zip(functions, codes, strict=True):
            function.__code__ = code
