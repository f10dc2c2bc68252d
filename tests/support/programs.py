"""Files run as `python FILE` runs them, but in this process: to import an agent takes seconds."""

import io
import os
import runpy
import sys
from contextlib import redirect_stdout
from pathlib import Path
from unittest.mock import patch

import pytest


def run_file(file, *arguments):
    """Run a file as the main module, with names of its own, and return what it printed.

    What it does to its arguments, its search path and its environment is undone; modules that it
    imports stay. A file that changes the process in other ways needs a process of its own.
    """
    file = Path(file).resolve()
    with (
        pytest.MonkeyPatch.context() as own,
        patch.dict(os.environ),
        redirect_stdout(io.StringIO()) as printed,
    ):
        own.setattr(sys, "argv", [str(file), *arguments])
        own.syspath_prepend(file.parent)
        runpy.run_path(str(file), run_name="__main__")
    return printed.getvalue()
