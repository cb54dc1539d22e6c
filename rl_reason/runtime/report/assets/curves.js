// Metrics over steps, tokens or hours: smoothed, of one run or of several.

const DASHES = ["solid", "dot", "dash", "dashdot", "longdash"];
const AXES = {step: "steps", tokens: "tokens sampled", hours: "hours"};
const OF_TIME = /^(time\/|tokens\/s$|mfu$|memory\/)/;
const look = {smoothing: 5, axis: "step", raw: true, log: false};

// Average under a Gaussian with σ = share · N points: symmetric, so that it does not lag behind.
function smooth(values, share) {
  const count = values.length, sigma = count * share;
  if (count < 4 || sigma < 0.4) return values;
  const reach = Math.ceil(3 * sigma), kernel = Array.from({length: reach + 1}, (_, i) => Math.exp(-0.5 * (i / sigma) ** 2));
  return values.map((_, i) => {
    let sum = 0, weight = 0;
    for (let k = Math.max(0, i - reach); k <= Math.min(count - 1, i + reach); k++) {
      const w = kernel[Math.abs(k - i)];
      sum += w * values[k];
      weight += w;
    }
    return sum / weight;
  });
}

// Where a step of a run lies on the axis that is chosen.
function positions(run, steps) {
  if (look.axis === "step") return steps;
  const [at, sums] = totals(run, look.axis);
  let k = 0;
  return steps.map(step => {
    if (step < at[k]) k = 0;
    while (k + 1 < at.length && at[k + 1] <= step) k++;
    const whole = k + 1 < at.length ? (step - at[k]) / (at[k + 1] - at[k]) : 0;
    return sums[k] + (k + 1 < at.length ? whole * (sums[k + 1] - sums[k]) : 0);
  });
}

// What all steps up to each have taken: [steps, sums], from step 0 on.
function totals(run, axis) {
  run.totals ??= {};
  if (!run.totals[axis]) {
    const names = axis === "hours" ? ["time/step_s", ...report.between.map(phase => `time/${phase}_s`)]
      : [run.metrics["tokens/sampled"] ? "tokens/sampled" : "tokens/update"];
    const found = names.filter(name => run.metrics[name]).map(name => run.metrics[name]);
    const values = new Map();
    for (const [steps, of] of found) steps.forEach((step, i) => values.set(step, (values.get(step) || 0) + of[i]));
    const steps = [...values.keys()].sort((a, b) => a - b), at = [0], sums = [0];
    // A line of metrics.jsonl stands for the steps since the one before it.
    for (const step of steps) {
      sums.push(sums.at(-1) + values.get(step) * (step - at.at(-1)) / (axis === "hours" ? 3600 : 1));
      at.push(step);
    }
    run.totals[axis] = [at, sums];
  }
  return run.totals[axis];
}

// The lines of a metric of a run: its raw values, faint, and the smoothed ones.
function lines(run, metric, label, name, color, dash, isLog) {
  const [steps, values] = run.metrics[metric], x = positions(run, steps), smoothed = smooth(values, look.smoothing / 300);
  const y = isLog ? smoothed.map(value => value > 0 ? value : null) : smoothed;
  const made = [{
    x, y, label, name: plain(name), mode: steps.length < 15 ? "lines+markers" : "lines", line: {color, width: 2, dash},
    marker: {size: 4}, hovertemplate: "%{y:.4~g}",
  }];
  if (look.raw && smoothed !== values) {
    const raw = isLog ? values.map(value => value > 0 ? value : null) : values;
    made.unshift({x, y: raw, label, mode: "lines", line: {color, width: 1}, opacity: 0.25, hoverinfo: "skip"});
  }
  return made;
}

function heldOut(run, rows, label, name, color) {
  return {
    x: positions(run, rows.map(row => row[0])), y: rows.map(row => row[1]), label, name: plain(name),
    mode: "lines+markers", line: {color, width: 2}, marker: {size: 6}, hovertemplate: "%{y:.4~g}",
    error_y: {
      type: "data", symmetric: false, thickness: 1, width: 3,
      array: rows.map(row => row[3] - row[1]), arrayminus: rows.map(row => row[1] - row[2]),
    },
  };
}

