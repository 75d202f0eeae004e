// What pages do with scripts; all of them work without.
"use strict";

// On narrow screens the menu begins closed.
const narrow = matchMedia("(max-width: 60rem)");
const menu = document.querySelector("details.menu");
const fold = () => { if (menu) menu.open = !narrow.matches; };
fold();
narrow.addEventListener("change", fold);

// What came of a form is told once: not again when the page is reloaded or its address given on.
const address = new URL(location);
if (address.searchParams.has("done") || address.searchParams.has("failed")) {
  for (const name of ["done", "failed", "n"]) address.searchParams.delete(name);
  history.replaceState(history.state, "", address);
}

// Whether what is seen is what is (templates/live.html): the server gives a sign of life every five seconds.
const events = document.getElementById("events");
if (events) {
  const LATE = 12000;
  let heard = Date.now();
  const say = (state) => {
    if (events.dataset.live === state) return;
    events.dataset.live = state;
    events.textContent = events.dataset[state];
  };
  const alive = () => { heard = Date.now(); say("on"); };
  say("connecting");
  for (const sign of ["changed", "beat", "htmx:sse:after:connection"]) events.addEventListener(sign, alive);
  events.addEventListener("htmx:sse:error", (event) => {
    say("stale");
    // Logged out meanwhile: the page itself says so.
    if (event.detail.status === 401) location.reload();
  });
  // Refused or out of reach from the beginning: htmx connects again only what was connected once.
  for (const failure of ["htmx:response:error", "htmx:error"]) {
    events.addEventListener(failure, (event) => {
      if (event.target !== events) return;
      say("stale");
      setTimeout(() => htmx.trigger(events, "connect"), 5000);
    });
  }
  setInterval(() => { if (!document.hidden && Date.now() - heard > LATE) say("stale"); }, 2000);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) heard = Date.now(); });
}

// What is shown once can be copied; where the browser lets nobody copy, it is selected.
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const source = document.getElementById(button.dataset.copy);
  try {
    await navigator.clipboard.writeText(source.textContent);
    button.querySelector("span").textContent = button.dataset.copied;
  } catch {
    getSelection().selectAllChildren(source);
  }
});
