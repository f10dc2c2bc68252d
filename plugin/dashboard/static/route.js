// A URL for every view: the path says which, the query what of it.

const KEPT = ["context", "since", "until", "last", "paused"];

export function parse(location = window.location) {
  const path = location.pathname.split("/").filter(Boolean).map(decodeURIComponent);
  const view = path[0] ?? "overview";
  return { view, id: path[1] ?? null, query: new URLSearchParams(location.search) };
}

// The link to another view, with the labels, the range of time and the pause that are chosen now.
export const link = (path, changes = {}) => address(path, changes, (name) => KEPT.includes(name));

// The link to this view, with everything that is chosen now.
export const stay = (changes) => address(window.location.pathname, changes, () => true);

function address(path, changes, isKept) {
  const query = new URLSearchParams();
  for (const [name, value] of new URLSearchParams(window.location.search)) {
    if (isKept(name) && !(name in changes)) query.append(name, value);
  }
  for (const [name, value] of Object.entries(changes)) {
    for (const each of [value].flat()) {
      if (each !== null && each !== undefined && each !== "") query.append(name, each);
    }
  }
  const text = query.toString();
  return text ? `${path}?${text}` : path;
}

export function go(href, { replace = false } = {}) {
  window.history[replace ? "replaceState" : "pushState"](null, "", href);
  window.dispatchEvent(new Event("routed"));
}

// Links inside the page change the view without loading it again.
export function followLinks(root) {
  root.addEventListener("click", (event) => {
    const anchor = event.target.closest?.("a[href]");
    if (!anchor || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey ||
        event.shiftKey || event.altKey || anchor.hasAttribute("download")) return;
    const url = new URL(anchor.href);
    if (url.origin !== window.location.origin || anchor.getAttribute("href").startsWith("#")) return;
    event.preventDefault();
    go(url.pathname + url.search);
  });
}

// What is asked of the server: labels, and the range of time in seconds since 1970.
export function question(query, extra = {}) {
  const asked = new URLSearchParams();
  for (const value of query.getAll("context")) asked.append("context", value);
  const last = Number(query.get("last"));
  if (last > 0) {
    // Rounded, so that pages that look at the same time ask the same.
    const grain = Math.max(5, last / 100);
    asked.set("since", Math.floor((Date.now() / 1000 - last) / grain) * grain);
  } else {
    for (const name of ["since", "until"]) if (query.get(name)) asked.set(name, query.get(name));
  }
  for (const [name, value] of Object.entries(extra)) {
    for (const each of [value].flat()) asked.append(name, each);
  }
  return asked.toString();
}
