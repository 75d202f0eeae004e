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
