"""`serve`, the dashboard as a program."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Collection
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.dashboard._security import check_address
from detailed_balance.dashboard.app import build_app

__all__ = ["make_server", "serve"]


class TimedProtocol(H11Protocol):
    """HTTP that hangs up on a client that does not finish its request in time.

    Without it, clients that send a header a byte at a time would take the places of all others.

    Attributes
    ----------
    deadline : float
        Seconds for a request to arrive.
    """

    deadline = 10.0
    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Take a part of a request; where it is whole, stop the clock."""
        super().data_received(data)
        if self._is_answering():
            self._stop_waiting()
        else:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _wait(self) -> None:
        if self._late is None:
            self._late = self.loop.call_later(self.deadline, self._hang_up)

    def _stop_waiting(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _hang_up(self) -> None:
        self._late = None
        if not self._is_answering():
            self.transport.close()


class DashboardServer(uvicorn.Server):
    """A server that hangs up pages that stay open when it is to end, and so ends at once."""

    def open_socket(self) -> socket.socket:
        """Listen, so that an address that cannot be had is said before anything is read.

        Raises
        ------
        InvalidInputError
            Where another program has the port, or the address is none of this machine's.
        """
        host, port = self.config.host, self.config.port
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            return socket.create_server((host, port), family=family)
        except OSError as error:
            raise InvalidInputError(
                f"cannot listen at {host} port {port}: {error.strerror}; "
                "choose another port or address"
            ) from None

    def end(self) -> None:
        """End soon; from any thread."""
        self._hang_up()
        self.should_exit = True

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """End on Ctrl-C; at the second one at once."""
        self._hang_up()
        super().handle_exit(sig, frame)

    def _hang_up(self) -> None:
        app: Any = self.config.app
        app.state.api.ending = True


def make_server(
    source: object,
    *,
    host: str = "127.0.0.1",
    port: int = 8765,
    token: str | None = None,
    hosts: Collection[str] = (),
    **settings: Any,
) -> DashboardServer:
    """Return a server of the dashboard that is ready to run.

    Raises
    ------
    InvalidInputError
        Where `host`, or a name in `hosts`, is not this machine's own and there is no token.
    """
    names = {name.lower() for name in (host, *hosts)}
    for name in names:
        check_address(name, token)
    app = build_app(source, token=token, hosts=names, **settings)
    return DashboardServer(
        uvicorn.Config(
            app,
            host=host,
            port=port,
            access_log=False,  # it would hold the token
            log_level="warning",
            proxy_headers=False,
            server_header=False,
            http=TimedProtocol,
            limit_concurrency=256,
            timeout_graceful_shutdown=3,
            ws="none",
        )
    )


def serve(source: object, **settings: Any) -> None:
    """Serve the dashboard until Ctrl-C; the settings are those of `make_server`."""
    server = make_server(source, **settings)
    server.run(sockets=[server.open_socket()])
