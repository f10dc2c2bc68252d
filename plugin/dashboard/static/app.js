// The frame: which view is shown, the live line, the pause, the theme.

import { ask, follow } from "./api.js";
import { compare } from "./compare.js";
import { finding, loop, statePage } from "./details.js";
import { fill, h } from "./dom.js";
import { drawFilters } from "./filters.js";
import { ago, plural } from "./format.js";
import { overview } from "./overview.js";
import { followLinks, go, link, parse, question, stay } from "./route.js";
import { runPage, runs } from "./runs.js";

const VIEWS = { overview, compare, finding, loop, run: runPage, runs, state: statePage };
const byId = (id) => document.getElementById(id);
const main = byId("main");

let choices = { labels: [], times: false, source: "" };
let shown = null;
let asked = null;
let hangUp = () => {};
let last = null;
let line = "waiting";
const known = new Set();

function show() {
  const route = parse();
  const draw = VIEWS[route.view] ?? overview;
  shown?.end();
  drawFilters(byId("filters"), choices);
  byId("home").setAttribute("href", link("/"));
  fill(main);
  shown = draw(main, route, choices);
  document.title = `${shown.title} · detailed balance`;
  connect(route);
  if (last) shown.update(last);
}

// The line is kept while one moves between views, and renewed where what is asked changes.
function connect(route) {
  const paused = route.query.get("paused") === "1";
  const query = question(route.query);
  byId("pause").setAttribute("aria-pressed", String(paused));
  byId("pause").textContent = paused ? "Resume" : "Pause";
  const key = `${paused} ${route.query.get("last") ?? query} ${route.query.getAll("context")}`;
  if (key === asked) return;
  asked = key;
  last = null;
  known.clear();
  hangUp();
  hangUp = () => {};
  say("waiting");
  if (paused) {
    say("paused");
    ask("overview", query).then(tell, (error) => fail(error.message));
  } else {
    hangUp = follow(query, tell, say);
  }
}

function tell(status) {
  const first = last === null;
  last = status;
  byId("source").textContent = status.source;
  shown.update(status);
  announce(status, first);
  say(line === "paused" ? "paused" : "live");
}

// New findings are spoken; those that were there when the page opened are only counted.
function announce(status, first) {
  const open = status.findings.filter((each) => each.status === "open");
  const fresh = open.filter((each) => !known.has(each.id));
  for (const each of status.findings) {
    if (each.status === "open") known.add(each.id);
    else if (known.delete(each.id)) byId("announce").textContent = `Resolved: ${each.sentence}`;
  }
  if (first && open.length) byId("announce").textContent = plural(open.length, "open finding");
  else if (!first && fresh.length) byId("announce").textContent = `New finding: ${fresh[0].sentence}`;
}

const WORDS = { waiting: "connecting", live: "live", lost: "connection lost", paused: "paused" };

function say(state) {
  line = state;
  const pill = byId("live");
  pill.dataset.state = state;
  pill.textContent = state === "live" && last ? `live · read ${ago(last.updated)}` : WORDS[state];
}

function fail(message) {
  fill(main, h("h1", {}, "This cannot be shown"), h("p", { class: "problem", role: "alert" }, message), h("p", {}, h("a", { href: "/" }, "To the overview")));
}

function pause() {
  const { query } = parse();
  const paused = query.get("paused") === "1";
  if (paused) {
    go(stay({ paused: null, until: null }));
    return;
  }
  // So that the address shows the same tomorrow.
  const now = Math.ceil(Date.now() / 1000);
  const seconds = Number(query.get("last"));
  const fixed = choices.times ? { until: query.get("until") ?? now, since: seconds ? now - seconds : query.get("since"), last: null } : {};
  go(stay({ paused: "1", ...fixed }));
}

const THEMES = ["system", "light", "dark"];

function setTheme(name) {
  const theme = THEMES.includes(name) ? name : "system";
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  byId("theme").textContent = `Theme: ${theme}`;
  try { localStorage.setItem("theme", theme); } catch { /* a browser that keeps nothing */ }
  shown?.restyle();
}

function savedTheme() {
  try { return localStorage.getItem("theme"); } catch { return "system"; }
}

async function begin() {
  setTheme(savedTheme());
  byId("theme").addEventListener("click", () => setTheme(THEMES[(THEMES.indexOf(document.documentElement.dataset.theme ?? "system") + 1) % 3]));
  byId("pause").addEventListener("click", pause);
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => shown?.restyle());
  followLinks(document.body);
  window.addEventListener("popstate", show);
  window.addEventListener("routed", () => { show(); main.focus({ preventScroll: true }); window.scrollTo(0, 0); });
  try {
    choices = await ask("contexts", "");
  } catch (error) {
    fail(error.message);
    return;
  }
  show();
  setInterval(() => { if (line === "live") say("live"); }, 5000);
}

begin();
