// Pieces that several views share.

import { h, svg, table } from "./dom.js";
import { ago, clock, count, number, percent } from "./format.js";
import { link } from "./route.js";

export const SEVERITY = { problem: "Problem", watch: "Watch" };

// A name that shows nothing is put in quotes.
const name = (label) => (label.trim() ? label : `"${label}"`);

export const state = (found) =>
  found.id
    ? h("a", { class: "key", href: link(`/state/${found.id}`) }, h("bdi", {}, name(found.label)))
    : h("span", { class: "key plain" }, found.label);

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
  return table("Traps and stays, in moves before the trap is left", columns, rows.map((trap) => [
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
  const columns = [{ name: "Step" }, { name: "This way", number: true }, { name: "Back", number: true }, { name: "Log ratio (nats)", number: true }];
  return table("Moves along the loop, both ways round", columns, rows, { unseen: true });
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
