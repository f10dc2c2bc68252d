"""Python imports this first in a program that ``detailed-balance record`` starts."""

import contextlib
import os
import sys

# The program may have a sitecustomize of its own, which this one stands in front of.
_HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:] = [path for path in sys.path if os.path.abspath(path or ".") != _HERE]
sys.modules.pop("sitecustomize", None)
with contextlib.suppress(ImportError):
    import sitecustomize  # noqa: F401 - the other one

try:
    from detailed_balance.callbacks.automatic import install

    install()
except Exception as error:
    print(f"detailed-balance: nothing is recorded ({error!r})", file=sys.stderr)
