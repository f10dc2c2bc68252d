"""Settings of all tests: how long an example takes says nothing on a busy machine."""

import os

from hypothesis import settings

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # more threads only wait for each other here
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")
