// The list of exports: what is selected, and the keyboard. Everything works without it.
"use strict";
{
  const find = (selector) => document.querySelector(selector);
  const rows = () => [...document.querySelectorAll("#rows > tr")];
  const boxes = () => [...document.querySelectorAll("#rows input[name=export]")];

  // How many are selected, and the box that selects the whole page.
  const count = () => {
    const all = boxes();
    const n = all.filter((box) => box.checked).length;
    const said = find("#picked"), every = find("#pick-all");
    if (said) said.textContent = n ? said.dataset.text.replace("{}", n) : "";
    if (!every) return;
    every.hidden = false;
    every.checked = n > 0 && n === all.length;
    every.indeterminate = n > 0 && n < all.length;
  };
  let last = null;
  document.addEventListener("click", (event) => {
    const box = event.target;
    if (!box.matches?.("#rows input[name=export]")) return;
    const all = boxes();
    const from = all.indexOf(last), to = all.indexOf(box);
    if (event.shiftKey && from >= 0) for (const other of all.slice(Math.min(from, to), Math.max(from, to))) other.checked = box.checked;
    last = box;
    count();
  });
  document.addEventListener("change", (event) => {
    if (event.target.id === "pick-all") for (const box of boxes()) box.checked = event.target.checked;
    if (event.target.closest?.("#live")) count();
    // The chips of the states stand outside of the form that they belong to.
    if (event.target.closest?.("#states")) htmx.trigger("#filters", "ticked");
  });

  // The row that the keys are at. It is remembered by its id: rows move when something changes.
  let at = null;
  const mark = () => {
    for (const row of rows()) row.toggleAttribute("data-at", row.id === at);
  };
  const go = (step) => {
    const all = rows();
    if (!all.length) return;
    const now = all.findIndex((row) => row.id === at);
    const next = all[now < 0 ? (step > 0 ? 0 : all.length - 1) : Math.max(0, Math.min(all.length - 1, now + step))];
    at = next.id;
    mark();
    next.querySelector(".c-name a").focus({ preventScroll: true });
    next.scrollIntoView({ block: "nearest" });
  };
  const select = () => {
    const box = rows().find((row) => row.id === at)?.querySelector("input[name=export]");
    if (box) { box.checked = !box.checked; count(); }
  };
  document.addEventListener("focusin", (event) => {
    const row = event.target.closest?.("#rows > tr");
    if (row && row.id !== at) { at = row.id; mark(); }
  });

  const isField = (element) => element.matches?.("input:not([type=checkbox]), select, textarea, [contenteditable]");
  const KEYS = {
    "/": () => { const field = find("#q"); field.focus(); field.select(); },
    "j": () => go(1),
    "k": () => go(-1),
    "x": select,
    "?": () => find("#help").togglePopover(),
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    const help = find("#help");
    if (event.key === "Escape") {
      const open = find("details.more[open]");
      if (open && !help?.matches(":popover-open")) { open.open = false; open.querySelector("summary").focus(); }
      else if (isField(event.target)) event.target.blur();
      return;
    }
    if (isField(event.target) || (help?.matches(":popover-open") && event.key !== "?")) return;
    if (event.key === "Enter" && at && event.target === document.body) {
      rows().find((row) => row.id === at)?.querySelector(".c-name a").click();
      return;
    }
    const key = KEYS[event.key];
    if (!key) return;
    event.preventDefault();
    key();
  });

  // A click beside the open filters closes them.
  document.addEventListener("pointerdown", (event) => {
    const open = find("details.more[open]");
    if (open && !open.contains(event.target)) open.open = false;
  });

  // The list was asked for again: what was selected stays, what is gone is not counted, and the focus is where it was.
  let held = null;
  document.addEventListener("htmx:before:swap", () => { held = document.activeElement?.closest("#rows > tr")?.id; });
  document.addEventListener("htmx:after:swap", () => {
    count();
    mark();
    if (held && document.activeElement === document.body) document.getElementById(held)?.querySelector(".c-name a").focus({ preventScroll: true });
  });
  count();
}
