// Where the time goes: the phases of all steps together, and step by step.

const MOST_BARS = 100;

// Seconds of each phase over all steps of a run: rows [phase, seconds], those between steps behind the others.
function phasesOf(run) {
  const made = [];
  for (const phase of [...report.phases, "other", ...report.between]) {
    const series = run.metrics[`time/${phase}_s`];
    const seconds = series ? series[1].reduce((sum, value) => sum + value, 0) : 0;
    if (seconds > 0) made.push([phase, seconds]);
  }
  return made;
}

function phaseColor(phase) {
  const place = [...report.phases, ...report.between].indexOf(phase);
  return phase === "other" ? "var(--grid-strong)" : `var(--phase-${place})`;
}

function showTiming() {
  const timed = report.runs.filter(run => phasesOf(run).length);
  if (timed.length === 0) return at("timing").remove();
  const most = Math.max(...timed.map(run => phasesOf(run).reduce((sum, row) => sum + row[1], 0)));
  const told = new Set();
  for (const run of timed) {
    const rows = phasesOf(run), total = rows.reduce((sum, row) => sum + row[1], 0);
    const line = element(at("phases"), "div", null, "phases");
    element(line, "span", isSeveral() ? `${run.name}, ${duration(total)}` : duration(total), "faint");
    const bar = element(line, "div", null, "bar");
    bar.style.width = `${100 * total / most}%`;
    for (const [phase, seconds] of rows) {
      const part = element(bar, "div", seconds > 0.07 * total ? `${phase} ${percent(seconds / total)}` : "");
      part.style.flexGrow = seconds;
      part.style.background = phaseColor(phase);
      part.title = `${phase}: ${duration(seconds)}, ${percent(seconds / total)}`;
      told.add(phase);
    }
  }
  const legend = element(at("phases"), "div", null, "labels");
  for (const phase of told) element(legend, "span", phase).style.setProperty("--own", phaseColor(phase));
  timed.forEach(run => {
    const title = isSeveral() ? `Phases of a step, ${run.name}` : "Phases of a step";
    const chart = addChart(at("timing-charts"), title, "seconds", () => makeBars(run));
    chart.holder.classList.toggle("whole", !isSeveral());
  });
  const others = report.panels.filter(panel => !panel.stacked && panel.lines.some(([metric]) => OF_TIME.test(metric)));
  for (const panel of others) addChart(at("timing-charts"), panel.title, panel.unit, () => makePanel(panel));
}

// A bar of each step, or, where there are too many of them, of so many steps together: their mean.
function makeBars(run) {
  const style = getComputedStyle(document.documentElement), phases = [...report.phases, "other"];
  const found = phases.filter(phase => run.metrics[`time/${phase}_s`]);
  const steps = [...new Set(found.flatMap(phase => run.metrics[`time/${phase}_s`][0]))].sort((a, b) => a - b);
  const width = Math.ceil(steps.length / MOST_BARS), place = new Map(steps.map((step, i) => [step, Math.floor(i / width)]));
  const bars = Math.ceil(steps.length / width), counts = new Array(bars).fill(0);
  steps.forEach(step => counts[place.get(step)]++);
  const x = counts.map((_, i) => steps[Math.min(i * width, steps.length - 1)]), heights = new Array(bars).fill(0);
  const traces = found.map(phase => {
    const y = new Array(bars).fill(0), [at, values] = run.metrics[`time/${phase}_s`];
    at.forEach((step, i) => { y[place.get(step)] += values[i] / counts[place.get(step)]; });
    y.forEach((value, i) => { heights[i] += value; });
    const variable = phaseColor(phase).slice(4, -1);
    return {type: "bar", x, y, label: phase, name: phase, marker: {color: style.getPropertyValue(variable).trim()}, hovertemplate: "%{y:.3~g} s"};
  });
  // One step of compilation must not flatten all others.
  const sorted = [...heights].sort((a, b) => a - b), high = sorted[Math.floor(0.95 * (bars - 1))];
  const yaxis = bars >= 10 && sorted.at(-1) > 3 * high ? {range: [0, 1.3 * high]} : {};
  const text = width > 1 ? `step, means of ${width}` : "step";
  const layout = {barmode: "stack", bargap: 0.12, yaxis, xaxis: {title: {text, font: {size: 10}, standoff: 4}}};
  return {traces, labels: [], layout};
}
