"""State functions by name: those of the library, and those of a module of the user's own."""

from __future__ import annotations

import sys
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from traceback import format_exception_only
from typing import TYPE_CHECKING, Any, cast

from detailed_balance.analyzers.errors import InvalidInputError

if TYPE_CHECKING:
    from types import ModuleType

    from detailed_balance.callbacks.states import ModelCallStates, StateFunction

__all__ = ["STATE_NAMES", "check_states", "find_states"]

STATE_NAMES = ("actions", "nodes", "tools", "nodes+tools")
"""The names of state functions of the library."""


def check_states(name: str, *, own: bool = True) -> str:
    """Return the name of a state function, if it can be one; nothing is imported.

    Parameters
    ----------
    name : str
        One of `STATE_NAMES`, or ``module:function``.
    own : bool
        Whether ``module:function`` is allowed.

    Raises
    ------
    InvalidInputError
        Where it is neither.

    Examples
    --------
    >>> check_states("tools"), check_states("my_agent.states:name_node")
    ('tools', 'my_agent.states:name_node')
    """
    parts = [*name.partition(":")[::2]]
    if name in STATE_NAMES or (own and all(_is_dotted(part) for part in parts)):
        return name
    close = get_close_matches(name, STATE_NAMES, n=1)
    like = f"is it {close[0]}? " if close else ""
    also = ", and module:function for one of your own" if own else ""
    raise InvalidInputError(
        f"there is no state function {name[:100]!r}; {like}allowed are "
        f"{', '.join(STATE_NAMES)}{also}"
    )


def _is_dotted(name: str) -> bool:
    return all(part.isidentifier() for part in name.split("."))


def find_states(name: str) -> StateFunction | ModelCallStates:
    """Return the state function of a name; ``module:function`` imports the module.

    Parameters
    ----------
    name : str
        As for `check_states`.

    Raises
    ------
    InvalidInputError
        Where there is none of this name, its module cannot be imported, or it is no function.

    Examples
    --------
    >>> find_states("tools")
    ToolStates(arguments=())
    """
    from detailed_balance.callbacks.states import (
        ActionStates,
        ModelCallStates,
        NodeStates,
        ToolStates,
    )

    check_states(name)
    if name in STATE_NAMES:
        functions = (ActionStates(), NodeStates(), ToolStates(), NodeStates() + ToolStates())
        return functions[STATE_NAMES.index(name)]
    module, _, function = name.partition(":")
    try:
        found: Any = _load(module)
        for part in function.split("."):
            found = getattr(found, part)
    except Exception as error:  # whatever a user's module raises
        last = format_exception_only(error)[-1].strip()
        raise InvalidInputError(f"the state function {name} cannot be loaded: {last}") from None
    if isinstance(found, type) or not (callable(found) or isinstance(found, ModelCallStates)):
        kind = "a class; name an instance of it" if isinstance(found, type) else "not callable"
        raise InvalidInputError(
            f"the state function {name} is {kind}; it takes a NodeRun and returns a text, several "
            "or None"
        )
    return cast("StateFunction", found)


def _load(module: str) -> ModuleType:
    """Import a module; the program that runs now is not run again."""
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    running = Path(getattr(main, "__file__", None) or "").stem if spec is None else spec.name
    return main if running == module else import_module(module)
