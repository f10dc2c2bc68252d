// The landscape: states as levels at the height of their potential, moves as arrows.

import { h } from "./dom.js";
import { count, number } from "./format.js";
import { go, link } from "./route.js";

const FONT = 'system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif';

const AT_ONCE = 120; // arrows drawn before the page may answer
const MANY = 200; // more arrows are drawn straight, which is quicker
const MAJOR = 10;

const boxOf = (label, scale) => ({ scale, w: scale * (16 + 6.4 * [...label].length), h: scale * 22, f: scale * 11 });

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

const calm = () => window.matchMedia("(prefers-reduced-motion: reduce)").matches;

function style() {
  const [ink, faint, line, surface] = ["--ink", "--faint", "--edge", "--surface"].map(colour);
  const loops = [0, 1, 2, 3].map((i) => ({
    selector: `edge.loop${i}`,
    style: { "line-color": colour(`--loop${i}`), "target-arrow-color": colour(`--loop${i}`) },
  }));
  return [
    { selector: "node", style: {
      shape: "round-rectangle", width: "data(w)", height: "data(h)", label: "data(label)",
      "font-family": FONT, "font-size": "data(f)", color: ink, "text-valign": "center", "text-halign": "center",
      "background-color": surface, "border-width": 1, "border-color": faint, "min-zoomed-font-size": 5,
    } },
    { selector: "node.group", style: { "border-style": "dashed", color: faint, "background-color": colour("--ground") } },
    { selector: "node.major", style: { "z-index": 5 } },
    { selector: "node.found", style: { "border-color": colour("--alarm"), "border-width": 2 } },
    { selector: "node.trap", style: { "border-color": colour("--trap"), "border-width": 3 } },
    { selector: "node.driven", style: { "border-color": ink, "border-width": 1.5, "font-weight": 600 } },
    { selector: "edge", style: {
      width: "data(w)", "curve-style": "data(c)", "control-point-step-size": 24, "line-color": line,
      "target-arrow-color": line, "target-arrow-shape": "triangle", "arrow-scale": 0.8, opacity: 0.55,
    } },
    // What leads to a box of other states is many moves and says little.
    { selector: "edge.rest", style: { opacity: 0.18, "arrow-scale": 0.6 } },
    { selector: "edge.driven", style: { opacity: 1, "z-index": 9, "arrow-scale": 1.1 } },
    ...loops,
    { selector: ".dim", style: { opacity: 0.12 } },
  ];
}

export class Landscape {
  constructor(box, { onpick } = {}) {
    this.box = box;
    this.data = null;
    this.axis = h("div", { class: "axis", "aria-hidden": "true" });
    this.canvas = h("div", { class: "graph", role: "img", "aria-label": "Landscape" });
    this.tip = h("div", { class: "tip", hidden: true, "aria-hidden": "true" });
    const zoom = (factor) => () => this.zoom(factor);
    this.tools = h("div", { class: "tools" },
      h("button", { type: "button", "aria-label": "Zoom in", on: { click: zoom(1.3) } }, "+"),
      h("button", { type: "button", "aria-label": "Zoom out", on: { click: zoom(1 / 1.3) } }, "−"),
      h("button", { type: "button", on: { click: () => this.fit() } }, "Fit"));
    box.replaceChildren(this.axis, this.canvas, this.tip, this.tools);
    this.cy = window.cytoscape({
      container: this.canvas, style: style(), layout: { name: "preset" }, autoungrabify: true,
      boxSelectionEnabled: false, autounselectify: true, minZoom: 0.1, maxZoom: 4,
      textureOnViewport: true,
    });
    this.listen(onpick);
    this.sized = new ResizeObserver(() => this.resize());
    this.sized.observe(this.canvas);
  }

