// New export: a file is read in the browser into the field; Groups are filtered and picked together. All of it works without.
"use strict";

const config = document.getElementById("config");
if (config) {
  const chooser = document.getElementById("file");
  const read = async (file) => { if (file && file.size < 1e6) config.value = await file.text(); };
  chooser.closest("[hidden]").hidden = false;
  chooser.addEventListener("change", () => read(chooser.files[0]));
  for (const type of ["dragenter", "dragover"]) config.addEventListener(type, (event) => { event.preventDefault(); config.classList.add("over"); });
  for (const type of ["dragleave", "drop"]) config.addEventListener(type, () => config.classList.remove("over"));
  config.addEventListener("drop", (event) => { if (event.dataTransfer.files.length) { event.preventDefault(); read(event.dataTransfer.files[0]); } });
}

const boxes = () => [...document.querySelectorAll(".group input")];
const tools = () => {
  const bar = document.querySelector(".tools[hidden]");
  if (bar) { bar.hidden = false; count(); }
  const level = document.querySelector("input[name=level]:checked");
  for (const part of document.querySelectorAll("[data-for]")) part.hidden = level !== null && part.dataset.for !== level.value;
};
const count = () => {
  const out = document.querySelector("output.count");
  if (out) out.value = boxes().filter((box) => box.checked).length + " / " + boxes().length;
};
document.addEventListener("input", (event) => {
  if (event.target.id === "filter") {
    const wanted = event.target.value.trim().toLowerCase();
    for (const box of boxes()) box.closest("label").hidden = !box.closest("label").textContent.toLowerCase().includes(wanted);
  }
});
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-all]");
  if (!button) return;
  for (const box of boxes()) if (!box.closest("label").hidden) box.checked = button.dataset.all === "1";
  count();
});
document.addEventListener("change", (event) => { if (event.target.name === "level") tools(); count(); });
// The Groups arrive while the page is open.
new MutationObserver(tools).observe(document.getElementById("main"), { childList: true, subtree: true });
tools();
