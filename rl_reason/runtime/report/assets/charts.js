// A chart: title and legend in HTML, the lines by plotly, drawn when it comes into view.

const charts = new Set();
const viewed = new IntersectionObserver(entries => {
  for (const entry of entries) {
    const chart = entry.target.chart;
    chart.isVisible = entry.isIntersecting;
    if (chart.isVisible && chart.isStale) draw(chart);
  }
}, {rootMargin: "100px"});

// `make()` gives {traces, labels: [[text, color, dash]], layout}; traces have a `label`.
function addChart(place, title, unit, make) {
  const holder = element(place, "figure", null, "chart"), caption = element(holder, "figcaption");
  element(caption, "b", title);
  element(caption, "span", unit, "faint");
  const chart = {holder, make, hidden: new Set(), isStale: true, isVisible: false, title};
  chart.labels = element(holder, "div", null, "labels");
  chart.plot = element(holder, "div", null, "plot");
  holder.chart = chart;
  charts.add(chart);
  viewed.observe(holder);
  return chart;
}

function redrawCharts() {
  for (const chart of charts) {
    chart.isStale = true;
    if (chart.isVisible) draw(chart);
  }
}

function removeCharts(place) {
  for (const chart of charts) if (place.contains(chart.holder)) { viewed.unobserve(chart.holder); charts.delete(chart); }
  place.replaceChildren();
}

function draw(chart) {
  if (!window.Plotly) return; // it is unpacked last, and then all is drawn
  const style = getComputedStyle(document.documentElement), value = name => style.getPropertyValue(name).trim();
  const {traces, labels, layout} = chart.make(), grid = value("--grid");
  const axis = {gridcolor: grid, zeroline: false, linecolor: grid, automargin: true, ticklen: 3, tickcolor: grid};
  showLabels(chart, labels);
  Plotly.react(chart.plot, traces.filter(trace => !chart.hidden.has(trace.label)), {
    height: 220, margin: {l: 44, r: 12, t: 8, b: 34}, showlegend: false, hovermode: "x unified", dragmode: "zoom",
    font: {size: 11, color: value("--faint"), family: "system-ui, sans-serif"}, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    hoverlabel: {bgcolor: value("--paper"), bordercolor: grid, font: {size: 11, color: value("--ink")}, namelength: -1},
    ...layout, xaxis: {...axis, showgrid: false, ...layout.xaxis}, yaxis: {...axis, nticks: 6, ...layout.yaxis},
  }, {responsive: true, displayModeBar: false, doubleClick: "reset"});
  chart.isStale = false;
}

function showLabels(chart, labels) {
  chart.labels.replaceChildren();
  if (labels.length < 2) return;
  for (const [text, color, dash] of labels) {
    const made = element(chart.labels, "button", text, chart.hidden.has(text) ? "off" : "");
    made.type = "button";
    made.style.setProperty("--own", color);
    if (dash) made.style.setProperty("--dash", dash === "solid" ? "solid" : dash === "dot" ? "dotted" : "dashed");
    made.onclick = () => { if (!chart.hidden.delete(text)) chart.hidden.add(text); draw(chart); };
  }
}