  listen(onpick) {
    const { cy } = this;
    cy.on("viewport", () => this.drawAxis());
    cy.on("zoom", () => { clearTimeout(this.waiting); this.waiting = setTimeout(() => this.size(), 80); });
    cy.on("tap", "node", (event) => { if (!event.target.hasClass("group")) onpick?.(event.target.id()); });
    cy.on("tap", "edge.driven", (event) => go(link(`/finding/${event.target.data("loops")[0]}`)));
    cy.on("mouseover", "node", (event) => {
      const near = event.target.closedNeighborhood();
      cy.batch(() => { cy.elements().difference(near).addClass("dim"); });
      this.show(event, `${event.target.data("label")} · V ${number(event.target.data("v"))} · ${count(event.target.data("flow"))} moves`);
    });
    cy.on("mouseover", "edge", (event) => {
      const edge = event.target;
      this.show(event, `${edge.source().data("label")} → ${edge.target().data("label")} · ${count(edge.data("count"))} moves, back ${count(edge.data("back"))}`);
    });
    cy.on("mouseout", "node, edge", () => { cy.batch(() => { cy.elements(".dim").removeClass("dim"); }); this.tip.hidden = true; });
  }

  show(event, text) {
    this.tip.textContent = text;
    this.tip.hidden = false;
    const at = event.renderedPosition;
    this.tip.style.left = `${Math.min(at.x + 12, Math.max(0, this.box.clientWidth - this.tip.offsetWidth - 8))}px`;
    this.tip.style.top = `${Math.min(at.y + 12, this.box.clientHeight - 30)}px`;
  }

  update(data, trapped = new Set(), found = new Set()) {
    const first = this.data === null || !this.data.nodes.length;
    this.data = data;
    const busiest = data.nodes.filter((node) => !node.group).sort((a, b) => b.flow - a.flow);
    this.major = new Set(busiest.slice(0, MAJOR).map((node) => node.id));
    const isRest = (edge) => edge.source.startsWith("others") || edge.target.startsWith("others");
    const widest = Math.log1p(Math.max(1, ...data.edges.filter((edge) => !isRest(edge)).map((edge) => edge.count)));
    const nodes = new Map(data.nodes.map((node) => [node.id, node]));
    const edges = new Map(data.edges.map((edge) => [`${edge.source}>${edge.target}`, edge]));
    const names = [...new Set(data.edges.flatMap((edge) => edge.loops))];
    const { cy } = this;
    cy.batch(() => {
      cy.nodes().filter((node) => !nodes.has(node.id())).remove();
      cy.edges().filter((edge) => !edges.has(edge.id())).remove();
      for (const node of nodes.values()) this.putNode(node, trapped, found);
    });
    // In parts, so that the page can answer in between.
    const rest = [...edges];
    clearTimeout(this.drawing);
    const drawSome = () => {
      cy.batch(() => {
        for (const [id, edge] of rest.splice(0, AT_ONCE)) this.putEdge(id, edge, widest, names, isRest(edge));
      });
      if (rest.length) this.drawing = setTimeout(drawSome, 0);
      else this.size();
    };
    drawSome();
    const text = `Landscape of ${data.nodes.length} of ${count(data.states)} states by their potential, with ${data.edges.length} arrows for the moves between them. The table shows the same.`;
    this.canvas.setAttribute("aria-label", text);
    if (first) this.fit(false);
    this.drawAxis();
  }

  putNode(node, trapped, named) {
    const data = { label: node.label, v: node.potential, flow: node.flow };
    let found = this.cy.getElementById(node.id);
    if (!found.length) {
      found = this.cy.add({ group: "nodes", data: { id: node.id, ...data, ...boxOf(node.label, 1) }, position: { x: node.x, y: node.y } });
    } else {
      found.data(data);
      const at = found.position();
      if (Math.hypot(at.x - node.x, at.y - node.y) > 1) {
        if (calm() || this.data.nodes.length > 120) found.position({ x: node.x, y: node.y });
        else found.animate({ position: { x: node.x, y: node.y } }, { duration: 400 });
      }
    }
    found.toggleClass("group", node.group);
    found.toggleClass("found", named.has(node.id));
    found.toggleClass("trap", trapped.has(node.id));
    found.toggleClass("major", this.major.has(node.id) || trapped.has(node.id) || named.has(node.id));
    found.removeClass("driven");
  }

