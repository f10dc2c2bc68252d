"""The dashboard in a real browser."""

import os
import random
import shutil
import time
from itertools import pairwise

import pytest

from detailed_balance import Transition, TransitionGraph, TransitionStore, analyze
from detailed_balance.analyzers import Outcome
from detailed_balance.analyzers.runs.trajectory import StepFacts
from detailed_balance.callbacks import Ending
from detailed_balance.dashboard._ids import loop_id, state_id
from detailed_balance.monitor import Alert
from tests.plugin.dashboard.test_dashboard import hostile_monitor, hostile_store, random_counts
from tests.plugin.dashboard.test_dashboard_runs import make_store
from tests.support.dashboards import HOSTILE, alert, fake, path_store, served

CHROMIUM = next(
    filter(None, map(shutil.which, ["chromium", "chromium-browser", "google-chrome"])), None
)
pytest.importorskip("playwright", reason="needs playwright")
if CHROMIUM is None:
    pytest.skip("needs Chromium on the path", allow_module_level=True)

from playwright.sync_api import expect, sync_playwright  # noqa: E402 - skips without it

ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
]
PATIENCE = 150_000  # milliseconds, on a machine with much to do
expect.set_options(timeout=PATIENCE)
SHOTS = os.environ.get("DETAILED_BALANCE_TEST_SHOTS")
"""A folder for pictures of what the tests see."""


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser):
    """A page that fails its test on any dialog, error, foreign request or refused content."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    troubles = []
    page.on(
        "dialog", lambda dialog: (troubles.append(f"dialog: {dialog.message}"), dialog.dismiss())
    )
    page.on("pageerror", lambda error: troubles.append(f"error: {error}"))
    page.on("request", lambda request: check_request(request, troubles))
    page.on(
        "console",
        lambda m: troubles.append(f"console: {m.text}") if m.type in ("error", "warning") else None,
    )
    page.troubles = troubles
    yield page
    assert troubles == []
    context.close()


def check_request(request, troubles):
    if not request.url.startswith(("http://127.0.0.1:", "data:image/")):
        troubles.append(f"foreign request: {request.url}")


def shoot(page, name):
    if SHOTS:
        page.screenshot(path=f"{SHOTS}/{name}.png")


def wait_for(condition, what):
    deadline = time.monotonic() + PATIENCE / 1000
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


class Agent:
    """A running agent that writes down its moves; where it is broken, every second run is stuck."""

    def __init__(self, store):
        self.store, self.broken, self.runs = store, False, 0
        self.chance = random.Random(1)

    def work(self, runs):
        for _ in range(runs):
            self.runs += 1
            key, now = f"ticket-{1000 + self.runs}", time.time()
            stuck = self.broken and self.runs % 2
            path = ["__start__", "classify_request"]
            tools = ["lookup_order", "check_policy", "refund"]
            path += tools[:2] * 12 if stuck else self.chance.sample(tools, 2)
            path += [] if stuck else ["answer", "__end__"]
            calls = {}
            self.store.append(self.moves(path, key, now, calls))
            outcome = Outcome.RECURSION_LIMIT if stuck else Outcome.ENDED
            error = "GraphRecursionError" if stuck else None
            self.store.append([Ending(key, outcome, error, time=now + 1)])

    def moves(self, path, key, now, calls):
        for step, (a, b) in enumerate(pairwise(path)):
            again = b in calls
            call = calls.setdefault(b, step)
            facts = StepFacts(call=call, answer=call, repeats=again, stale=again, tokens=200)
            yield Transition(a, b, key, (), step, now + step / 100, facts=facts)


def test_a_fault_of_a_live_agent_is_shown_with_its_runs_and_resolved_when_it_is_mended(
    page, tmp_path
):
    url = f"sqlite:///{tmp_path}/runs.db"
    page.emulate_media(reduced_motion="reduce")
    with TransitionStore(url) as store:
        agent = Agent(store)
        agent.work(60)
        with served(url, every=0.2) as address:
            page.goto(address)
            expect(page.locator("#live")).to_contain_text("live")
            expect(page.locator(".tile").first).to_have_text("60runs")
            expect(page.get_by_text("Nothing is open")).to_be_visible()

            agent.broken = True
            agent.work(30)
            problem = page.locator(".finding", has_text="Problem").first
            expect(problem).to_contain_text("back and forth between check_policy and lookup_order")
            expect(page.locator(".tile")).to_have_text(
                ["90runs", "15failed", "15at the limit", "15repeating"]
            )
            expect(page.locator("#announce")).to_contain_text("New finding")
            if SHOTS:
                page.wait_for_timeout(8_000)  # until the landscape is drawn again
            shoot(page, "live-light")
            page.emulate_media(color_scheme="dark")
            shoot(page, "live-dark")

            problem.get_by_role("link", name="ticket-").first.click()
            expect(page.get_by_role("heading", level=1)).to_contain_text("recursion limit")
            expect(page.locator("tbody")).to_contain_text("lookup_order ⇄ check_policy")

            agent.broken = False
            page.get_by_role("link", name="Overview", exact=True).click()
            deadline = time.monotonic() + 2 * PATIENCE / 1000
            while page.locator(".finding", has_text="Problem").count():
                assert time.monotonic() < deadline, page.locator("main").inner_text()
                agent.work(40)
                page.wait_for_timeout(2_000)
            page.get_by_role("link", name="Resolved", exact=True).click()
            expect(page.locator(".finding", has_text="Resolved").first).to_be_visible()


@pytest.mark.parametrize(("scheme", "width"), [("light", 1440), ("dark", 390)])
def test_the_tiles_lead_to_runs_and_a_finding_to_its_runs(page, scheme, width):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    store = make_store()
    (found,) = (f for f in analyze(store).findings if f.kind == "limit")
    monitor = fake(alerts=(Alert("f1", found, "open", 1.0, 2.0),))
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.set_viewport_size({"width": width, "height": 844})

    def check(name):
        page.wait_for_timeout(300)
        shoot(page, f"{name}-{scheme}-{width}")
        found = axe.run(page).response["violations"]
        assert [(v["id"], v["nodes"][0]["html"][:200]) for v in found] == [], name
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name

    with served(store, make_monitor=monitor, run_url="https://example.org/{run}") as address:
        page.goto(address)
        expect(page.locator(".tile")).to_have_text(
            ["5runs", "2failed", "1at the limit", "1repeating"]
        )
        expect(page.locator(".finding")).to_contain_text("hit the recursion limit")
        check("overview")
        page.get_by_role("link", name="failed").click()
        expect(page.locator("tbody tr")).to_have_count(2)
        expect(page.get_by_text("2 of 5 runs")).to_be_visible()
        check("runs")
        page.get_by_label("Outcome").select_option("failed")
        expect(page.locator("tbody tr")).to_have_count(1)
        page.get_by_role("link", name="Overview", exact=True).click()
        page.locator(".finding").get_by_role("heading").get_by_role("link").click()
        expect(page.get_by_role("heading", level=1)).to_contain_text("hit the recursion limit")
        check("finding")
        page.get_by_role("link", name="stuck", exact=True).first.click()
        expect(page.get_by_role("heading", level=1)).to_contain_text("stuck: stopped")
        expect(page.locator("tbody tr").nth(1)).to_contain_text("repeats itself from here")
        link = page.get_by_role("link", name="Read it in full")
        expect(link).to_have_attribute("href", "https://example.org/stuck")
        check("run")
        page.troubles.clear()
        page.goto(address + "/runs?context=model%3Dnone")
        expect(page.get_by_text("nothing is recorded with the label")).to_be_visible()
        check("missing")
        page.troubles.clear()  # what is not there is an error of the last page


def test_hostile_states_are_shown_and_nothing_of_them_runs(page):
    with served(hostile_store(), make_monitor=hostile_monitor()) as address:
        paths = ["/", "/?as=table", "/finding/f1", "/compare", f"/loop/{loop_id(HOSTILE[:8])}"]
        paths += [f"/state/{state_id(key)}" for key in HOSTILE]
        paths += ["/runs", f"/run/{state_id(HOSTILE[0])}"]
        for path in paths:
            page.goto(address + path)
            expect(page.get_by_role("heading", level=1)).to_be_attached()
            expect(page.locator("main > :nth-child(2)")).to_be_attached()
            foreign = page.evaluate(
                """() => [...document.querySelectorAll('main *, nav *, header *')].filter((e) =>
                    /^(script|img|iframe|object|embed|style|link|base|form)$/i.test(e.tagName) ||
                    [...e.attributes].some((a) => /^on/i.test(a.name) ||
                        /^\\s*(javascript|data):/i.test(a.value))).map((e) => e.outerHTML)"""
            )
            assert foreign == []
        page.goto(address + "/?as=table")
        cells = page.locator(".listbox tbody th")
        expect(cells).to_have_count(len(HOSTILE))
        shown = "".join(cells.all_inner_texts())
        assert "<script>alert(1)</script>" in shown
        assert r"\u202e" in shown
        assert "\u202e" not in shown
        shoot(page, "hostile-light")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_screen_reader_and_a_keyboard_find_their_way(page, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    loops = (alert("abc", severity="problem"), alert("acb", number="f2", status="resolved"))
    trap = {
        "states": ["a", "b"],
        "stay": 30.0,
        "interval": [20.0, 50.0],
        "visits": 9,
        "moves": 90,
        "exits": 3,
    }
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    store = path_store("abcabcabcacb", "bcabca", model="x")
    monitor = fake(alerts=loops, traps=(trap,))
    paths = [
        "/",
        "/?as=table&show=all",
        "/finding/f1",
        f"/state/{state_id('a')}",
        f"/loop/{loop_id('abc')}",
        "/runs?outcome=unknown",
        f"/run/{state_id('run 0')}",
    ]
    with served(store, make_monitor=monitor) as address:
        for path in [*paths, "/compare?a=model%3Dx", "/finding/none"]:
            page.troubles.clear()
            page.goto(address + path)
            expect(page.locator("main > :nth-child(2)")).to_be_attached()
            page.wait_for_timeout(200)
            found = axe.run(page).response["violations"]
            assert [(v["id"], v["nodes"][0]["html"][:200]) for v in found] == [], path
        page.troubles.clear()  # what is not there is an error of the last page


def test_everything_can_be_reached_by_keyboard_and_shows_where_one_is(page):
    with served(path_store("abcabcabcacb"), make_monitor=fake(alerts=(alert("abc"),))) as address:
        page.goto(address)
        expect(page.locator(".finding").first).to_be_visible()
        expect(page.get_by_role("button", name="Fit")).to_be_visible()
        reached = set()
        for _ in range(40):
            page.keyboard.press("Tab")
            reached.add(page.evaluate("(document.activeElement.textContent || '').trim()"))
            outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            tag = page.evaluate("document.activeElement.tagName")
            assert tag == "BODY" or outline != "none", page.evaluate(
                "document.activeElement.outerHTML"
            )
        assert {
            "Skip to content",
            "Pause",
            "Compare",
            "Table",
            "Fit",
            "a loop is driven",
        } <= reached


def test_a_view_is_the_same_when_its_address_is_opened_again(page):
    store = path_store("abcabcabcacb", model="x")
    store.append([Transition("d", "e", "other", (("model", "y"),), 0, 5000.0)])
    with served(store, make_monitor=fake()) as address:
        page.goto(address + "/?as=table")
        rows = page.locator(".listbox tbody tr")
        expect(rows).to_have_count(5)
        page.get_by_label("model").select_option("x")
        expect(rows).to_have_count(3)
        page.get_by_role("button", name="Pause").click()
        expect(page.locator("#live")).to_have_text("paused")
        assert {"context=model%3Dx", "paused=1"} <= set(page.url.split("?")[1].split("&"))
        expect(rows).to_have_count(3)
        seen = page.locator(".listbox").inner_text()
        store.append([Transition("f", "a", "later", (("model", "x"),), 0, time.time() + 60)])
        page.goto(page.url)
        expect(rows).to_have_count(3)
        assert page.locator(".listbox").inner_text() == seen
        page.get_by_role("button", name="Resume").click()
        expect(rows).to_have_count(4, timeout=PATIENCE)
        page.go_back()
        expect(page.locator("#live")).to_have_text("paused")


def test_the_theme_is_chosen_and_kept(page):
    with served(path_store("abca"), make_monitor=fake()) as address:
        page.goto(address)
        button = page.get_by_role("button", name="Theme")
        light = page.evaluate("getComputedStyle(document.body).backgroundColor")
        button.click()
        button.click()
        expect(button).to_have_text("Theme: dark")
        dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert dark != light
        page.reload()
        expect(button).to_have_text("Theme: dark")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == dark


def test_a_large_graph_leaves_the_page_free_to_answer(page):
    graph = TransitionGraph.from_counts(random_counts(10_000, 100_000))
    page.add_init_script(
        """window.longest = 0;
        new PerformanceObserver((list) => {
            const tasks = list.getEntries().map((task) => task.duration);
            window.longest = Math.max(window.longest, ...tasks);
        }).observe({ type: 'longtask', buffered: true });"""
    )
    with served(graph, make_monitor=fake()) as address:
        page.goto(address)
        expect(page.locator(".wide > p")).to_contain_text("200 states of 10,000")
        assert page.locator("body *").count() < 2_000
        # Not its time, which the machine's other work decides, but what there is to draw.
        print(f"longest task: {page.evaluate('window.longest')} ms")
        shoot(page, "large-light")
