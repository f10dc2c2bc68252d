// Elements are made here and nowhere else: texts by text nodes, so that nothing in them is markup.

const ATTRIBUTES = new Set([
  "class", "id", "href", "type", "value", "selected", "disabled", "for", "role", "scope", "tabindex",
  "title", "name", "rel", "download", "datetime", "colspan", "hidden", "step", "lang", "dir",
]);

const isAllowed = (name) => ATTRIBUTES.has(name) || /^(aria|data)-[a-z]+$/.test(name);

export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "on") {
      for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    } else if (!isAllowed(name)) {
      throw new Error(`no attribute ${name}`);
    } else if (value !== null && value !== undefined && value !== false) {
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
  append(element, children);
  return element;
}

export function append(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined && child !== false) {
      element.append(child instanceof Node ? child : String(child));
    }
  }
  return element;
}

export const fill = (element, ...children) => {
  element.replaceChildren();
  return append(element, children);
};

const SVG = "http://www.w3.org/2000/svg";
const SVG_ATTRIBUTES = new Set([
  "class", "viewBox", "x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "r", "d", "width", "height",
  "role", "aria-hidden", "text-anchor", "preserveAspectRatio",
]);

export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (!SVG_ATTRIBUTES.has(name)) throw new Error(`no attribute ${name}`);
    element.setAttribute(name, String(value));
  }
  return append(element, children);
}

// A table that scrolls by itself, and that a keyboard can scroll.
export function table(caption, columns, rows, { empty = "None.", unseen = false } = {}) {
  if (!rows.length) return h("p", { class: "faint" }, empty);
  const head = columns.map((column) => h("th", { scope: "col", class: column.number ? "number" : null }, column.name));
  const body = rows.map((cells) =>
    h("tr", {}, cells.map((cell, i) =>
      i === 0
        ? h("th", { scope: "row" }, cell)
        : h("td", { class: columns[i].number ? "number" : columns[i].class ?? null }, cell))));
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    h("table", {},
      h("caption", { class: unseen ? "unseen" : null }, caption),
      h("thead", {}, h("tr", {}, head)),
      h("tbody", {}, body)));
}