  // On a large landscape the names that matter keep a size that can be read.
  size() {
    if (this.data === null) return;
    const scale = Math.min(4, Math.max(1, 0.95 / this.cy.zoom()));
    const large = this.data.nodes.length > 40;
    this.cy.batch(() => {
      this.cy.nodes().forEach((node) => {
        const own = large && (node.hasClass("major") || node.hasClass("driven")) ? scale : 1;
        if (node.data("scale") !== own) node.data(boxOf(node.data("label"), own));
      });
    });
  }

  putEdge(id, edge, widest, names, rest) {
    const driven = edge.loops.length > 0;
    const width = rest ? 0.6 : 0.6 + 3.4 * (Math.log1p(edge.count) / widest) ** 2 + (driven ? 1.6 : 0);
    const c = driven || this.data.edges.length < MANY ? "bezier" : "straight";
    const data = { c, w: width, count: edge.count, back: edge.back, loops: edge.loops };
    let found = this.cy.getElementById(id);
    if (!found.length) {
      found = this.cy.add({ group: "edges", data: { id, source: edge.source, target: edge.target, ...data } });
    } else {
      found.data(data);
    }
    found.classes(driven ? `driven loop${names.indexOf(edge.loops[0]) % 4}` : rest ? "rest" : "");
    if (driven) found.connectedNodes().addClass("driven");
  }

  // Each component has a scale of its own, from its lowest state up.
  drawAxis() {
    if (!this.data) return;
    const zoom = this.cy.zoom();
    const pan = this.cy.pan();
    const [width, height] = [this.canvas.clientWidth, this.canvas.clientHeight];
    const shown = [];
    for (const each of this.data.scales) {
      const left = Math.max(0, pan.x + zoom * each.left);
      const right = Math.min(width, pan.x + zoom * each.right);
      if (right - left < 30) continue;
      const perUnit = each.scale * zoom;
      const step = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100].find((s) => s * perUnit >= 42) ?? 200;
      for (let v = 0; v <= each.top + 1e-9 && shown.length < 120; v += step) {
        const y = pan.y - zoom * each.scale * v;
        if (y > 8 && y < height - 4) shown.push([left, right, y, v]);
      }
    }
    this.axis.replaceChildren(...shown.map(([left, right, y, v]) => {
      const tick = h("div", { class: v === 0 ? "tick ground" : "tick" }, h("span", {}, number(v)));
      tick.style.transform = `translate(${left.toFixed(1)}px, ${y.toFixed(1)}px)`;
      tick.style.width = `${(right - left).toFixed(1)}px`;
      return tick;
    }));
  }

  zoom(factor) {
    const middle = { x: this.canvas.clientWidth / 2, y: this.canvas.clientHeight / 2 };
    this.cy.zoom({ level: this.cy.zoom() * factor, renderedPosition: middle });
  }

  fit(all = true) {
    this.cy.fit(undefined, 28);
    const middle = this.cy.nodes(".driven");
    if (!all && this.cy.zoom() < 0.6 && this.canvas.clientWidth < 600) {
      // On a small screen a part that can be read says more than the whole.
      this.cy.zoom(0.7);
      this.cy.center(middle.length ? middle : this.cy.nodes().max((node) => node.position("y")).ele);
    }
    if (this.cy.zoom() > 1.4) { this.cy.zoom(1.4); this.cy.center(); }
  }

  resize() {
    this.cy.resize();
    this.fit(false);
  }

  restyle() {
    this.cy.style(style());
  }

  destroy() {
    clearTimeout(this.waiting);
    clearTimeout(this.drawing);
    this.sized.disconnect();
    this.cy.destroy();
  }
}
