// Draws the charts, and picks what is clicked. Every pick is a link in the tables too.

(() => {
  let page, charts = [], latest = 0;

  // The theme's colours, as they are now.
  function inks() {
    const probe = document.createElement("span");
    probe.className = "probe";
    document.body.append(probe);
    const colour = (token) => { probe.style.color = `var(--${token})`; return getComputedStyle(probe).color; };
    const ink = {
      text: colour("text"), muted: colour("muted"), line: colour("line"), raised: colour("raised"),
      series: ["c1", "c2", "c3", "c4", "c5", "c6", "c7", "c8"].map(colour),
      font: getComputedStyle(document.documentElement).fontFamily,
      narrow: matchMedia("(max-width: 40rem)").matches,
      still: matchMedia("(prefers-reduced-motion: reduce)").matches,
    };
    ink.shadow = ink.muted.replace("rgb(", "rgba(").replace(")", ", 0.14)");
    probe.remove();
    return ink;
  }

  const kindOf = (select) => { const kept = localStorage.getItem(`chart.${select.dataset.chart}`); return [...select.options].some((o) => o.value === kept) ? kept : select.options[0].value; };

  // What is not there yet is asked for again, and nobody is torn away from what they read. Nothing is counted again until something is there.
  let soon;
  function lookAgain() {
    clearTimeout(soon);
    const numbers = document.getElementById("numbers");
    if (!numbers || !numbers.dataset.again) return;
    soon = setTimeout(look, numbers.dataset.again * 1000);
  }
  async function look() {
    const asked = latest;
    const old = document.getElementById("standings");
    const missed = () => { document.getElementById("numbers").removeAttribute("aria-busy"); lookAgain(); };
    try {
      const answer = await fetch(`/data/standings${location.search}`, { headers: { accept: "text/html" } });
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("standings");
      if (asked !== latest) return;
      if (!answer.ok || !fresh || fresh.dataset.standings !== old.dataset.standings) return go(location.pathname + location.search, false, missed);
      if (fresh.textContent !== old.textContent) old.replaceWith(document.adoptNode(fresh));
      lookAgain();
    } catch {
      lookAgain();
    }
  }

  function render() {
    lookAgain();
    charts.forEach((chart) => chart.dispose());
    charts = [];
    const numbers = document.getElementById("chart-numbers");
    if (!numbers) return;
    page = JSON.parse(numbers.textContent);
    const ink = inks();
    for (const place of document.querySelectorAll(".chart[data-chart]")) {
      const name = place.dataset.chart;
      const select = document.querySelector(`select[data-chart="${name}"]`);
      if (select) { select.hidden = false; select.value = kindOf(select); }
      ink.width = place.clientWidth;
      const option = draw(page, ink, name, select ? select.value : "");
      if (!option) {
        const empty = document.createElement("p");
        empty.className = "empty";
        empty.textContent = page.words.empty;
        place.replaceChildren(empty);
        continue;
      }
      // As high as what is in it needs, never lower than the page has it.
      const { height, ...drawn } = option;
      place.style.height = "";
      if (height > place.clientHeight) place.style.height = `${height}px`;
      const chart = echarts.init(place, null, { renderer: "canvas" });
      chart.setOption(drawn);
      chart.on("click", (at) => { if (at.data && at.data.picks) pick(at.data.picks); });
      charts.push(chart);
    }
  }

  // The same as the links in the tables, which `links.rs` makes: picked twice is let go.
  function pick(picks) {
    const old = [...new URLSearchParams(location.search)];
    const has = ([name, value]) => old.some(([n, v]) => n === name && v === value);
    const without = old.filter(([n, v]) => !picks.some(([name, value]) => n === name && v === value));
    const query = new URLSearchParams(picks.every(has) ? without : [...without, ...picks]);
    go(`/data?${query}`);
  }

  // What has the focus, by where it stands and what it says: its address changes with each pick.
  function marked(place) {
    const panel = (one) => { const of = one.closest("[aria-labelledby], [role=region]"); return of ? of.getAttribute("aria-labelledby") || of.getAttribute("aria-label") : ""; };
    const of = (one) => `${panel(one)} ${one.tagName} ${one.textContent.trim() || one.dataset.chart || one.id}`;
    const focused = document.activeElement;
    if (!place.contains(focused)) return () => {};
    const mark = of(focused);
    return (fresh) => {
      const same = [...fresh.querySelectorAll("a, button, summary, select, [tabindex]")].find((one) => of(one) === mark);
      (same || fresh.querySelector(".filters") || fresh).focus({ preventScroll: true });
    };
  }

  // For who does not see the numbers change.
  function tell() {
    const said = document.getElementById("said");
    const sums = [...document.querySelectorAll("#numbers .sums > div")].map((one) => [...one.children].map((part) => part.textContent.trim().replace(/\s+/g, " ")).join(" "));
    const text = sums.join(", ") || [...document.querySelectorAll("#numbers [role=status] h2")].map((one) => one.textContent).join(", ");
    if (said && said.textContent !== text) said.textContent = text;
  }

  // Only the numbers change: what is open stays open, and nothing jumps.
  async function go(url, push = true, lost = () => { location.href = url; }) {
    const mine = ++latest;
    const old = document.getElementById("numbers");
    old.setAttribute("aria-busy", "true");
    const focus = marked(old);
    const open = [...old.querySelectorAll("details[open]")].map((one) => one.parentElement.getAttribute("aria-labelledby"));
    try {
      const answer = await fetch(url, { headers: { accept: "text/html" } });
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("numbers");
      if (mine !== latest) return;
      if (!answer.ok || !fresh) return lost();
      for (const one of fresh.querySelectorAll("details.twin")) one.open = open.includes(one.parentElement.getAttribute("aria-labelledby"));
      charts.forEach((chart) => chart.dispose());
      charts = [];
      old.replaceWith(document.adoptNode(fresh));
      if (push) history.pushState(null, "", url);
      focus(fresh);
      tell();
      for (const link of document.querySelectorAll(".foot a[href*='back=']")) {
        const to = new URL(link.href);
        to.searchParams.set("back", location.pathname + location.search);
        link.href = to;
      }
      render();
    } catch {
      lost();
    }
  }

  document.addEventListener("click", (event) => {
    const link = event.target.closest("#numbers a[href^='/data?']");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    go(link.getAttribute("href"));
  });
  document.addEventListener("change", (event) => {
    if (!event.target.matches("select.kind")) return;
    localStorage.setItem(`chart.${event.target.dataset.chart}`, event.target.value);
    render();
  });
  addEventListener("popstate", () => go(location.pathname + location.search, false));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", render);
  let width = innerWidth;
  let drawn;
  new ResizeObserver(() => {
    if (innerWidth === width) return;
    width = innerWidth;
    charts.forEach((chart) => chart.resize());
    // Legends have other lines now.
    clearTimeout(drawn);
    drawn = setTimeout(render, 200);
  }).observe(document.documentElement);
  render();
})();
