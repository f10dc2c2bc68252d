// The first view: how many runs went wrong, the findings, then landscape, evidence and traps.

import { ask } from "./api.js";
import { fill, h, table } from "./dom.js";
import { Evidence } from "./evidence.js";
import { count, number, plural } from "./format.js";
import { Landscape } from "./landscape.js";
import { fact, findingList, state, traps } from "./parts.js";
import { go, link, question, stay } from "./route.js";

const TOPS = ["40", "100", "200", "400"];
const SHORTEST = 2000;
const WHOLE = 5;

export function overview(main, route) {
  const top = route.query.get("top") ?? "200";
  const asTable = route.query.get("as") === "table";
  const show = route.query.get("show") ?? "open";

  const tiles = h("ul", { class: "tiles" });
  const facts = h("dl", { class: "facts" });
  const graphBox = h("div", { class: asTable ? "listbox" : "graphbox" });
  const graphNote = h("p", { class: "faint small" });
  const evidenceBox = h("div", { class: "evidence" });
  const trapBox = h("div", {});
  const findingBox = h("div", {});
  const choice = (name, value, now, changes) => h("a", { class: "choice", href: stay(changes), "aria-current": value === now ? "true" : null }, name);
  const exported = (name) => h("a", { href: `/api/export/${name}.csv?${question(route.query)}`, download: `${name}.csv` }, `${name}.csv`);

  fill(main,
    h("h1", { class: "unseen" }, "Overview"),
    tiles,
    h("section", { class: "card" },
      h("div", { class: "head" }, h("h2", {}, "Findings"),
        h("span", { class: "choices" }, ["open", "resolved", "all"].map((each) =>
          choice(each[0].toUpperCase() + each.slice(1), each, show, { show: each === "open" ? null : each })))),
      findingBox),
    h("div", { class: "grid" },
      h("section", { class: "card wide" },
        h("div", { class: "head" }, h("h2", {}, "Landscape"),
          h("span", { class: "choices" },
            choice("Graph", false, asTable, { as: null }), choice("Table", true, asTable, { as: "table" })),
          h("label", { class: "small" }, "states ", h("select", { on: { change: (event) => go(stay({ top: event.target.value })) } },
            TOPS.map((each) => h("option", { value: each, selected: each === top }, each))))),
        graphBox, graphNote),
      h("div", { class: "side" },
        h("section", { class: "card" }, h("h2", {}, "Evidence over time"), evidenceBox),
        h("section", { class: "card" }, h("h2", {}, "Traps"), trapBox))),
    facts,
    h("p", { class: "exports faint small" }, "Export: ", exported("states"), " ", exported("moves"), " ", exported("findings"), " ", exported("traps")));

  const landscape = asTable ? null : new Landscape(graphBox, { onpick: (id) => go(link(`/state/${id}`)) });
  const evidence = new Evidence(evidenceBox);
  let drawn = null;
  let next = 0;
  let timer = null;
  let asking = new AbortController();

  async function drawStates(status) {
    const mark = `${status.transitions} ${status.findings.filter((f) => f.status === "open").map((f) => f.id)}`;
    if (mark === drawn) return;
    clearTimeout(timer);
    const wait = next - Date.now();
    if (wait > 0) { timer = setTimeout(() => drawStates(status), wait); return; }
    drawn = mark;
    next = Infinity;
    const began = Date.now();
    try {
      const found = await ask(asTable ? "states" : "landscape", question(route.query, { top }), asking.signal);
      if (asTable) drawTable(found);
      else drawGraph(found, status);
    } catch (error) {
      if (error.name !== "AbortError") graphNote.textContent = error.message;
    }
    // What takes the server long is asked for less often.
    next = Date.now() + Math.max(SHORTEST, 10 * (Date.now() - began));
  }

  function drawGraph(found, status) {
    const ids = (rows) => new Set(rows.flatMap((row) => row.states.map((each) => each.id)));
    const open = status.findings.filter((each) => each.status === "open");
    landscape.update(found, ids([...status.traps, ...open.filter((each) => each.kind === "trap")]), ids(open));
    const part = found.moves ? `${Math.round(100 * found.moves_shown / found.moves)}% of the moves between them` : "";
    graphNote.textContent = found.nodes.length
      ? `Height is the potential V (in 1/β): agents run downhill. ${found.scales.length && found.nodes.some((n) => n.level) ? "States that lead to each other share a scale; from one such part to another agents only go to the right. " : ""}${plural(found.nodes.filter((n) => !n.group).length, "state")} of ${count(found.states)}, ${plural(found.edges.length, "arrow")}${part ? `: ${part}` : ""}. Driven loops in colour, states of findings in red, traps in green, dashed boxes hold the other states.`
      : "Nothing to draw yet: a potential needs two states that were left twice or more.";
  }

  // Each counts runs, and leads to these runs.
  function drawTiles(found) {
    const tile = (title, number, chosen, severity) => h("li", {}, h("a", { class: "tile", href: link("/runs", chosen), "data-severity": number ? severity : null },
      h("span", { class: "number-of" }, found === null ? "–" : count(number)), h("span", {}, title)));
    return [
      tile("runs", found?.runs, {}, null),
      tile("failed", found?.failed, { outcome: "unsuccessful" }, "problem"),
      tile("at the limit", found?.limited, { outcome: "recursion_limit" }, "problem"),
      tile("repeating", found?.repeating, { kind: "repeating" }, "watch"),
    ];
  }

  function drawTable(found) {
    const columns = [{ name: "State" }, { name: "V (1/β)", number: true }, { name: "Component", number: true }, { name: "Attempts", number: true }, { name: "Moves", number: true }];
    fill(graphBox, table("States with the most moves", columns, found.states.map((each) => [
      state(each), number(each.potential), each.component ?? "–", count(each.attempts), count(each.flow)]), { empty: "No state is recorded yet.", unseen: true }));
    graphNote.textContent = `The ${count(found.states.length)} states with the most moves, of ${count(found.all)}. V is relative to the lowest state of the largest component; ∞ where there is no way back.`;
  }

  return {
    title: "Overview",
    update(status) {
      fill(tiles, drawTiles(status.tiles));
      fill(facts,
        fact("Evidence (log e-value)", h("span", { "data-severity": status.alarm ? "alarm" : null }, number(status.log_e_value))),
        fact("Transitions", count(status.transitions)),
        fact("States", count(status.states)),
        fact("Edges", count(status.edges)),
        fact("Escapes", count(status.escapes)),
        fact("Lost", h("span", { "data-severity": status.lost ? "warning" : null }, count(status.lost))));
      evidence.update(status);
      fill(trapBox, traps(status.traps), status.more_traps ? h("p", { class: "faint small" }, `And ${count(status.more_traps)} more.`) : null);
      const rows = status.findings.filter((finding) => show === "all" || finding.status === show);
      fill(findingBox,
        findingList(rows, WHOLE, rows.length || status.transitions ? (show === "open" ? "Nothing is open." : "None.") : "Nothing was recorded in this time."),
        status.verdict.map((each) => h("p", {}, h("b", { class: "small" }, each.word), " ", h("bdi", {}, each.text))),
        status.more_findings ? h("p", { class: "faint small" }, `And ${count(status.more_findings)} more; findings.csv has all.`) : null);
      drawStates(status);
    },
    restyle() { landscape?.restyle(); evidence.restyle(); },
    end() { clearTimeout(timer); asking.abort(); landscape?.destroy(); evidence.destroy(); },
  };
}
