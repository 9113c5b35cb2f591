"""How a report's page looks, and what it does in the browser: see `page`."""

STYLE = """
:root { --ink: #1d1d1f; --soft: #59595f; --ground: #ffffff; --raised: #f4f5f7; --rule: #d5d7dc; --link: #005a9c; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8e8ea; --soft: #a9abb2; --ground: #16181c; --raised: #22252b; --rule: #3b3f47; --link: #7cc0f5; }
}
* { box-sizing: border-box; }
html { scroll-padding-top: 1rem; }
body { margin: 0; font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, Arial, sans-serif; color: var(--ink);
  background: var(--ground); }
.frame { display: grid; grid-template-columns: minmax(0, 1fr); max-width: 1400px; margin: 0 auto; }
main { padding: 1rem 1.25rem 4rem; min-width: 0; overflow-wrap: anywhere; }
nav { padding: 0.75rem 1.25rem 0; font-size: 0.92rem; }
nav ul { list-style: none; margin: 0.4rem 0; padding: 0; max-height: 60vh; overflow-y: auto; }
nav li { margin: 0.15rem 0; }
nav li.level-3 { padding-left: 1rem; }
@media (min-width: 1100px) {
  .frame { grid-template-columns: 230px minmax(0, 1fr); }
  nav { position: sticky; top: 0; align-self: start; max-height: 100vh; overflow-y: auto; padding-top: 1.6rem; }
  nav ul { max-height: none; }
}
a { color: var(--link); }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0.6rem 0; }
h2 { font-size: 1.3rem; line-height: 1.3; margin: 2.2rem 0 0.6rem; padding-top: 0.7rem;
  border-top: 1px solid var(--rule); }
h3 { font-size: 1.08rem; margin: 1.6rem 0 0.4rem; }
code, pre { font: 0.88em/1.45 ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
code { background: var(--raised); padding: 0.1em 0.3em; border-radius: 3px; }
pre { background: var(--raised); padding: 0.7rem 0.9rem; border-radius: 6px; overflow-x: auto; overflow-wrap: normal; }
pre code { padding: 0; background: none; }
.wide { overflow-x: auto; margin: 0.8rem 0; }
table { border-collapse: collapse; font-size: 0.9rem; font-variant-numeric: tabular-nums; overflow-wrap: normal; }
th, td { padding: 0.3rem 0.7rem; border-bottom: 1px solid var(--rule); text-align: left; vertical-align: top; }
td { min-width: 3.5rem; }
th { background: var(--raised); white-space: nowrap; }
img { max-width: 100%; height: auto; background: #ffffff; border-radius: 4px; }
details.proof, details.still { margin: 0.1rem 0 0.7rem; font-size: 0.8rem; color: var(--soft); }
details.proof { margin: -0.8rem 0 0.3rem; }
details.proof summary { width: fit-content; margin-left: auto; font-size: 0.72rem; }
details.proof pre { white-space: pre-wrap; }
summary { cursor: pointer; }
figure { margin: 1rem 0; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 340px), 1fr)); gap: 0.5rem 1rem; }
.chart { min-height: 300px; min-width: 0; }
.names { display: flex; flex-wrap: wrap; gap: 0.2rem 1rem; max-height: 9rem; overflow-y: auto; font-size: 0.88rem; }
.names label { cursor: pointer; }
.swatch { display: inline-block; width: 1em; height: 0.7em; border-radius: 2px; margin: 0 0.35em 0 0.2em; }
.live { background: var(--raised); padding: 0.5rem 0.9rem; border-left: 4px solid var(--link); }
@media print {
  nav, details.proof, .names { display: none; }
  main { padding: 0; }
  h2 { break-after: avoid; }
  figure, .chart, table { break-inside: avoid; }
}
"""

# Charts are drawn when they come near the screen: a report may have a hundred. All of them are for printing.
SCRIPT = """
"use strict";
(function () {
  const charts = JSON.parse(document.getElementById("charts").textContent);
  const config = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["lasso2d", "select2d"] };
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const colours = () => {
    const style = getComputedStyle(document.documentElement);
    const ink = style.getPropertyValue("--ink").trim(), rule = style.getPropertyValue("--rule").trim();
    return { "font.color": ink, "xaxis.gridcolor": rule, "yaxis.gridcolor": rule,
             "xaxis.zerolinecolor": rule, "yaxis.zerolinecolor": rule };
  };
  const drawn = new Set();
  function draw(element) {
    if (drawn.has(element)) { return Promise.resolve(); }
    drawn.add(element);
    const chart = charts[element.dataset.chart], ink = colours();
    const layout = Object.assign({}, chart.layout, { font: { color: ink["font.color"] } });
    for (const axis of ["xaxis", "yaxis"]) {
      layout[axis] = Object.assign({}, layout[axis],
        { gridcolor: ink["xaxis.gridcolor"], zerolinecolor: ink["xaxis.gridcolor"] });
    }
    return Plotly.newPlot(element, chart.data, layout, config).then(() => show(element));
  }
  function show(element) {
    const figure = element.closest("figure");
    const hidden = new Set(Array.from(figure.querySelectorAll(".names input:not(:checked)"), (box) => box.value));
    if (!figure.querySelector(".names")) { return; }
    Plotly.restyle(element, { visible: element.data.map((trace) => !hidden.has(trace.meta)) });
  }
  const elements = Array.from(document.querySelectorAll(".chart"));
  const near = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (entry.isIntersecting) { near.unobserve(entry.target); draw(entry.target); }
    }
  }, { rootMargin: "400px" });
  elements.forEach((element) => near.observe(element));
  document.querySelectorAll(".names").forEach((names) => names.addEventListener("change", (event) => {
    if (event.target.classList.contains("all")) {
      names.querySelectorAll("input").forEach((box) => { box.checked = event.target.checked; });
    }
    const own = names.closest("figure").querySelectorAll(".chart");
    own.forEach((element) => { if (drawn.has(element)) { show(element); } });
  }));
  window.addEventListener("beforeprint", () => elements.forEach(draw));
  dark.addEventListener("change", () => drawn.forEach((element) => Plotly.relayout(element, colours())));
  if (window.innerWidth >= 1100) { document.querySelectorAll("nav details").forEach((part) => { part.open = true; }); }
})();
"""
