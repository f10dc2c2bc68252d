"""Record the state transitions of LLM agents, and find where they want to go and what drives them.

The names here are the everyday ones; `detailed_balance.callbacks` records, and
`detailed_balance.analyzers` measures.
"""

import os
from importlib import import_module
from typing import Any

import lazy_loader

# Loaded when first asked for, so that the mathematics needs neither LangChain nor SQLAlchemy. The
# names are listed once, in __init__.pyi.
_load, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__.append("__version__")

if os.environ.get("DETAILED_BALANCE_STORE"):  # then all agents of this process are recorded
    from detailed_balance.callbacks.recorder.record import install as _install

    _install()


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module("importlib.metadata").version("detailed-balance")
    return _load(name)
