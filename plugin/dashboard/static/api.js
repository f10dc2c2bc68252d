// Requests to the server, and events from it.

export async function ask(path, query, signal) {
  const answer = await fetch(`/api/${path}${query ? `?${query}` : ""}`, {
    signal, credentials: "same-origin", headers: { accept: "application/json" },
  });
  if (answer.status === 401) throw new Error("Signed out: open the address that the server printed.");
  const body = await answer.json().catch(() => ({ error: `the server answered ${answer.status}` }));
  if (!answer.ok) throw new Error(body.error ?? `the server answered ${answer.status}`);
  return body;
}

// Calls `tell` with every new status, `say` with how the line is; returns what ends it.
export function follow(query, tell, say) {
  const line = new EventSource(`/api/events${query ? `?${query}` : ""}`);
  line.addEventListener("status", (event) => {
    say("live");
    tell(JSON.parse(event.data));
  });
  line.addEventListener("error", () => {
    say("lost");
    // A refused line is not tried again by the browser.
    if (line.readyState === EventSource.CLOSED) retry = setTimeout(again, 3000);
  });
  let retry = null;
  let next = () => {};
  const again = () => { next = follow(query, tell, say); };
  return () => { clearTimeout(retry); line.close(); next(); };
}
