// The views of one finding, one state and one loop.

import { ask } from "./api.js";
import { fill, h, table } from "./dom.js";
import { clock, count, number, percent } from "./format.js";
import { fact, findings, loopTable, path, section, severity, state, walks } from "./parts.js";
import { link, question } from "./route.js";

// A view that asks once, and again where there is more to see; `draw` fills the page.
function view(main, title, address, route, draw) {
  const asking = new AbortController();
  let drawn = null;
  let busy = false;
  async function look(mark) {
    if (busy || mark === drawn) return;
    busy = true;
    try {
      const found = await ask(address, question(route.query), asking.signal);
      drawn = mark;
      draw(found);
    } catch (error) {
      if (error.name !== "AbortError" && drawn === null) {
        fill(main, h("h1", {}, title), h("p", { class: "problem", role: "alert" }, error.message), h("p", {}, h("a", { href: link("/") }, "To the overview")));
        drawn = mark;
      }
    }
    busy = false;
  }
  return {
    title,
    // What is read is not changed under the reader's eyes more than every few seconds.
    update(status) { look(`${Math.floor(Date.now() / 5000)} ${status.transitions}`); },
    restyle() {},
    end() { asking.abort(); },
  };
}

const back = () => h("p", { class: "crumb" }, h("a", { href: link("/") }, "← Overview"));

export function finding(main, route) {
  return view(main, "Finding", `finding/${encodeURIComponent(route.id)}`, route, (found) => {
    const loop = found.counted;
    fill(main,
      back(),
      h("h1", {}, h("bdi", {}, found.sentence)),
      h("dl", { class: "facts" },
        fact("Severity", severity(found)),
        fact("Kind", found.kind),
        fact("Raised", clock(found.raised)),
        fact("Last seen", clock(found.updated)),
        fact("Resolved", found.resolved ? clock(found.resolved) : "no")),
      h("div", { class: "columns" },
        found.states.length ? section(found.loop ? "The loop" : "States", h("p", {}, path(found.states, found.more_states, Boolean(found.loop))),
          loop ? [loopTable(loop), affinity(loop), h("p", {}, h("a", { href: link(`/loop/${loop.id}`) }, "This loop by itself"))] : null) : null,
        found.details.length ? section("Details", table("Details", [{ name: "What" }, { name: "Value", class: "wrap" }], found.details.map((row) => [row.name, h("bdi", {}, row.value)]), { unseen: true })) : null),
      found.states.length ? section("Example runs", walks(found.walks)) : null);
  });
}

const affinity = (loop) =>
  h("p", {}, `Affinity ${number(loop.affinity)} ± ${number(loop.error)} nats: under detailed balance it is 0.`);

export function loop(main, route) {
  return view(main, "Loop", `loop/${encodeURIComponent(route.id)}`, route, (found) => {
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
  return view(main, "State", `state/${encodeURIComponent(route.id)}`, route, (found) => {
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
        fact("To itself", count(found.itself)),
        fact("Escapes", count(found.escapes))),
      h("div", { class: "columns" },
        section("Goes to", moves(found.leaves, "States that it goes to", "Nothing leaves it.")),
        section("Comes from", moves(found.enters, "States that it comes from", "Nothing leads to it."))),
      section("Findings", findings(found.findings, "Findings about this state", "No finding is about this state.")),
      section("Example runs", walks(found.walks)));
  });
}
