"""``detailed-balance serve SOURCE``: the dashboard in a browser."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from detailed_balance.cli._shared import (
    AlarmLevel,
    Baseline,
    RunUrl,
    Window,
    takes_reader_options,
)
from detailed_balance.render.formatting import safe_text


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="serve")(_serve)


@takes_reader_options
def _serve(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="A store (file or URL), or a trace.")
    ],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.")] = 8765,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="DETAILED_BALANCE_TOKEN",
            help="Access token; required for any address but this machine's own.",
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A host name by which the dashboard is reached."),
    ] = None,
    baseline: Baseline = None,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between two readings.")] = 1.0,
    window: Window = 10_000,
    alpha: AlarmLevel = 0.05,
    run_url: RunUrl = None,
    open_: Annotated[bool, typer.Option("--open", help="Open it in a browser.")] = False,
    *,
    reading: dict[str, Any],
) -> None:
    """Show a record as it grows: its findings and runs, and the landscape, in a browser."""
    from detailed_balance.dashboard import make_server  # loads starlette, uvicorn and scipy

    server = make_server(
        source,
        host=host,
        port=port,
        token=token,
        hosts=allow_host or (),
        baseline=baseline,
        every=every,
        window=window,
        alpha=alpha,
        run_url=run_url,
        **reading,
    )
    socket = server.open_socket()
    _announce(host, socket.getsockname()[1], token, open_)
    server.run(sockets=[socket])


def _announce(host: str, port: int, token: str | None, open_: bool) -> None:
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}/"
    typer.echo(f"Watching at {safe_text(address, 200)} (Ctrl-C ends)", err=True)
    if token is not None:
        typer.echo("Open it with ?token=... once; a cookie remembers it.", err=True)
    if open_:
        typer.launch(address if token is None else f"{address}?token={token}")
