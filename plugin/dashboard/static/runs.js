// The views of many runs, and of one.

import { ask } from "./api.js";
import { fill, h, table } from "./dom.js";
import { clock, count, number, plural } from "./format.js";
import { run, section, view } from "./parts.js";
import { go, link, question, stay } from "./route.js";

const OUTCOMES = [
  ["", "any"], ["unsuccessful", "did not succeed"], ["recursion_limit", "at the limit"], ["failed", "failed"],
  ["ended", "ended"], ["interrupted", "interrupted"], ["cancelled", "cancelled"], ["abandoned", "abandoned"], ["unknown", "not known"],
];
const KINDS = [["", "any"], ["repeating", "repeat themselves"], ["stay", "stay in one state"], ["shuttle", "go back and forth"], ["cycle", "go round a loop"]];
const SORTS = [["", "latest first"], ["moves", "most moves"], ["after", "most moves while repeating"], ["tokens", "most tokens"], ["cost", "highest cost"]];
const ASKED = ["outcome", "kind", "finding", "text", "sort", "page"];
const NAMES = { stay: "stays", shuttle: "back and forth", cycle: "goes round" };

export const outcome = (found) => {
  const word = found.outcome === null ? "not known" : OUTCOMES.find(([name]) => name === found.outcome)[1];
  const success = found.success === null ? null : found.success ? "success" : "failure";
  return [
    h("span", { class: "badge", "data-severity": found.success === false ? "problem" : found.success ? "resolved" : null }, word),
    found.judged && success ? h("span", { class: "faint below" }, `judged: ${success}`) : null,
  ];
};

export function runs(main, route) {
  const { query } = route;
  const given = Object.fromEntries(ASKED.flatMap((name) => (query.get(name) ? [[name, query.get(name)]] : [])));
  const here = (changes) => go(stay({ page: null, ...changes }));
  const pick = (title, name, options) => h("label", {}, h("span", {}, title), h("select", { on: { change: (event) => here({ [name]: event.target.value }) } },
    options.map(([value, text]) => h("option", { value, selected: value === (given[name] ?? "") }, text))));
  const filters = () => h("div", { class: "filters plain", role: "group", "aria-label": "Which runs" },
    pick("Outcome", "outcome", OUTCOMES), pick("Repetition", "kind", KINDS), pick("Sort", "sort", SORTS),
    h("label", {}, h("span", {}, "Key contains"), h("input", { type: "search", value: given.text ?? "", on: { change: (event) => here({ text: event.target.value }) } })));
  fill(main, h("h1", {}, "Runs"), filters());
  const result = h("div", {});
  main.append(result);

  return view(result, "Runs", "runs", () => question(query, given), (found) => {
    const columns = [{ name: "Run" }, { name: "Outcome" }, { name: "Moves", number: true }, { name: "Repeats" }, { name: "Tokens", number: true }, { name: "Cost", number: true }, { name: "Began" }, { name: "Labels", class: "wrap" }];
    const chosen = Boolean(given.outcome || given.kind || given.text || given.finding);
    const of = chosen ? `${count(found.found)} of ${plural(found.all, "run")}` : plural(found.all, "run");
    const step = (name, page) => (page >= 1 && page <= found.pages ? h("a", { class: "choice", href: stay({ page }) }, name) : null);
    fill(result,
      h("p", {}, of, given.finding ? [", those of ", h("a", { href: link(`/finding/${given.finding}`) }, "one finding")] : null,
        chosen ? [" · ", h("a", { href: link("/runs") }, "show all")] : null,
        found.is_part ? h("span", { class: "faint" }, " · the latest; earlier ones are not shown here") : null),
      h("div", { class: "card whole" }, table("Runs", columns, found.runs.map((row) => [
        run(row), outcome(row), count(row.moves),
        row.repeats ? h("span", {}, NAMES[row.repeats], h("span", { class: "faint below" }, `${plural(row.after, "move")} while repeating`)) : "",
        row.tokens === null ? "–" : count(row.tokens), number(row.cost), clock(row.started), h("bdi", {}, row.labels)]),
      { empty: chosen ? "No run is like this." : "No run began in this time, or the source has no runs.", unseen: true })),
      found.pages > 1 ? h("p", { class: "pages" }, step("← Previous", found.page - 1), ` page ${count(found.page)} of ${count(found.pages)} `, step("Next →", found.page + 1)) : null);
  });
}

export function runPage(main, route) {
  return view(main, "Run", `run/${encodeURIComponent(route.id)}`, () => "", (found) => {
    const columns = [{ name: "Step", number: true }, { name: "State", class: "wrap" }, { name: "What is known" }, { name: "Chance", number: true }, { name: "Tokens", number: true }, { name: "Cost", number: true }];
    const known = (name) => found.lines.some((line) => line[name] !== null && line[name] !== undefined);
    const shown = columns.filter((column) => !["Chance", "Tokens", "Cost"].includes(column.name) || known(column.name.toLowerCase()));
    const cells = (line) => {
      if (line.left_out) return ["", h("span", { class: "faint" }, `… ${plural(line.left_out, "line")} left out`), "", "", "", ""];
      const text = [line.run ? h("a", { href: link(`/run/${line.run}`) }, h("bdi", {}, line.text)) : h("bdi", {}, line.text), line.times > 1 ? h("b", {}, ` × ${count(line.times)}`) : null];
      return [
        line.steps,
        h("div", { class: `depth depth-${Math.min(line.depth, 5)}` }, text, line.onset ? h("span", { class: "badge onset", "data-severity": "problem" }, line.onset) : null),
        line.facts, line.chance || "", line.tokens === null ? "" : count(line.tokens), line.cost === null ? "" : number(line.cost)];
    };
    const kept = columns.map((column) => shown.includes(column));
    fill(main,
      h("p", { class: "crumb" }, h("a", { href: link("/runs") }, "← Runs")),
      h("h1", {}, h("bdi", {}, found.summary)),
      found.link ? h("p", {}, h("a", { href: found.link, rel: "noreferrer" }, "Read it in full")) : null,
      h("dl", { class: "about" }, found.rows.map((row) => [h("dt", {}, row.name), h("dd", {}, row.name === "parent" ? h("a", { href: link(`/run/${found.parent}`) }, h("bdi", {}, row.value)) : h("bdi", {}, row.value))])),
      section("Path", h("div", { class: "whole path-table" }, table("Path", shown, found.lines.map((line) => cells(line).filter((_, i) => kept[i])), { empty: "It made no move.", unseen: true }))));
  });
}
