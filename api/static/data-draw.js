// How each chart is drawn from its table: data in, options for ECharts out.
"use strict";

const draw = (() => {
  let page, ink;
  const ruler = document.createElement("canvas").getContext("2d");

  const rowsOf = (name) => {
    const { columns, rows } = page.charts[name];
    return rows.map((row) => Object.fromEntries(columns.map((column, n) => [column, row[n]])));
  };
  const jobs = () => Object.keys(page.jobs).filter((job) => page.charts.totals.rows.some((row) => row[0] === job));
  const picked = (name, value) => page.filters.some(([n, v]) => n === name && v === value);
  const anyPicked = (...names) => page.filters.some(([n]) => names.includes(n));
  // Counts as they are; of other numbers the digits that count, as in the tables.
  const digits = (size) => size >= 1000 ? { maximumFractionDigits: 0 } : size >= 100 ? { maximumFractionDigits: 1 } : size >= 1 ? { maximumFractionDigits: 2 } : { maximumSignificantDigits: 4 };
  const number = (n) => (typeof n === "number" ? n.toLocaleString("en-US", Number.isInteger(n) ? {} : digits(Math.abs(n))) : n);
  const short = (n) => Math.abs(n) >= 1e5 ? Intl.NumberFormat("en-US", { notation: "compact" }).format(n) : number(n);
  const cut = (text, most) => (text.length > most ? text.slice(0, most - 1) + "…" : text);
  const unique = (list) => [...new Set(list)];
  const name = (column, value) => (value === null ? page.words.not_given : (page.names[column] || {})[value] || value);
  const colour = (n) => ink.series[n % ink.series.length];

  const base = () => ({
    animationDuration: ink.still ? 0 : 250, animationDurationUpdate: ink.still ? 0 : 250,
    textStyle: { fontFamily: ink.font, color: ink.text },
    grid: { left: 8, right: 20, top: 16, bottom: 8, containLabel: true },
    tooltip: { renderMode: "richText", confine: true, backgroundColor: ink.raised, borderColor: ink.line, textStyle: { color: ink.text, fontSize: 13 }, axisPointer: { type: "shadow", shadowStyle: { color: ink.shadow } } },
    legend: { top: 2, left: 8, right: 8, type: "scroll", tooltip: { show: true }, itemWidth: 12, itemHeight: 12, icon: "roundRect", textStyle: { color: ink.muted }, pageIconColor: ink.muted, pageIconInactiveColor: ink.line, pageTextStyle: { color: ink.muted } },
  });
  // The legend in as many lines as its names need, and the picture below it; more than three lines are turned over like pages.
  function keyed(names, more) {
    const room = ink.width - 16 + 10;
    ruler.font = `12px ${ink.font}`;
    const wide = (text) => 12 + 6 + 10 + ruler.measureText(text).width;
    let [lines, used] = [1, 0];
    for (const one of names) {
      if (used > 0 && used + wide(one) > room) { lines += 1; used = 0; }
      used += wide(one);
    }
    const pages = lines > 3;
    return { legend: { ...base().legend, type: pages ? "scroll" : "plain", itemGap: 10, ...more }, top: 14 + 22 * (pages ? 1 : lines) };
  }
  const categories = (data, more) => ({ type: "category", data, axisTick: { show: false }, axisLine: { lineStyle: { color: ink.line } }, axisLabel: { color: ink.muted, hideOverlap: true }, ...more });
  const values = (more) => ({ type: "value", minInterval: 1, splitNumber: ink.narrow ? 3 : 5, axisLabel: { color: ink.muted, formatter: short }, splitLine: { lineStyle: { color: ink.line } }, ...more });
  const faded = (isPicked, any) => ({ opacity: any && !isPicked ? 0.35 : 1 });
  const said = (title, parts) => [title, ...parts.map(([label, n]) => `${label}: ${number(n)}`)].join("\n");

  // What is picked by a click: parameter and value of each datum.
  const picks = (pairs) => ({ picks: pairs.map(([n, v]) => [n, v === null ? "" : String(v)]) });

  function coded(chart, parameter, column, kind) {
    const rows = rowsOf(chart);
    const measure = chart === "resources" ? "records" : "people";
    const codes = unique(rows.map((row) => row[column]));
    const label = (code) => { const row = rows.find((r) => r[column] === code); return (row && row.display) || name(column, code); };
    const all = jobs();
    const find = (job, code) => rows.find((row) => row.job_id === job && row[column] === code);
    const tip = (code) => said(label(code) + (code && label(code) !== code ? ` (${code})` : ""),
      all.flatMap((job) => { const row = find(job, code); const of = all.length > 1 ? `${page.jobs[job]} · ` : ""; return row ? [[of + page.words.people, row.people], [of + page.words.records, row.records]] : []; }));
    const any = anyPicked(parameter);
    const datum = (code, value) => ({ value, name: label(code), code, ...picks([[parameter, code]]), itemStyle: faded(picked(parameter, code === null ? "" : code), any) });
    if (kind === "tiles") {
      return { ...base(), legend: undefined, tooltip: { ...base().tooltip, formatter: (at) => at.data.code === undefined ? "" : tip(at.data.code) },
        series: [{ type: "pie", radius: ["38%", "72%"], center: ["50%", "50%"], padAngle: 1, itemStyle: { borderRadius: 3 }, label: { color: ink.text, formatter: (at) => cut(at.name, 24) }, labelLine: { lineStyle: { color: ink.line } },
          data: codes.map((code, n) => { const d = datum(code, all.reduce((sum, job) => sum + ((find(job, code) || {})[measure] || 0), 0)); d.itemStyle.color = colour(n); return d; }) }] };
    }
    // Two or three stand side by side; more of them are pieces of one bar.
    const stacked = all.length > 3;
    const one = all.length === 1;
    const key = keyed(all.map((job) => page.jobs[job]));
    // Every code has its bar, however many there are: the picture grows.
    const thick = one || stacked ? 23 : 10 + 13 * all.length;
    return { ...base(), height: (one ? 16 : key.top + 8) + thick * codes.length, grid: { ...base().grid, top: one ? 8 : key.top, right: one ? 52 : 20 }, legend: one ? undefined : key.legend,
      tooltip: { ...base().tooltip, trigger: "axis", formatter: (at) => tip(codes[at[0].dataIndex]) },
      // What stands beside each bar needs no axis.
      xAxis: values(one ? { show: false, max: "dataMax" } : {}),
      yAxis: categories(codes.map((code) => label(code)), { inverse: true, axisLabel: { color: ink.text, interval: 0, formatter: (text) => cut(text, ink.narrow ? 20 : 32) } }),
      series: all.map((job, n) => ({ type: "bar", name: page.jobs[job], stack: stacked ? "all" : undefined, color: colour(n), barMaxWidth: 18, barGap: "10%", cursor: "pointer",
        label: { show: one, position: "right", color: ink.muted, formatter: (at) => short(at.value) },
        itemStyle: { borderRadius: stacked ? 0 : [0, 3, 3, 0] }, data: codes.map((code) => datum(code, (find(job, code) || {})[measure] || 0)) })) };
  }

  // Every band from the youngest to the oldest, also those that nobody is in; who has no age comes first.
  function everyBand(found) {
    if (page.bands === "life") return [...found.filter((band) => band === ""), "0-17", "18-39", "40-64", "65-"];
    const known = found.filter((band) => band !== "").map((band) => parseInt(band, 10));
    const all = found.filter((band) => band === "");
    const years = Number(page.bands);
    for (let from = Math.min(...known); from <= Math.max(...known); from += years) all.push(from >= 100 ? "100-" : `${from}-${from + years - 1}`);
    return all;
  }

  // A round step, so that three of them at most hold so many.
  const stepOf = (n) => { for (let ten = 1; ; ten *= 10) for (const step of [ten, 2 * ten, 5 * ten]) if (n <= 3 * step) return step; };

  function people(kind) {
    const rows = rowsOf("people");
    const bandOf = (row) => (row.age_from === null ? "" : `${row.age_from}-${row.age_to === null ? "" : row.age_to}`);
    const label = (band) => band === "" ? page.words.not_given : band.endsWith("-") ? band.replace("-", "+") : band.replace("-", "–");
    const found = unique(rows.slice().sort((a, b) => (a.age_from === null ? -1 : a.age_from) - (b.age_from === null ? -1 : b.age_from)).map(bandOf));
    const bands = everyBand(found);
    const order = ["male", "female", "other", "unknown", null];
    const genders = unique(rows.map((row) => row.gender)).sort((a, b) => order.indexOf(a) - order.indexOf(b));
    // More than three exports are shown as one: so many pyramids in each other cannot be read.
    const all = jobs().length > 3 ? [null] : jobs();
    const any = anyPicked("gender", "age");
    const isPicked = (gender, band) => (!anyPicked("gender") || picked("gender", gender === null ? "" : gender)) && (!anyPicked("age") || picked("age", band));
    const left = kind === "pyramid" ? ["male"] : [];
    // A gender has its colour, whoever else is there; of several exports one is paler than the other.
    const hues = { male: 0, female: 1, other: 5, unknown: 6 };
    const shade = (gender, job) => echarts.color.modifyAlpha(colour(gender === null ? 7 : hues[gender] ?? 4), [1, 0.62, 0.36][job]);
    const series = all.flatMap((job, j) => genders.map((gender) => ({
      type: "bar", stack: String(job), name: name("gender", gender) + (all.length > 1 ? ` · ${page.jobs[job]}` : ""), color: shade(gender, j), cursor: "pointer", barMaxWidth: 26, barCategoryGap: "18%",
      data: bands.map((band) => {
        const n = rows.filter((row) => (job === null || row.job_id === job) && row.gender === gender && bandOf(row) === band).reduce((sum, row) => sum + row.people, 0);
        return { value: left.includes(gender) ? -n : n, ...picks([["gender", gender], ["age", band]]), itemStyle: faded(isPicked(gender, band), any) };
      }) })));
    const tip = (at) => said(`${page.words.age} ${at[0].axisValueLabel}`, at.map((one) => [one.seriesName, Math.abs(one.value)]));
    const categoriesAxis = categories(bands.map(label));
    const highest = Math.max(2, ...series.flatMap((one) => one.data.map((d) => Math.abs(d.value))));
    const interval = stepOf(highest);
    const most = Math.ceil(highest / interval) * interval;
    const axis = values({ axisLabel: { color: ink.muted, formatter: (n) => short(Math.abs(n)) }, ...(kind === "pyramid" && genders.length <= 2 && all.length === 1 ? { min: -most, max: most, interval } : {}) });
    const key = keyed(unique(series.map((one) => one.name)));
    return { ...base(), legend: key.legend, grid: { ...base().grid, top: key.top }, tooltip: { ...base().tooltip, trigger: "axis", formatter: tip },
      xAxis: kind === "pyramid" ? axis : categoriesAxis, yAxis: kind === "pyramid" ? categoriesAxis : axis, series };
  }

  // A period behind the other, also those in which nothing happened. Where there would be too many, as with a year 1 among them, only those in
  // which something did.
  const MOST_PERIODS = 1500;
  function everyPeriod(found) {
    const known = unique(found.filter((period) => period !== null)).map(periodNumber).sort((a, b) => a - b);
    const [first, last] = [known[0], known[known.length - 1]];
    if (known.length === 0 || last - first >= MOST_PERIODS) return known.map(periodText);
    return Array.from({ length: last - first + 1 }, (_, n) => periodText(first + n));
  }
  // As the server groups: years, quarters or months since the year 0, and back.
  const PARTS = { year: 1, quarter: 4, month: 12 };
  const periodNumber = (text) => Number(text.slice(0, 4)) * PARTS[page.by] + (text.length > 4 ? Number(text.slice(page.by === "quarter" ? 6 : 5)) - 1 : 0);
  function periodText(n) {
    const [year, part] = [String(Math.floor(n / PARTS[page.by])).padStart(4, "0"), n % PARTS[page.by] + 1];
    return page.by === "year" ? year : page.by === "quarter" ? `${year}-Q${part}` : `${year}-${String(part).padStart(2, "0")}`;
  }

  const zoom = (n) => n > 40 ? { dataZoom: [{ type: "slider", height: 18, bottom: 6, borderColor: ink.line, backgroundColor: "transparent", fillerColor: ink.shadow, handleSize: "120%", textStyle: { color: ink.muted }, labelFormatter: (_, text) => text, brushSelect: false, start: n > 240 ? 60 : 0 }] } : {};

  function encounters(kind) {
    const rows = rowsOf("encounters");
    const periods = everyPeriod(unique(rows.map((row) => row.period)));
    const unknown = rows.some((row) => row.period === null);
    const axis = unknown ? [...periods, null] : periods;
    const all = jobs();
    const split = all.length > 1 ? all : unique(rows.map((row) => row.class));
    // The same order, and so the same colour, whatever is picked.
    const usual = ["AMB", "WELLNESS", "EMER", "IMP", "ACUTE", "VR", "HH", "SS", "OBSENC", null];
    const place = (key) => (usual.includes(key) ? usual.indexOf(key) : usual.length);
    const keys = all.length > 1 ? split : split.sort((a, b) => place(a) - place(b) || String(a).localeCompare(b));
    const counts = new Map();
    for (const row of rows) { const key = JSON.stringify([all.length > 1 ? row.job_id : row.class, row.period]); counts.set(key, (counts.get(key) || 0) + row.records); }
    const any = anyPicked("class", "period");
    const isPicked = (key, period) => (!anyPicked("period") || picked("period", period === null ? "" : period)) && (all.length > 1 || !anyPicked("class") || picked("class", key === null ? "" : key));
    const line = kind !== "columns";
    const series = keys.map((key, n) => ({
      type: line ? "line" : "bar", name: all.length > 1 ? page.jobs[key] : name("class", key), color: colour(n), stack: kind === "lines" || (all.length > 1 && line) ? undefined : "all", areaStyle: kind === "areas" ? { opacity: 0.55 } : undefined, symbol: "circle", showSymbol: axis.length < 60, symbolSize: 5, lineStyle: { width: 2 }, cursor: "pointer", barMaxWidth: 46,
      data: axis.map((period) => ({ value: counts.get(JSON.stringify([key, period])) || 0, ...picks(all.length > 1 ? [["period", period]] : [["period", period], ["class", key]]), itemStyle: line ? undefined : faded(isPicked(key, period), any) })) }));
    const key = keyed(series.map((one) => one.name));
    return { ...base(), ...zoom(axis.length), legend: key.legend, grid: { ...base().grid, top: key.top, bottom: axis.length > 40 ? 34 : 8 },
      tooltip: { ...base().tooltip, trigger: "axis", formatter: (at) => said(at[0].axisValueLabel, at.filter((one) => one.value > 0).map((one) => [one.seriesName, one.value])) },
      xAxis: categories(axis.map((period) => (period === null ? page.words.not_given : period))), yAxis: values(), series };
  }

  // The values that are drawn side by side: of each export, and of each part of an observation that has several.
  function valueSeries(chart) {
    const mine = rowsOf(chart).filter((row) => row.unit === page.unit);
    const all = jobs();
    const several = all.length > 1;
    const series = all.flatMap((job, j) => unique(mine.filter((row) => row.job_id === job).map((row) => row.part)).map((part, p) => ({
      // Several exports are told apart by colour, and their parts by the line.
      colour: several ? j : p, line: several ? ["solid", "dashed", "dotted"][p % 3] : "solid",
      rows: mine.filter((row) => row.job_id === job && row.part === part),
      name: [part, several ? page.jobs[job] : null].filter(Boolean).join(" · "),
    })));
    return { mine, series };
  }

  function histogram(kind) {
    const { mine, series } = valueSeries("histogram");
    const label = (row) => row.from === null ? `< ${number(row.to)}` : row.to === null ? `≥ ${number(row.from)}` : number(row.from);
    const range = (row) => row.from === null || row.to === null ? label(row) : `${number(row.from)} – < ${number(row.to)}`;
    const same = (a, b) => a.from === b.from && a.to === b.to;
    const bars = mine.filter((row, n) => mine.findIndex((other) => same(row, other)) === n).sort((a, b) => (a.from === null ? -Infinity : a.from) - (b.from === null ? -Infinity : b.from));
    const several = series.length > 1;
    const lines = kind === "lines" || series.length > 3;
    const key = keyed(series.map((one) => one.name), lines ? { icon: undefined, itemWidth: 22 } : {});
    return { ...base(), grid: { ...base().grid, top: several ? key.top : 24 }, legend: several ? key.legend : undefined,
      tooltip: { ...base().tooltip, trigger: "axis", formatter: (at) => said(`${range(bars[at[0].dataIndex])} ${page.unit || ""}`, at.map((one) => [several ? one.seriesName : page.words.records, one.value])) },
      xAxis: categories(bars.map(label)), yAxis: values(),
      series: series.map((one) => ({ type: lines ? "line" : "bar", smooth: false, step: lines ? "middle" : false, name: one.name, color: colour(one.colour), lineStyle: { width: 2, type: one.line }, barCategoryGap: "6%", barGap: "0%", symbol: "none",
        data: bars.map((bar) => (one.rows.find((row) => same(row, bar)) || { records: 0 }).records) })) };
  }

  function trend(kind) {
    const { mine, series } = valueSeries("trend");
    const axis = everyPeriod(mine.map((row) => row.period));
    const at = (one, period) => one.rows.find((row) => row.period === period);
    const along = (one, of) => axis.map((period) => { const row = at(one, period); return row ? of(row) : null; });
    const lineOf = (one, n, column) => ({ type: "line", color: colour(n), symbol: "circle", symbolSize: 5, showSymbol: axis.length < 60, connectNulls: true, lineStyle: { width: 2, type: one.line }, data: along(one, (row) => row[column]) });
    const hidden = (n) => ({ type: "line", symbol: "none", lineStyle: { opacity: 0 }, stack: `half ${n}`, stackStrategy: "all", connectNulls: false, silent: true, tooltip: { show: false } });
    const half = (one, n) => [{ ...hidden(n), name: "-", data: along(one, (row) => row.quarter) },
      { ...hidden(n), name: series.length > 1 ? "-" : page.words.middle_half, color: colour(one.colour), areaStyle: { opacity: 0.22 }, data: along(one, (row) => row.three_quarters - row.quarter) }];
    const few = series.length <= 2 && kind === "quartiles";
    const lines = series.flatMap((one, n) => [...(few ? half(one, n) : []), { ...lineOf(one, one.colour, "median"), name: one.name || page.words.median },
      ...(series.length === 1 && !few ? [{ ...lineOf(one, 1, "mean"), name: page.words.mean }] : [])]);
    const numbers = (one, row) => said(one.name, [[page.words.median, row.median], [page.words.quarter, row.quarter], [page.words.three_quarters, row.three_quarters], [page.words.mean, row.mean], [page.words.lowest, row.lowest], [page.words.highest, row.highest], [page.words.records, row.records]]).trim();
    const tip = (list) => { const period = list[0].axisValueLabel; return [period, ...series.map((one) => at(one, period) && numbers(one, at(one, period)))].filter(Boolean).join("\n"); };
    const names = lines.map((s) => s.name).filter((s) => s !== "-");
    const key = keyed(names, { data: names, ...(jobs().length > 1 ? { icon: undefined, itemWidth: 22 } : {}) });
    return { ...base(), ...zoom(axis.length), grid: { ...base().grid, top: key.top, bottom: axis.length > 40 ? 34 : 8 }, legend: key.legend,
      tooltip: { ...base().tooltip, trigger: "axis", axisPointer: { type: "line", lineStyle: { color: ink.muted } }, formatter: tip },
      xAxis: categories(axis, { boundaryGap: false }), yAxis: values({ minInterval: 0, scale: true }), series: lines };
  }

  const charts = {
    resources: (kind) => coded("resources", "resource_type", "resource_type", kind),
    people, encounters, histogram, trend,
    conditions: (kind) => coded("conditions", "condition", "code", kind),
    observations: (kind) => coded("observations", "observation", "code", kind),
    medications: (kind) => coded("medications", "medication", "code", kind),
  };

  return (thePage, theInk, chart, kind) => {
    [page, ink] = [thePage, theInk];
    return page.charts[chart].rows.length === 0 ? null : charts[chart](kind);
  };
})();
