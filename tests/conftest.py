"""Settings of all tests: how long an example takes says nothing on a busy machine."""

import gc
import os

from hypothesis import settings

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # more threads only wait for each other here
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")
gc.disable()  # until all tests are collected, of which nothing is garbage


def pytest_collection_finish() -> None:
    """Leave the tests out of every collection of garbage, which took a third of the time."""
    gc.freeze()
    gc.enable()
