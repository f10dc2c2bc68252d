// The bar above every view: labels, range of time, and the way to the comparison.

import { fill, h } from "./dom.js";
import { go, link, parse, stay } from "./route.js";

const RANGES = [["", "All time"], ["900", "Last 15 minutes"], ["3600", "Last hour"], ["86400", "Last 24 hours"], ["604800", "Last 7 days"]];
const INLINE = 4;

const here = (changes) => go(stay(changes));

function choose(label, queries, chosen) {
  const select = h("select", { on: { change: (event) => {
    const others = new URLSearchParams(window.location.search).getAll("context").filter((q) => !queries.has(q));
    here({ context: event.target.value ? [...others, event.target.value] : others });
  } } }, h("option", { value: "" }, "any"), label.values.map((value) =>
    h("option", { value: value.query, selected: chosen.includes(value.query) }, value.label)));
  return h("label", {}, h("span", {}, h("bdi", {}, label.name)), select);
}

function range(query) {
  const custom = query.has("since") || query.has("until");
  const last = query.get("last") ?? "";
  const select = h("select", { on: { change: (event) => {
    if (event.target.value === "custom") {
      const now = Math.floor(Date.now() / 1000);
      here({ since: now - 3600, until: now, last: null });
    } else {
      here({ last: event.target.value, since: null, until: null, paused: null });
    }
  } } },
  RANGES.map(([value, name]) => h("option", { value, selected: !custom && value === last }, name)),
  h("option", { value: "custom", selected: custom }, "From … to …"));
  const parts = [h("label", {}, h("span", {}, "Time"), select)];
  if (custom) parts.push(moment("From", "since", query), moment("To", "until", query));
  return parts;
}

// A date and time as the browser's own field shows it, in the reader's time zone.
function moment(name, parameter, query) {
  const seconds = Number(query.get(parameter));
  const at = seconds ? new Date(1000 * (seconds - 60 * new Date(1000 * seconds).getTimezoneOffset())) : null;
  return h("label", {}, h("span", {}, name), h("input", {
    type: "datetime-local", step: "1", value: at ? at.toISOString().slice(0, 19) : "",
    on: { change: (event) => here({ [parameter]: event.target.value ? Date.parse(event.target.value) / 1000 : null }) },
  }));
}

export function drawFilters(nav, choices) {
  const { query, view } = parse();
  const chosen = query.getAll("context");
  const selects = choices.labels.map((label) => choose(label, new Set(label.values.map((value) => value.query)), chosen));
  const more = selects.slice(INLINE);
  fill(nav,
    h("a", { href: link("/"), "aria-current": view === "overview" ? "page" : null }, "Overview"),
    h("a", { href: link("/runs"), "aria-current": view === "runs" ? "page" : null }, "Runs"),
    h("a", { href: link("/compare"), "aria-current": view === "compare" ? "page" : null }, "Compare"),
    h("span", { class: "gap" }),
    view === "compare" ? null : selects.slice(0, INLINE),
    view === "compare" || !more.length ? null : h("details", {}, h("summary", {}, `${more.length} more labels`), h("div", { class: "drawer" }, more)),
    choices.times ? range(query) : null);
}
