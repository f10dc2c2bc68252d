"""Find every function of the recorder, and break one at a time, for the tests of harmlessness."""

import importlib
import inspect
import pkgutil
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
def broken(function):
    """Let `function` raise wherever it is called, however it was imported or bound before."""
    CALLS.clear()
    code = function.__code__
    function.__code__ = _broken.__code__.replace(co_freevars=code.co_freevars)
    try:
        yield CALLS
    finally:
        function.__code__ = code
