// Numbers and times in words.

const whole = new Intl.NumberFormat("en");

export const count = (n) => whole.format(n ?? 0);

export const plural = (n, noun) => `${count(n)} ${noun}${n === 1 ? "" : "s"}`;

export function number(x) {
  if (x === null || x === undefined) return "–";
  if (x === "inf") return "∞";
  if (x === "-inf") return "-∞";
  if (typeof x !== "number") return String(x);
  if (Math.abs(x) >= 100) return whole.format(Math.round(x));
  if (x === 0 || Math.abs(x) >= 0.1) return x.toFixed(2);
  return x.toPrecision(2);
}

export function pvalue(p) {
  if (p === null || p === undefined) return "–";
  if (p < 1e-300) return "< 1e-300";
  return p < 1e-3 ? p.toExponential(0) : Number(p.toPrecision(2)).toString();
}

export const percent = (x) => `${(100 * x).toFixed(x < 0.1 ? 1 : 0)}%`;

const two = (n) => String(n).padStart(2, "0");

export function clock(seconds) {
  if (!seconds) return "–";
  const at = new Date(1000 * seconds);
  const day = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  const hour = `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
  return day === clock.today() ? hour : `${day} ${hour}`;
}
clock.today = () => {
  const now = new Date();
  return `${now.getFullYear()}-${two(now.getMonth() + 1)}-${two(now.getDate())}`;
};

export function ago(seconds, now = Date.now() / 1000) {
  if (!seconds) return "–";
  const gone = Math.max(0, now - seconds);
  if (gone < 10) return "just now";
  if (gone < 120) return `${Math.round(gone)} s ago`;
  if (gone < 7200) return `${Math.round(gone / 60)} min ago`;
  if (gone < 172800) return `${Math.round(gone / 3600)} h ago`;
  return `${Math.round(gone / 86400)} days ago`;
}
