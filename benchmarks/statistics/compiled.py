"""The live test in C, for calibration over thousands of runs; checked against the library."""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
from itertools import pairwise
from pathlib import Path

import numpy as np

from detailed_balance.analyzers import BalanceMartingale

__all__ = ["Compiled"]


class Compiled:
    """The functions of martingale.c, built with the system's C compiler."""

    def __init__(self) -> None:
        source = Path(__file__).with_name("martingale.c")
        self._folder = tempfile.TemporaryDirectory()
        library = Path(self._folder.name) / "martingale.so"
        build = ["cc", "-O2", "-shared", "-fPIC", "-o", str(library), str(source), "-lm"]
        subprocess.run(build, check=True)  # noqa: S603 - a fixed command
        self._c = ctypes.CDLL(str(library))
        self._c.run.restype = ctypes.c_long
        self._c.draw.restype = None

    def walk(self, kernel: np.ndarray, steps: int, rng: np.random.Generator) -> np.ndarray:
        """Walk an (n, n) kernel; return (steps + 1,) states."""
        cumulative = np.ascontiguousarray(np.cumsum(kernel, axis=1))
        walk = np.empty(steps + 1, dtype=np.uint8)
        walk[0] = rng.integers(len(kernel))
        seed = rng.integers(1, 2**63, size=4, dtype=np.uint64)
        size = ctypes.c_int(len(kernel)), ctypes.c_long(steps)
        self._c.draw(_pointer(cumulative), *size, _pointer(seed), _pointer(walk))
        return walk

    def run(
        self, walks: np.ndarray, n: int, alpha: float, *, stop: bool = True
    ) -> tuple[int, float, int]:
        """Interleave (k, steps + 1) walks; return when it alarmed (or -1), log E, the loops."""
        walks = np.ascontiguousarray(walks)
        log_e, loops = ctypes.c_double(), ctypes.c_long()
        sizes = ctypes.c_long(len(walks)), ctypes.c_long(walks.shape[1] - 1), ctypes.c_int(n)
        out = ctypes.byref(log_e), ctypes.byref(loops)
        alarm = self._c.run(_pointer(walks), *sizes, ctypes.c_double(alpha), int(stop), *out)
        return alarm, log_e.value, loops.value

    def check(self, kernel: np.ndarray, steps: int, trajectories: int, seed: int) -> None:
        """Raise where the library gives another e-value, alarm or number of loops."""
        rng = np.random.default_rng(seed)
        walks = np.array([self.walk(kernel, steps, rng) for _ in range(trajectories)])
        alarm, log_e, loops = self.run(walks, len(kernel), 0.05, stop=False)
        live = BalanceMartingale(0.05)
        for step in zip(*(pairwise(map(str, walk)) for walk in walks.tolist()), strict=True):
            for name, (source, target) in enumerate(step):
                live.update(str(name), source, target)
        assert live.completed == loops
        assert live.alarm == (alarm >= 0)
        assert abs(live.log_e_value - log_e) < 1e-8, (live.log_e_value, log_e)


def _pointer(array: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)
