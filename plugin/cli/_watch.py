"""``watch SOURCE`` and ``serve SOURCE``: a record that grows, in a terminal or in a browser."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.live import Live

from detailed_balance.cli._options import (
    AlarmLevel,
    Baseline,
    FollowedArgument,
    OpenBrowser,
    RunUrl,
    Window,
    parse_conditions,
    takes_followed_options,
)
from detailed_balance.cli._output import (
    ERROR,
    FOUND,
    NOBODY_READS,
    STDOUT,
    is_quiet,
    note,
    say,
)
from detailed_balance.render.formatting import safe_text

# What is imported in functions loads scipy, which other commands do without.
if TYPE_CHECKING:
    from detailed_balance.monitor import Monitor
    from detailed_balance.monitor.sinks import Sink


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(name="serve")(_serve)
    app.command(name="watch")(_watch)


@takes_followed_options
def _watch(
    source: FollowedArgument,
    every: Annotated[float, typer.Option(min=0.05, help="Seconds between two readings.")] = 2.0,
    baseline: Baseline = None,
    window: Window = 5_000,
    alpha: AlarmLevel = 0.05,
    state: Annotated[
        Path | None,
        typer.Option(help="Save the state of the monitor in this file, to survive restarts."),
    ] = None,
    jsonl: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Append each event as JSON; - is the standard output."),
    ] = None,
    notify: Annotated[
        list[str] | None,
        typer.Option(
            metavar="URL",
            envvar="DETAILED_BALANCE_NOTIFY",
            help="Send each event there, by an Apprise URL: slack://..., mailto://..., jsons://...",
        ),
    ] = None,
    metrics_port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Serve /metrics for Prometheus on 127.0.0.1."),
    ] = None,
    once: Annotated[
        bool,
        typer.Option("--once", help="Read once and exit; with code 2 where --fail-on says so."),
    ] = False,
    fail_on: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WHAT",
            help="With --once, exit with 2 on an open finding: problem (the default) is any that "
            "is one, or name kinds, such as limit,repetition. Several, or with commas.",
        ),
    ] = None,
    *,
    reading: dict[str, Any],
) -> None:
    """Follow a record that grows: report what goes wrong, in which runs, and when it is over."""
    from detailed_balance.cli._screen import describe_event
    from detailed_balance.diagnosis import FINDING_KINDS
    from detailed_balance.monitor import Monitor

    conditions = parse_conditions(fail_on or ["problem"], ("problem", *FINDING_KINDS))

    # What goes wrong is a finding here, and needs no traceback.
    logging.getLogger("detailed_balance").addHandler(logging.NullHandler())
    # What others read goes to the standard output alone; then the words go beside it.
    tell = note if jsonl == "-" else say
    console = Console(stderr=jsonl == "-", highlight=False, markup=False)
    live = console.is_interactive and not (once or is_quiet())
    sinks = _make_sinks(jsonl, notify or [])
    services = [sink for sink in sinks if hasattr(sink, "undelivered")]
    if not live:
        sinks.append(lambda event: tell(describe_event(event)))
    monitor = Monitor(
        source,
        every=every,
        sinks=sinks,
        baseline=baseline,
        window=window,
        alpha=alpha,
        state=state,
        **reading,
    )
    if once:
        monitor.stop()
        code = _report(monitor, tell, conditions)
        raise typer.Exit(_report_losses(services) or code)
    with ExitStack() as stack:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        if metrics_port is not None:
            from detailed_balance.monitor.sinks.prometheus import MetricsServer

            server = stack.enter_context(MetricsServer(monitor.status, metrics_port))
            note(f"metrics at http://127.0.0.1:{server.port}/metrics")
        stack.enter_context(suppress(KeyboardInterrupt))
        stack.enter_context(monitor)
        _show(monitor, console) if live else _follow(monitor, tell)
    if code := _report_losses(services):
        raise typer.Exit(code)


def _make_sinks(jsonl: str | None, urls: list[str]) -> list[Sink]:
    from detailed_balance.monitor import JsonLinesSink
    from detailed_balance.monitor.sinks.notify import NotifySink

    sinks: list[Sink] = [] if jsonl is None else [JsonLinesSink(STDOUT if jsonl == "-" else jsonl)]
    return [*sinks, *map(NotifySink, urls)]


def _report(monitor: Monitor, tell: Callable[[str], None], conditions: Collection[str]) -> int:
    """Print the first screen, and return the exit code."""
    from detailed_balance.cli._screen import describe_status
    from detailed_balance.diagnosis.finding import finding_id

    status = monitor.status()
    tell(str(status.verdict))
    tell(describe_status(status))
    if finding_id("loss", ["source"]) in {alert.id for alert in status.alerts if alert.is_open}:
        return ERROR
    found = {word for finding in status.findings for word in (finding.severity, *finding.kinds)}
    return FOUND if found & set(conditions) else 0


def _report_losses(services: Sequence[Any]) -> int:
    """Say what services did not take, and return the exit code."""
    for service in services:
        if lost := service.undelivered:
            events = "1 event was" if lost == 1 else f"{lost:,} events were"
            typer.echo(f"{events} not delivered to {service.service}", err=True)
    return ERROR if any(service.undelivered for service in services) else 0


def _follow(monitor: Monitor, tell: Callable[[str], None]) -> None:
    """Wait, as long as somebody reads; events are written as they come."""
    from detailed_balance.cli._screen import describe_status

    while any(analysis.ran is None for analysis in monitor.status().analyses):
        threading.Event().wait(0.1)  # until what is there has been read and looked at
    status = monitor.status()
    tell(f"watching {status.source}: {describe_status(status)}")
    tell(str(status.verdict))
    while not NOBODY_READS.wait(3600):
        pass


def _show(monitor: Monitor, console: Console) -> None:
    """Draw the screen again and again, and leave the last one there."""
    from detailed_balance.cli._screen import render_status

    def draw() -> Any:
        return render_status(monitor.status())

    with Live(get_renderable=draw, console=console, refresh_per_second=2):
        while True:
            threading.Event().wait(3600)


@takes_followed_options
def _serve(
    source: FollowedArgument,
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
    open_: OpenBrowser = False,
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
    note(f"Watching at {safe_text(address, 200)} (Ctrl-C ends)")
    if token is not None:
        note("Open it with ?token=... once; a cookie remembers it.")
    if open_:
        typer.launch(address if token is None else f"{address}?token={token}")
