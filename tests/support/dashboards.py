"""A dashboard on a monitor whose status is written by hand."""

import threading
import time
from contextlib import contextmanager
from itertools import pairwise

from detailed_balance import Finding, Transition, TransitionStore
from detailed_balance.dashboard import make_server
from detailed_balance.monitor import Alert, Status

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</title></style><svg onload=alert(1)>",
    "javascript:alert(1)",
    "{{constructor.constructor('alert(1)')()}}",
    "\x1b]0;title\x07\x1b[2J\x1b[31mred",
    "'; DROP TABLE detailed_balance_states; --",
    '=HYPERLINK("http://example.invalid","x")',
    "+1+cmd|' /C calc'!A0",
    "@SUM(1)",
    "-2+3",
    "../../../../etc/passwd",
    "right \u202e to left \u2066 and \u200f marks",
    "nul \x00 inside",
    "lone \ud800 surrogate",
    "__proto__",
    "constructor",
    "",
    " ",
    "line\none\r\nline two",
    "x" * 1_000_000 + "<b>",
    "漢字カタカナ🙂",
]
"""State keys as a language model under attack might write them."""


class FakeMonitor:
    """Counts what the source holds, and says of it what the test wrote."""

    def __init__(self, source, context, **says):
        self.source, self.context, self.says = source, context, says
        self.ended = threading.Event()

    def start(self):
        return self

    def stop(self):
        self.ended.set()

    def counts(self):
        if isinstance(self.source, TransitionStore):
            return self.source.counts(context=self.context or None)
        return self.source.snapshot(self.context or None)

    def potential(self):
        return None

    def status(self):
        counts = self.counts()
        numbers = {
            "transitions": counts.total,
            "escapes": int(counts.escapes.sum()),
            "states": len(counts),
            "edges": counts.counts.nnz,
        }
        rest = {"trajectories": 1, "started": 0.0, "updated": 1.0, "lag": 0.01, "lost": 0}
        test = {"alpha": 0.05, "log_e_value": 5.0, "alarm": True}
        evidence = ((1.0, 3, 0.0), (2.0, 6, 5.0))
        return Status(
            "test", self.context, **numbers, **rest, **test, evidence=evidence, **self.says
        )


def fake(**says):
    return lambda source, context: FakeMonitor(source, context, **says)


def alert(states, *, kind="driven", status="open", number="f1", severity="watch", **more):
    finding = Finding(kind, severity, more.pop("title", "a loop is driven"), tuple(states), **more)
    resolved = 3.0 if status == "resolved" else None
    return Alert(number, finding, status, 1.0, 2.0, resolved)


def path_store(*paths, times=None, url="sqlite://", **labels):
    """Return a store with one run along each path."""
    store = TransitionStore(url)
    context = tuple(sorted(labels.items()))
    for number, path in enumerate(paths):
        moves = pairwise(path)
        store.append(
            Transition(a, b, f"run {number}", context, step, 1000.0 + step)
            for step, (a, b) in enumerate(moves)
        )
    return store


@contextmanager
def served(source, **settings):
    """Serve a dashboard from a thread; yields its address."""
    server = make_server(source, port=0, **settings)
    listening = server.open_socket()
    port = listening.getsockname()[1]
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.end()
        thread.join(10)
