// The views of one finding, one state and one loop.

import { fill, h, table } from "./dom.js";
import { clock, count, number, percent } from "./format.js";
import { about, fact, findings, loopTable, path, section, severity, state, view, walks } from "./parts.js";
import { link, question } from "./route.js";

const back = () => h("p", { class: "crumb" }, h("a", { href: link("/") }, "← Overview"));

export function finding(main, route) {
  return view(main, "Finding", `finding/${encodeURIComponent(route.id)}`, () => question(route.query), (found) => {
    const loop = found.counted;
    fill(main,
      back(),
      h("h1", {}, h("bdi", {}, found.sentence)),
      h("p", {}, severity(found), " ", found.kind, h("span", { class: "faint" }, ` · raised ${clock(found.raised)}, last seen ${clock(found.updated)}${found.resolved ? `, resolved ${clock(found.resolved)}` : ""}`)),
      h("section", { class: "card finding" }, about(found)),
      found.states.length ? section(found.loop ? "The loop" : "States", h("p", {}, path(found.states, found.more_states, Boolean(found.loop))),
        loop ? [loopTable(loop), affinity(loop), h("p", {}, h("a", { href: link(`/loop/${loop.id}`) }, "Only this loop"))] : null) : null,
      found.states.length ? section("Example runs", walks(found.walks)) : null);
  });
}

const affinity = (loop) =>
  h("p", {}, `Affinity ${number(loop.affinity)} ± ${number(loop.error)} nats: the log of the counts along the loop over those in reverse, 0 in detailed balance.`);

export function loop(main, route) {
  return view(main, "Loop", `loop/${encodeURIComponent(route.id)}`, () => question(route.query), (found) => {
    fill(main,
      back(),
      h("h1", {}, "Loop of ", count(found.states.length), " states"),
      h("p", {}, path(found.states, 0, true)),
      section("Counts", loopTable(found), affinity(found)),
      section("Findings about these states", findings(found.findings, "Findings about this loop", "No finding is about this loop.")),
      section("Example runs", walks(found.walks)));
  });
}

export function statePage(main, route) {
  return view(main, "State", `state/${encodeURIComponent(route.id)}`, () => question(route.query), (found) => {
    const moves = (part, caption, empty) => {
      const columns = [{ name: "State" }, { name: "Moves", number: true }, { name: "Share", number: true }];
      return [
        table(caption, columns, part.moves.map((row) => [state(row), count(row.count), percent(row.share)]), { empty, unseen: true }),
        part.more ? h("p", { class: "faint small" }, `And ${count(part.more)} more.`) : null,
      ];
    };
    fill(main,
      back(),
      h("h1", {}, "State ", h("bdi", { class: "mono" }, found.label)),
      found.key === found.label ? null : h("details", { class: "card" }, h("summary", {}, `The whole key, ${count(found.length)} characters`), h("pre", { tabindex: "0" }, found.key)),
      h("dl", { class: "facts" },
        fact("V (1/β)", number(found.potential)),
        fact("Component", found.component ?? "–"),
        fact("Attempts", count(found.attempts)),
        fact("Self-loops", count(found.itself)),
        fact("Escapes", count(found.escapes))),
      h("div", { class: "columns" },
        section("Goes to", moves(found.leaves, "States that it goes to", "Nothing leaves it.")),
        section("Comes from", moves(found.enters, "States that it comes from", "Nothing leads to it."))),
      section("Findings", findings(found.findings, "Findings about this state", "No finding is about this state.")),
      section("Example runs", walks(found.walks)));
  });
}
