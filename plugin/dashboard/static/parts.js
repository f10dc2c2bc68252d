// Pieces that several views share.

import { ask } from "./api.js";
import { fill, h, svg, table } from "./dom.js";
import { ago, clock, count, number, percent } from "./format.js";
import { link } from "./route.js";

export const SEVERITY = { problem: "Problem", watch: "Watch" };

// A name that shows nothing is put in quotes.
const name = (label) => (label.trim() ? label : `"${label}"`);

export const state = (found) =>
  found.id
    ? h("a", { class: "key", href: link(`/state/${found.id}`) }, h("bdi", {}, name(found.label)))
    : h("span", { class: "key plain" }, found.label);

export const run = (found) =>
  found.id
    ? h("a", { class: "key", href: link(`/run/${found.id}`) }, h("bdi", {}, name(found.label)))
    : h("span", { class: "key plain" }, found.label);

// What stands under a finding: its runs, since when, its cost, what to do.
export const about = (found) =>
  h("dl", { class: "about" },
    found.runs.length ? [h("dt", {}, "runs"), h("dd", {}, found.runs.map((each) => [run(each), " "]),
      h("a", { href: link("/runs", { finding: found.id }) }, found.more_runs ? `and ${count(found.more_runs)} more` : "as a list"))] : null,
    found.rows.map((row) => [h("dt", {}, row.name), h("dd", {}, row.name === "do" ? advice(found.advice) : h("bdi", {}, row.value))]));

const advice = (rows) => h("ul", {}, rows.map((row) => h("li", {}, row.code ? h("code", { class: "mono" }, row.code) : null, row.text)));

export const path = (states, more = 0, closed = false) => {
  const shown = states.flatMap((each, i) => (i ? [h("span", { class: "arrow", "aria-label": "to" }, " → "), state(each)] : [state(each)]));
  if (more) shown.push(` and ${count(more)} more`);
  else if (closed && states.length) shown.push(h("span", { class: "arrow", "aria-label": "back to the first" }, " ↩"));
  return h("span", { class: "path" }, shown);
};

export const severity = (finding) =>
  h("span", { class: "badge", "data-severity": finding.status === "open" ? finding.severity : "resolved" },
    finding.status === "open" ? SEVERITY[finding.severity] : "Resolved");

export const time = (seconds) =>
  seconds
    ? h("time", { datetime: new Date(1000 * seconds).toISOString(), title: clock(seconds) }, ago(seconds))
    : "–";

// The findings one by one; of the first ones everything that a tired reader needs.
export const findingList = (rows, whole, empty) =>
  rows.length
    ? rows.map((found, i) => h("article", { class: "finding" },
      h("h3", {}, severity(found), " ", h("a", { href: link(`/finding/${found.id}`) }, h("bdi", {}, found.sentence))),
      found.status === "open" && i < whole ? about(found) : null))
    : h("p", { class: "faint" }, empty);

export function findings(rows, caption, empty) {
  const columns = [{ name: "Severity" }, { name: "Finding", class: "sentence" }, { name: "Kind" }, { name: "Raised" }, { name: "Seen" }];
  return table(caption, columns, rows.map((finding) => [
    severity(finding),
    h("a", { href: link(`/finding/${finding.id}`) }, h("bdi", {}, finding.sentence)),
    finding.kind,
    time(finding.raised),
    finding.status === "open" ? time(finding.updated) : h("span", {}, "until ", time(finding.resolved)),
  ]), { empty, unseen: true });
}

export function traps(rows) {
  const columns = [{ name: "Trap" }, { name: "Stay (95%)", number: true }, { name: "Left", number: true }];
  return table("Traps and stays, in moves before the agent leaves", columns, rows.map((trap) => [
    path(trap.states, trap.more_states),
    h("span", {}, number(trap.stay), trap.interval ? h("span", { class: "faint below" }, `${number(trap.interval[0])} to ${number(trap.interval[1])}`) : null),
    h("span", {}, count(trap.exits), h("span", { class: "faint below" }, `of ${count(trap.moves)}`)),
  ]), { empty: "No trap: the agent leaves every set of states soon.", unseen: true });
}

export function walks(rows) {
  if (!rows.length) return h("p", { class: "faint" }, "No example among the moves recorded last.");
  return h("ol", { class: "walks" }, rows.map((walk) =>
    h("li", {},
      h("p", { class: "walk-name" }, "run ", h("bdi", { class: "mono" }, walk.trajectory), ` · ${count(walk.hits)} such moves`, walk.time ? [" · ", time(walk.time)] : null),
      path(walk.path))));
}

export function loopTable(loop) {
  const log = loop.there.map((n, i) => Math.log((n + 0.5) / (loop.back[i] + 0.5)));
  const top = Math.max(1, ...log.map(Math.abs));
  const rows = loop.states.map((from, i) => [
    h("span", { class: "path" }, state(from), h("span", { class: "arrow" }, " → "), state(loop.states[(i + 1) % loop.states.length])),
    count(loop.there[i]),
    count(loop.back[i]),
    h("span", { class: "ratio" }, bar(log[i] / top), number(log[i])),
  ]);
  const columns = [{ name: "Step" }, { name: "Forward", number: true }, { name: "Reverse", number: true }, { name: "Log ratio (nats)", number: true }];
  return table("Moves along the loop, in both directions", columns, rows, { unseen: true });
}

// A bar to the left or the right of its middle; `share` lies between -1 and 1.
export function bar(share) {
  const width = 40 * Math.min(1, Math.abs(share));
  return svg("svg", { class: "bar", viewBox: "0 0 80 10", width: 80, height: 10, "aria-hidden": "true" },
    svg("line", { x1: 40, x2: 40, y1: 0, y2: 10 }),
    svg("rect", { class: share < 0 ? "down" : "up", x: share < 0 ? 40 - width : 40, y: 2, width, height: 6 }));
}

export const fact = (name, value) => h("div", { class: "fact" }, h("dt", {}, name), h("dd", {}, value));

export const section = (title, ...children) => h("section", { class: "card" }, h("h2", {}, title), children);

export const share = (x) => percent(x);

// What is read is not changed under the reader's eyes more often, in milliseconds.
const CALM = 5000;

// A view that asks once, and again where there is more to see; `draw` fills the page.
export function view(main, title, address, asks, draw) {
  const asking = new AbortController();
  let drawn = null;
  let busy = false;
  let next = 0;
  async function look(mark) {
    if (busy || mark === drawn || Date.now() < next) return;
    busy = true;
    try {
      const found = await ask(address, asks(), asking.signal);
      drawn = mark;
      draw(found);
    } catch (error) {
      if (error.name !== "AbortError" && drawn === null) {
        fill(main, h("h1", {}, title), h("p", { class: "problem", role: "alert" }, error.message), h("p", {}, h("a", { href: link("/") }, "To the overview")));
        drawn = mark;
      }
    }
    busy = false;
    next = Date.now() + CALM;
  }
  return {
    title,
    update(status) { look(`${status.transitions} ${status.escapes} ${status.findings.map((each) => each.id)}`); },
    restyle() {},
    end() { asking.abort(); },
  };
}
