// The top of the page: what it is of, where it began and where it is now; stages, evaluations, self-corrections.

function showTitle() {
  const kinds = [...new Set(report.runs.map(run => run.kind === "run" ? run.recipe || "run" : run.kind))];
  at("kind").textContent = `${isSeveral() ? `${report.runs.length} runs · ` : ""}${kinds.join(", ")}`;
  if (!isSeveral()) return;
  document.querySelector("h1").textContent = "Comparison";
  at("legend").hidden = false;
  report.runs.forEach((run, i) => {
    const chip = element(at("legend"), "button", run.name, "chip");
    chip.type = "button";
    chip.title = "show or hide its curves";
    chip.style.setProperty("--own", `var(--line-${i % 7})`);
    chip.onclick = () => {
      if (!hiddenRuns.delete(i)) hiddenRuns.add(i);
      chip.classList.toggle("off", hiddenRuns.has(i));
      redrawCharts();
    };
  });
}

function showTiles() {
  if (isSeveral()) return showTilesOfSeveral();
  for (const [label, before, now] of report.runs[0].tiles) {
    const tile = element(at("tiles"), "div", null, "tile");
    element(tile, "span", label);
    const value = element(tile, "b");
    if (before) element(value, "i", `${before} → `);
    value.append(now);
  }
}

function showTilesOfSeveral() {
  const labels = [...new Set(report.runs.flatMap(run => run.tiles.map(([label]) => label)))];
  const table = element(element(at("tiles"), "div", null, "wide"), "table");
  const head = element(table, "tr");
  element(head, "th", "");
  report.runs.forEach((run, i) => runHeading(head, i));
  for (const label of labels) {
    const line = element(table, "tr");
    element(line, "td", label, "label");
    for (const run of report.runs) {
      const found = run.tiles.find(([name]) => name === label);
      const cell = element(line, "td", null, "number");
      if (!found) { cell.textContent = "–"; continue; }
      if (found[1]) element(cell, "span", `${found[1]} → `, "faint");
      element(cell, "b", found[2]);
    }
  }
}

function runHeading(line, index) {
  const cell = element(line, "th", null, "number");
  const name = element(cell, "span", report.runs[index].name, "run");
  name.style.setProperty("--own", `var(--line-${index % 7})`);
}

function showStages() {
  const rows = report.runs.flatMap(run => run.stages.map(row => isSeveral() ? {run: run.name, ...row} : row));
  if (rows.length === 0) return at("pipeline").remove();
  const names = Object.keys(rows[0]), head = element(at("stages"), "tr");
  names.forEach(name => element(head, "th", name));
  for (const row of rows) {
    const line = element(at("stages"), "tr");
    names.forEach(name => element(line, "td", row[name]));
  }
}

const MAIN = /^(n$|step$|pass@|maj@|best@|greedy|accuracy|auc|perplexity|bits\/byte|format|truncated|tokens\/completion$|score)/;

function showEvaluations() {
  if (report.runs.every(run => run.evaluations.length === 0)) return at("evaluation").remove();
  const table = at("evaluations"), all = at("all-measures").checked;
  table.replaceChildren();
  const shown = rows => rows.filter(([, measure]) => all || MAIN.test(measure));
  if (!isSeveral()) {
    const rows = shown(report.runs[0].evaluations), isChange = rows.some(row => row[3] !== "–");
    const head = element(table, "tr"), names = isChange ? ["before", "after", "change"] : ["value"];
    ["data set", "measure", ...names].forEach((name, i) => element(head, "th", name, i > 1 ? "number" : ""));
    let last;
    for (const [name, measure, ...cells] of rows) {
      const line = element(table, "tr", null, name === last ? "" : "first");
      element(line, "td", name === last ? "" : name);
      element(line, "td", measure);
      cells.slice(0, names.length).forEach((cell, i) => element(line, "td", cell, i === 2 ? "number strong" : "number"));
      last = name;
    }
    return;
  }
  const head = element(table, "tr");
  ["data set", "measure"].forEach(name => element(head, "th", name));
  report.runs.forEach((run, i) => runHeading(head, i));
  const keys = new Map(report.runs.flatMap(run => shown(run.evaluations)).map(row => [row[0] + "\n" + row[1], row]));
  let last;
  for (const [name, measure] of [...keys.values()].sort((a, b) => a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : 0)) {
    const line = element(table, "tr", null, name === last ? "" : "first");
    element(line, "td", name === last ? "" : name);
    element(line, "td", measure);
    for (const run of report.runs) {
      const row = run.evaluations.find(one => one[0] === name && one[1] === measure);
      const cell = element(line, "td", null, "number");
      if (!row) { cell.textContent = "–"; continue; }
      if (row[3] !== "–") element(cell, "span", `${row[2].split(" ")[0]} → `, "faint");
      element(cell, "b", row[3] === "–" ? row[2] : row[3]);
    }
    last = name;
  }
}

function showCorrections() {
  const looked = report.runs.filter(run => run.corrections !== null);
  if (looked.length === 0) return at("corrections").remove();
  const place = at("corrections");
  if (looked.every(run => run.corrections.length === 0)) {
    element(place, "p", "None: no completion that was sampled for training has turned a wrong calculation into a right one.", "faint");
    return;
  }
  element(place, "p", "The first completions sampled for training that turn a wrong calculation into a right one.", "faint");
  const list = element(place, "div");
  list.id = "corrections-list";
  for (const run of looked) for (const sample of run.corrections) {
    const made = element(list, "details");
    const of = isSeveral() ? `${run.name}, ` : "";
    element(made, "summary", `${of}step ${sample.step}, ${sample.id}: answer ${sample.answer}, ${sample.verdict}`);
    element(made, "pre", sample.prompt, "faint");
    const text = element(made, "pre");
    for (const [kind, piece] of sample.pieces) element(text, kind ? "mark" : "span", piece, kind);
  }
}
