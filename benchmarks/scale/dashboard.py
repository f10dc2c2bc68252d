"""What each view of the dashboard costs at 10,000 states and 100,000 edges.

    python -m benchmarks.scale.dashboard [--states 10000] [--edges 100000] [--browser]

Prints bytes and milliseconds of each view, next to sending all states and edges; with
``--browser`` also the longest task of the page in Chromium while it loads, is zoomed and is told
of news (needs playwright and a Chromium on the path).
"""

from __future__ import annotations

import argparse
import gzip
import json
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from detailed_balance import Transition, TransitionStore
from detailed_balance.dashboard import make_server
from detailed_balance.dashboard._ids import state_id

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]


def fill(path: Path, states: int, edges: int) -> None:
    """Write a random graph whose states differ in how often they are visited."""
    rng = np.random.default_rng(0)
    weight = rng.pareto(1.5, states) + 0.1
    weight /= weight.sum()
    # A ring joins all states, the rest goes where the weight is.
    source = np.r_[np.arange(states), rng.integers(0, states, edges - states)]
    target = np.r_[(np.arange(states) + 1) % states, rng.choice(states, edges - states, p=weight)]
    counts = rng.integers(1, 20, edges)
    now = time.time()
    with TransitionStore(f"sqlite:///{path}") as store:
        store.append(
            Transition(f"state {a}", f"state {b}", f"run {i % 1000}", (), i, now - 100, int(n))
            for i, (a, b, n) in enumerate(
                zip(source.tolist(), target.tolist(), counts.tolist(), strict=True)
            )
        )


def measure(client: httpx.Client, path: str, repeats: int = 5) -> tuple[int, int, float]:
    """Return bytes, bytes as sent, and the median of milliseconds."""
    took = []
    for _ in range(repeats):
        began = time.perf_counter()
        answer = client.get(path)
        took.append(1000 * (time.perf_counter() - began))
        answer.raise_for_status()
    return len(answer.content), len(gzip.compress(answer.content, 5)), statistics.median(took)


def send_all(path: Path) -> tuple[int, int, float]:
    """Return the same of a view that would send every state and every edge."""
    with TransitionStore(f"sqlite:///{path}", create=False) as store:
        counts = store.counts()
    began = time.perf_counter()
    edges = counts.counts.tocoo()
    rows = zip(edges.row.tolist(), edges.col.tolist(), edges.data.tolist(), strict=True)
    body = json.dumps({
        "nodes": [{"id": state_id(s), "label": s} for s in counts.states],
        "edges": [
            {"source": state_id(counts.states[i]), "target": state_id(counts.states[j]), "count": n}
            for i, j, n in rows
        ],
    }).encode()  # fmt: skip
    took = 1000 * (time.perf_counter() - began)
    return len(body), len(gzip.compress(body, 5)), took


def watch_browser(address: str) -> None:
    """Print the longest tasks of the page."""
    from playwright.sync_api import sync_playwright

    names = map(shutil.which, ["chromium", "chromium-browser", "google-chrome"])
    chromium = next(filter(None, names))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        with traced(browser, page, "opening the page"):
            page.goto(address)
            page.get_by_text("arrows").wait_for(timeout=60_000)
            page.wait_for_timeout(1_500)
        with traced(browser, page, "zooming ten times"):
            for name in ("Zoom in", "Zoom out"):
                for _ in range(5):
                    page.get_by_role("button", name=name).click()
                    page.wait_for_timeout(150)
        with traced(browser, page, "moving the graph about"):
            page.mouse.move(400, 640)
            page.mouse.down()
            for step in range(30):
                page.mouse.move(400 + 6 * step, 640 - 4 * step)
            page.mouse.up()
        with traced(browser, page, "ten seconds of news"):
            page.wait_for_timeout(10_000)
        browser.close()


@contextmanager
def traced(browser: Any, page: Any, what: str) -> Iterator[None]:
    """Print the tasks of the page's own thread, by the clock and by its processor time."""
    browser.start_tracing(page=page, categories=["toplevel", "devtools.timeline", "__metadata"])
    yield
    events = json.loads(browser.stop_tracing())["traceEvents"]
    names = {"CrRendererMain"}
    threads = {
        (e["pid"], e["tid"])
        for e in events
        if e["name"] == "thread_name" and e["args"]["name"] in names
    }
    tasks = [
        (e.get("dur", 0) / 1000, e.get("tdur", 0) / 1000)
        for e in events
        if e["name"].endswith("RunTask") and (e["pid"], e["tid"]) in threads
    ]
    clock, own = (max(column, default=0.0) for column in zip(*tasks, strict=True))
    print(f"| {what} | {len(tasks):,} | {clock:.0f} | {own:.0f} |")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--states", type=int, default=10_000)
    parser.add_argument("--edges", type=int, default=100_000)
    parser.add_argument("--browser", action="store_true")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "runs.db"
        fill(path, chosen.states, chosen.edges)
        server = make_server(f"sqlite:///{path}", port=0)
        listening = server.open_socket()
        port = listening.getsockname()[1]
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        began = time.perf_counter()
        thread.start()
        client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=300)
        while not ready(client):
            time.sleep(0.2)
        print(f"first landscape after {time.perf_counter() - began:.1f} s\n")
        print("| view | bytes | bytes gzipped | ms (median of 5) |")
        print("|---|---:|---:|---:|")
        busiest = client.get("/api/states?top=3").json()["states"]
        loop = ".".join(state["id"] for state in busiest)
        views = [
            "overview",
            "landscape",
            "landscape?top=400",
            "states",
            f"state/{busiest[0]['id']}",
        ]
        for view in [*views, f"loop/{loop}", "states?since=1", "export/moves.csv"]:
            show(view.split(busiest[0]["id"])[0], *measure(client, f"/api/{view}"))
        show("all states and edges", *send_all(path))
        if chosen.browser:
            print("\n| in Chromium | tasks | longest (ms) | longest by processor time (ms) |")
            print("|---|---:|---:|---:|")
            watch_browser(f"http://127.0.0.1:{port}/")
        server.end()
        thread.join(20)


def ready(client: httpx.Client) -> bool:
    """Say whether the server has read everything and has a potential."""
    try:
        return bool(client.get("/api/landscape").json()["nodes"])
    except httpx.TransportError:
        return False


def show(name: str, size: int, packed: int, took: float) -> None:
    """Print one row."""
    print(f"| {name} | {size:,} | {packed:,} | {took:,.0f} |")


if __name__ == "__main__":
    main()