// Of one run a color is a line, of several it is a run.
function makePanel(panel) {
  const traces = [], labels = new Map(), isLog = look.log || panel.log;
  const several = isSeveral(), neutral = "var(--faint)";
  report.runs.forEach((run, i) => {
    let index = 0;
    const add = (label, make) => {
      const color = colorOf(several ? i : index), dash = several ? DASHES[index % DASHES.length] : "solid";
      if (!labels.has(label)) labels.set(label, [label, several ? neutral : color, dash]);
      if (!several || !hiddenRuns.has(i)) traces.push(...make(color, dash, several ? `${run.name} · ${label}` : label));
      index++;
    };
    if (panel.held_out) for (const [name, measures] of Object.entries(run.evals)) {
      const rows = measures[panel.held_out];
      if (!rows) continue;
      const label = panel.held_out === "pass@1" ? `${name}, 95%` : `${panel.held_out}, ${name}, 95%`;
      add(label, (color, dash, told) => [heldOut(run, rows, label, told, color)]);
    }
    for (const [metric, label] of panel.lines) {
      if (run.metrics[metric]) add(label, (color, dash, told) => lines(run, metric, label, told, color, dash, isLog));
      else index++;
    }
  });
  const yaxis = isLog ? {type: "log", exponentformat: "power"} : {};
  if (panel.percent) yaxis.tickformat = ".3~%";
  // What is 0 throughout lies at the bottom.
  if (!isLog && traces.every(trace => trace.y.every(value => value === 0))) yaxis.range = [0, 1];
  return {traces, labels: [...labels.values()], layout: {yaxis, xaxis: {title: {text: AXES[look.axis], font: {size: 10}, standoff: 4}}}};
}

function panelOf(metric) {
  return {title: metric, unit: "", lines: [[metric, metric]], held_out: "", percent: false, log: false};
}

function showCurves() {
  const told = new Set(report.panels.flatMap(panel => panel.lines.map(([metric]) => metric)));
  const names = [...new Set(report.runs.flatMap(run => Object.keys(run.metrics)))].sort();
  const planned = report.panels.filter(panel => !panel.lines.some(([metric]) => OF_TIME.test(metric)));
  // One evaluation makes no curve.
  const isOver = report.runs.some(run => Object.values(run.evals).some(of => Object.values(of).some(rows => rows.length > 1)));
  if (names.length === 0 && !isOver) return at("curves").remove();
  for (const panel of planned) addChart(at("charts"), panel.title, panel.unit, () => makePanel(panel));

  const others = names.filter(name => !told.has(name) && !name.startsWith("time/"));
  at("more-count").textContent = others.length;
  const showOthers = () => {
    const text = at("more-search").value.toLowerCase();
    removeCharts(at("more-charts"));
    if (at("more").open) for (const name of others) {
      if (name.toLowerCase().includes(text)) addChart(at("more-charts"), name, "", () => makePanel(panelOf(name)));
    }
  };
  at("more").ontoggle = showOthers;
  at("more-search").oninput = later(showOthers);
  if (others.length === 0) at("more").remove();
  controlCurves();
}

function controlCurves() {
  for (const [value, text] of Object.entries(AXES)) {
    const isThere = value === "step" || report.runs.some(run => totals(run, value)[0].length > 1);
    if (isThere) option(at("axis"), value, text);
  }
  const told = () => { at("smoothing-told").textContent = look.smoothing ? `${number(look.smoothing / 3, 2)}%` : "off"; };
  const redraw = later(redrawCharts, 30);
  at("smoothing").value = look.smoothing;
  at("smoothing").oninput = event => { look.smoothing = Number(event.target.value); told(); redraw(); };
  at("axis").onchange = event => { look.axis = event.target.value; redrawCharts(); };
  at("raw").onchange = event => { look.raw = event.target.checked; redrawCharts(); };
  at("log").onchange = event => { look.log = event.target.checked; redrawCharts(); };
  told();
}
