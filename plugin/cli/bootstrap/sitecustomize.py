"""Python imports this first in a program that ``detailed-balance record`` starts."""

import os
import sys


def _record_this_process() -> None:
    try:
        import detailed_balance  # noqa: F401 - attaches the recorder where the store is named
    except Exception as error:  # whatever it is, the program goes on without us
        print(f"detailed-balance: nothing is recorded ({error!r})", file=sys.stderr)


# The program may have a sitecustomize of its own, which this one stands in front of.
_HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:] = [path for path in sys.path if os.path.abspath(path or ".") != _HERE]
_this = sys.modules.pop("sitecustomize")
try:
    import sitecustomize  # noqa: F401 - the other one
except ImportError as error:
    sys.modules["sitecustomize"] = _this  # Python looks for it when it has run
    if error.name != "sitecustomize":  # there is another, and it is broken: Python says so
        raise
finally:
    _record_this_process()
