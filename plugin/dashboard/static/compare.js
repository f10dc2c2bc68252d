// Two contexts side by side.

import { ask } from "./api.js";
import { fill, h, svg, table } from "./dom.js";
import { count, number, pvalue } from "./format.js";
import { section, state } from "./parts.js";
import { go, link, question } from "./route.js";

const DOTS = 24;

export function compare(main, route, choices) {
  const asking = new AbortController();
  const a = route.query.get("a") ?? "";
  const b = route.query.get("b") ?? "";
  const name = (query) => choices.labels.flatMap((label) => label.values).find((value) => value.query === query)?.label ?? "all";
  const pick = (title, parameter, now) => h("label", {}, h("span", {}, title), h("select", { on: { change: (event) => {
    go(link("/compare", { a, b, [parameter]: event.target.value }));
  } } }, h("option", { value: "" }, "all"), choices.labels.flatMap((label) => label.values.map((value) =>
    h("option", { value: value.query, selected: value.query === now }, `${label.name}: ${value.label}`)))));
  const result = h("div", { "aria-live": "polite" });
  fill(main,
    h("h1", {}, "Compare two contexts"),
    h("p", { class: "filters plain" }, pick("A", "a", a), pick("B", "b", b)),
    result);

  async function draw() {
    if (a === b) {
      fill(result, h("p", { class: "faint" }, choices.labels.length ? "Choose two different labels." : "Nothing recorded carries labels. Pass context= to the handler, or labels=."));
      return;
    }
    fill(result, h("p", { class: "faint" }, "Comparing …"));
    try {
      fill(result, show(await ask("compare", question(route.query, { a: a ? [a] : [], b: b ? [b] : [] }), asking.signal), name(a), name(b)));
    } catch (error) {
      if (error.name !== "AbortError") fill(result, h("p", { class: "problem", role: "alert" }, error.message));
    }
  }
  draw();
  return { title: "Compare", update() {}, restyle() {}, end() { asking.abort(); } };
}

function show(found, a, b) {
  const note = found.left_out ? ` Of the states with the most moves ${count(found.states)} are compared, ${count(found.left_out)} are left out.` : "";
  return [
    section("Potential", ...potentials(found.potentials, a, b)),
    section("Moves", ...kernels(found.kernels, a, b)),
    h("p", { class: "faint small" }, `Moves are taken to be independent of each other.${note}`),
  ];
}

function potentials(found, a, b) {
  if (found.error) return [h("p", {}, found.error)];
  const columns = [{ name: "State" }, { name: `V in ${a}`, number: true }, { name: `V in ${b}`, number: true }, { name: "Shift", number: true }, { name: "Adjusted p", number: true }];
  return [
    h("p", {}, `The potentials ${found.differ ? "differ" : "show no difference"} on ${count(found.tested)} common states: ${count(found.different)} moved, p = ${pvalue(found.pvalue)}.`),
    dots(found.rows.slice(0, DOTS), a, b),
    table("States, most significant first", columns, found.rows.map((row) => [
      state(row), `${number(row.values[0])} ± ${number(row.errors[0])}`, `${number(row.values[1])} ± ${number(row.errors[1])}`, number(row.shift), pvalue(row.adjusted)]), { unseen: true }),
  ];
}

function kernels(found, a, b) {
  if (found.error) return [h("p", {}, found.error)];
  const columns = [{ name: "From" }, { name: `Moves in ${a}`, number: true }, { name: `Moves in ${b}`, number: true }, { name: "Changes most to" }, { name: "Probability", number: true }, { name: "Adjusted p", number: true }];
  return [
    h("p", {}, `The moves ${found.differ ? "differ" : "show no difference"}: ${count(found.different)} of ${count(found.tested)} states, p = ${pvalue(found.pvalue)}.`),
    table("States whose moves differ, most significant first", columns, found.rows.map((row) => [
      state(row), count(row.moves[0]), count(row.moves[1]), state(row.target), `${row.change > 0 ? "+" : ""}${number(row.change)}`, pvalue(row.adjusted)]), { unseen: true }),
  ];
}

// One row for each state: a ring where V is in the first context, a dot where in the second.
function dots(rows, a, b) {
  if (!rows.length) return null;
  const values = rows.flatMap((row) => [0, 1].flatMap((k) => [row.values[k] - row.errors[k], row.values[k] + row.errors[k]]));
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const x = (value) => 190 + (430 * (value - low)) / (high - low || 1);
  const height = 18 * rows.length + 26;
  const marks = rows.flatMap((row, i) => {
    const y = 18 * i + 12;
    const error = (k) => svg("line", { class: `error e${k}`, x1: x(row.values[k] - row.errors[k]), x2: x(row.values[k] + row.errors[k]), y1: y, y2: y });
    return [
      svg("text", { x: 180, y: y + 4, "text-anchor": "end" }, row.label.length > 26 ? `${row.label.slice(0, 25)}…` : row.label),
      svg("line", { class: "between", x1: x(row.values[0]), x2: x(row.values[1]), y1: y, y2: y }),
      error(0), error(1),
      svg("circle", { class: "e0", cx: x(row.values[0]), cy: y, r: 4 }),
      svg("circle", { class: "e1", cx: x(row.values[1]), cy: y, r: 4 }),
    ];
  });
  const zero = low < 0 && high > 0 ? svg("line", { class: "zero", x1: x(0), x2: x(0), y1: 2, y2: height - 24 }) : null;
  return h("figure", { tabindex: "0", role: "group", "aria-label": "The potentials of both, state by state" },
    svg("svg", { class: "dots", viewBox: `0 0 640 ${height}`, "aria-hidden": "true" }, zero, marks,
      svg("text", { class: "axis", x: 190, y: height - 6 }, number(low)), svg("text", { class: "axis", x: 620, y: height - 6, "text-anchor": "end" }, number(high))),
    h("figcaption", { class: "faint small" }, `V less its mean, in 1/β: a ring for ${a}, a dot for ${b}, with one standard error. The table below has the same numbers.`));
}
