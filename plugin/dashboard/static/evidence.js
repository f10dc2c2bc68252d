// Evidence against detailed balance over time, with the line at which it is an alarm.

import { h } from "./dom.js";
import { number, percent } from "./format.js";

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 43200, 86400, 172800, 604800, 2592000];

const two = (n) => String(n).padStart(2, "0");

function moment(time, times) {
  const at = new Date(1000 * time);
  const span = times[times.length - 1] - times[0];
  if (span > 172800) return `${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  const hour = `${two(at.getHours())}:${two(at.getMinutes())}`;
  return span > 600 ? hour : `${hour}:${two(at.getSeconds())}`;
}

export class Evidence {
  constructor(box) {
    this.box = box;
    this.plotBox = h("div", { class: "plot", role: "img", "aria-label": "Evidence over time" });
    this.caption = h("p", { class: "faint small" });
    box.replaceChildren(this.plotBox, this.caption);
    this.plot = null;
    this.data = null;
    this.sized = new ResizeObserver(() => this.plot?.setSize(this.size()));
    this.sized.observe(this.plotBox);
  }

  size() {
    return { width: Math.max(160, this.plotBox.clientWidth), height: Math.max(120, this.plotBox.clientHeight) };
  }

  options() {
    const faint = colour("--faint");
    const axis = { stroke: faint, grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "11px system-ui" };
    return {
      ...this.size(), legend: { show: false }, cursor: { drag: { x: false, y: false } },
      scales: { x: { time: true }, y: { range: (_, low, high) => [Math.min(0, low), Math.max(high, 1) * 1.1] } },
      axes: [{ ...axis, space: 70, incrs: STEPS, values: (_, times) => times.map((time) => moment(time, times)) }, { ...axis, size: 38 }],
      series: [
        {},
        { label: "log e-value", stroke: colour("--accent"), width: 2, points: { show: false } },
        { label: "alarm", stroke: colour("--alarm"), width: 1.5, dash: [6, 4], points: { show: false } },
      ],
    };
  }

  update(overview) {
    const [times, , values] = overview.evidence;
    const line = overview.line;
    this.data = overview;
    const shown = [times, values, times.map(() => line)];
    if (!this.plot) this.plot = new window.uPlot(this.options(), shown, this.plotBox);
    else this.plot.setData(shown);
    const now = overview.log_e_value;
    const words = `Evidence against detailed balance: log e-value ${number(now)}, alarm at ${number(line)} (at most ${percent(overview.alpha)} false alarms, however often you look)`;
    this.caption.textContent = times.length ? words : "No evidence yet: the test needs completed loops of three states or more.";
    this.plotBox.setAttribute("aria-label", words);
  }

  restyle() {
    this.plot?.destroy();
    this.plot = null;
    if (this.data) this.update(this.data);
  }

  destroy() {
    this.sized.disconnect();
    this.plot?.destroy();
  }
}
