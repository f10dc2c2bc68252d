"""`detailed-balance watch SOURCE`: follow a record that grows."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from collections.abc import Collection, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.live import Live

from detailed_balance.cli._shared import (
    ERROR,
    FOUND,
    AlarmLevel,
    Baseline,
    Window,
    parse_conditions,
    parse_context,
    takes_reader_options,
)

# What is imported in functions loads scipy, which other commands do without.
if TYPE_CHECKING:
    from detailed_balance.monitor import Event, Monitor
    from detailed_balance.monitor.sinks import Sink


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="watch")(_watch)


@takes_reader_options
def _watch(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE", help="A store, by path or URL, or a JSON Lines file that grows."
        ),
    ],
    every: Annotated[float, typer.Option(min=0.05, help="Seconds between two readings.")] = 2.0,
    baseline: Baseline = None,
    context: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Keep only records with this label."),
    ] = None,
    window: Window = 5_000,
    alpha: AlarmLevel = 0.05,
    block: Annotated[
        str | None, typer.Option(metavar="NAME", help="The label of the task of a run, or thread.")
    ] = None,
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
    from detailed_balance.diagnosis import FINDING_KINDS
    from detailed_balance.monitor import Monitor

    conditions = parse_conditions(fail_on or ["problem"], ("problem", *FINDING_KINDS))

    # What goes wrong is a finding here, and needs no traceback.
    logging.getLogger("detailed_balance").addHandler(logging.NullHandler())
    # What others read goes to the standard output alone; then the words go beside it.
    console = Console(stderr=jsonl == "-", highlight=False, markup=False, soft_wrap=True)
    live = console.is_interactive and not once
    sinks = _make_sinks(jsonl, notify or [])
    services = [sink for sink in sinks if hasattr(sink, "undelivered")]
    if not live:
        sinks.append(_Printer(console))
    monitor = Monitor(
        source,
        every=every,
        sinks=sinks,
        context=parse_context(context or []),
        baseline=baseline,
        window=window,
        alpha=alpha,
        block=block,
        state=state,
        **reading,
    )
    if once:
        monitor.stop()
        code = _report(monitor, console, conditions)
        raise typer.Exit(_report_losses(services) or code)
    with ExitStack() as stack:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        if metrics_port is not None:
            from detailed_balance.monitor.sinks.prometheus import MetricsServer

            server = stack.enter_context(MetricsServer(monitor.status, metrics_port))
            typer.echo(f"metrics at http://127.0.0.1:{server.port}/metrics", err=True)
        stack.enter_context(suppress(KeyboardInterrupt))
        stack.enter_context(monitor)
        _show(monitor, console) if live else _follow(monitor, console)
    if code := _report_losses(services):
        raise typer.Exit(code)


class _Printer:
    """Write each event as a line."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def emit(self, event: Event) -> None:
        from detailed_balance.cli._screen import describe_event

        self._console.out(describe_event(event))


def _make_sinks(jsonl: str | None, urls: list[str]) -> list[Sink]:
    from detailed_balance.monitor import JsonLinesSink
    from detailed_balance.monitor.sinks.notify import NotifySink

    sinks: list[Sink] = [] if jsonl is None else [JsonLinesSink(jsonl)]
    return [*sinks, *map(NotifySink, urls)]


def _report(monitor: Monitor, console: Console, conditions: Collection[str]) -> int:
    """Print the first screen, and return the exit code."""
    from detailed_balance.cli._screen import describe_status
    from detailed_balance.diagnosis.finding import finding_id

    status = monitor.status()
    console.out(str(status.verdict))
    console.out(describe_status(status))
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


def _follow(monitor: Monitor, console: Console) -> None:
    """Wait; events are written as they come."""
    from detailed_balance.cli._screen import describe_status

    while any(analysis.ran is None for analysis in monitor.status().analyses):
        threading.Event().wait(0.1)  # until what is there has been read and looked at
    status = monitor.status()
    console.out(f"watching {status.source}: {describe_status(status)}")
    console.out(str(status.verdict))
    sys.stdout.flush()
    while True:
        threading.Event().wait(3600)


def _show(monitor: Monitor, console: Console) -> None:
    """Draw the screen again and again, and leave the last one there."""
    from detailed_balance.cli._screen import render_status

    def draw() -> Any:
        return render_status(monitor.status())

    console.soft_wrap = False
    with Live(get_renderable=draw, console=console, refresh_per_second=2):
        while True:
            threading.Event().wait(3600)
