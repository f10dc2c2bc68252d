"""`serve`, the dashboard as a program."""

from __future__ import annotations

import socket
from collections.abc import Collection
from types import FrameType
from typing import Any

import uvicorn

from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.dashboard._security import check_address
from detailed_balance.dashboard.app import build_app

__all__ = ["make_server", "serve"]


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
            limit_concurrency=256,
            timeout_graceful_shutdown=3,
            ws="none",
        )
    )


def serve(source: object, **settings: Any) -> None:
    """Serve the dashboard until Ctrl-C; the settings are those of `make_server`."""
    server = make_server(source, **settings)
    server.run(sockets=[server.open_socket()])
