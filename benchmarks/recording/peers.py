"""The handlers that `overhead.py` compares: ours, one that does nothing, and what others offer.

Each entry of a `Peers` table makes a fresh handler for one run and says how to wait for what it
does in the background. Nothing leaves this machine: the exporters keep in memory, the client of
`LangChainTracer` has a session that throws away what it is to send, and to connect is an error.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import requests
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.tracers import LangChainTracer
from langsmith import Client

from detailed_balance.callbacks import TransitionCallbackHandler, TransitionStore

__all__ = [
    "AGAIN",
    "EMPTY",
    "NOTHING",
    "OURS",
    "OURS_STORED",
    "Attached",
    "Peers",
    "find_peers",
]

NOTHING, EMPTY, AGAIN = "nothing", "empty handler", "empty handler again"
OURS, OURS_STORED = "ours, graph", "ours, graph and SQLite"


class Attached(NamedTuple):
    """What is attached to one run."""

    callbacks: list[BaseCallbackHandler]
    settle: Callable[[int], object] = lambda steps: None
    """Wait until all is done, and check that a run of so many steps was recorded."""


Peers: TypeAlias = dict[str, Callable[[], Attached]]


def _ignore(self: Any, *args: Any, **kwargs: Any) -> None:
    """Do nothing."""


_HOOKS = [name for name in dir(BaseCallbackHandler) if name.startswith("on_")]
EmptyHandler = type(
    "EmptyHandler",
    (BaseCallbackHandler,),
    {"run_inline": True, **dict.fromkeys(_HOOKS, _ignore)},
)
"""Every hook defined, and empty: what LangChain's dispatch costs by itself."""


def find_peers(folder: Path, *, others: bool = True) -> tuple[Peers, list[str]]:
    """Return what is installed, and the names of what is not; without `others` ours alone."""
    stay_here()
    store = TransitionStore(f"sqlite:///{folder / 'transitions.db'}")
    peers: Peers = {
        NOTHING: lambda: Attached([]),
        EMPTY: lambda: Attached([EmptyHandler()]),
        AGAIN: lambda: Attached([EmptyHandler()]),  # what the noise does to a ratio of 1
        OURS: lambda: _ours(None),
        OURS_STORED: lambda: _ours(store),
    }
    tools = {
        "LangChainTracer": _langchain_tracer,
        "OpenInference": _openinference,
        "Langfuse": _langfuse,
    }
    missing = []
    for name, prepare in tools.items() if others else ():
        try:
            peers[name] = prepare()
        except ImportError as error:
            missing.append(f"{name} ({error})")
    return peers, missing


def stay_here() -> None:
    """Let nothing in this process connect to anything, and no tracer start by itself."""

    def refuse(self: socket.socket, address: Any) -> None:
        raise ConnectionError(f"a benchmark connects to nothing; asked for {address!r}")

    socket.socket.connect = refuse  # type: ignore[method-assign]
    for name in ("LANGSMITH_TRACING", "LANGSMITH_TRACING_V2", "LANGCHAIN_TRACING_V2"):
        os.environ[name] = "false"


def _ours(store: TransitionStore | None) -> Attached:
    handler = TransitionCallbackHandler(store=store)

    def settle(steps: int) -> None:
        handler.flush()
        assert handler.graph.snapshot().total >= steps
        assert handler.faults == 0
        assert store is None or store.lost == 0

    return Attached([handler], settle)


def _langchain_tracer() -> Callable[[], Attached]:
    sent = []

    class Session(requests.Session):
        """Throws away what it is to send."""

        def request(self, method: str, url: str, **how: Any) -> requests.Response:
            sent.append(url)
            response = requests.Response()
            response.status_code, response._content = 202, b"{}"
            return response

    client = Client(
        "http://localhost", api_key="none", session=Session(), info={}, disable_prompt_cache=True
    )

    def settle(steps: int) -> None:
        client.flush()
        assert sent
        sent.clear()

    return lambda: Attached([LangChainTracer(client=client)], settle)


def _openinference() -> Callable[[], Attached]:
    from openinference.instrumentation import OITracer, TraceConfig
    from openinference.instrumentation.langchain._tracer import OpenInferenceTracer
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    provider, exporter = TracerProvider(), InMemorySpanExporter()
    provider.add_span_processor(BatchSpanProcessor(exporter))
    tracer = OITracer(provider.get_tracer("benchmark"), config=TraceConfig())
    settle = _spans(provider, exporter)
    return lambda: Attached([OpenInferenceTracer(tracer, False)], settle)


def _langfuse() -> Callable[[], Attached]:
    from langfuse import Langfuse
    from langfuse.langchain import CallbackHandler
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    provider, exporter = TracerProvider(), InMemorySpanExporter()
    Langfuse(
        public_key="none",
        secret_key="none",  # noqa: S106 - there is nobody to tell
        base_url="http://localhost",
        tracer_provider=provider,
        span_exporter=exporter,
    )
    settle = _spans(provider, exporter)
    return lambda: Attached([CallbackHandler(public_key="none")], settle)


def _spans(provider: Any, exporter: Any) -> Callable[[int], None]:
    """Return how to wait for the spans of a run, and to forget them."""

    def settle(steps: int) -> None:
        provider.force_flush()
        assert len(exporter.get_finished_spans()) > steps
        exporter.clear()

    return settle
