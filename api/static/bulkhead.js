// What pages do with scripts; all of them work without.
"use strict";

// On narrow screens the menu begins closed.
const narrow = matchMedia("(max-width: 60rem)");
const menu = document.querySelector("details.menu");
const fold = () => { if (menu) menu.open = !narrow.matches; };
fold();
narrow.addEventListener("change", fold);
