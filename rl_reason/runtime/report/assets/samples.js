// The table of samples: filters over columns, and as many rows in the page as fit into its window.

const ROW = 28; // pixels, as in the style
const table = {found: [], order: {key: "", down: false}, first: -1, chosen: null};

const textIn = (name, row) => report.samples.texts[name][report.samples[name][row]] ?? "";
const rightness = row => ["wrong", "right"][report.samples.right[row]] ?? "";

function verdictOf(row) {
  const verdict = textIn("verdict", row);
  return verdict && verdict !== "correct" ? verdict : rightness(row);
}

function columns() {
  const samples = report.samples, some = name => samples[name].some(known);
  const made = [];
  const add = (key, name, width, cell, className, value) => made.push({key, name, width, cell, className: className || "", value});
  const numeric = (key, name, width, form = number) => add(key, name, width, row => form(samples[key][row]), "number", row => samples[key][row]);
  if (isSeveral()) add("run", "run", "8rem", row => report.runs[samples.run[row]].name, "cut", row => samples.run[row]);
  if (some("step")) numeric("step", "step", "4rem");
  if (samples.texts.stage.length) add("stage", "stage", "6rem", row => textIn("stage", row), "cut", row => textIn("stage", row));
  if (some("reward")) numeric("reward", "reward", "5rem", value => number(value, 3));
  for (const name of Object.keys(samples.parts).slice(0, 4)) {
    add(`part ${name}`, name, `${Math.min(Math.max(0.55 * name.length + 1.8, 5), 10)}rem`, row => number(samples.parts[name][row], 3), "number faint", row => samples.parts[name][row]);
  }
  if (some("advantage")) numeric("advantage", "advantage", "7rem", value => number(value, 3));
  numeric("length", "length", "5rem", value => number(value));
  if (samples.right.some(value => value >= 0)) {
    add("right", "verdict", "7.4rem", row => verdictOf(row), "verdict", row => samples.right[row]);
  }
  if (samples.texts.answer.length) add("answer", "answer", "6rem", row => textIn("answer", row), "cut", row => textIn("answer", row));
  add("completion", "completion", "", row => samples.completions[row].slice(0, 300).replace(/\s+/g, " "), "cut text", row => samples.completions[row]);
  return made;
}

function showSamples() {
  const samples = report.samples;
  if (samples.count === 0) return at("samples").remove();
  indexGroups();
  table.columns = columns();
  makeFilters();
  const head = element(document.querySelector("#rows thead"), "tr");
  const widths = element(at("rows"), "colgroup");
  at("rows").prepend(widths);
  for (const column of table.columns) {
    element(widths, "col").style.width = column.width;
    column.heading = element(head, "th", column.name, column.className.includes("number") ? "number" : "");
    column.heading.onclick = () => {
      const {key, down} = table.order;
      // Down, up, and as they are in the file.
      table.order = key !== column.key ? {key: column.key, down: true} : down ? {key, down: false} : {key: "", down: false};
      filter();
    };
  }
  at("window").addEventListener("scroll", () => showRows(false));
  at("window").addEventListener("keydown", step);
  const chosen = readHash();
  filter();
  if (table.found.includes(chosen)) choose(chosen);
}

// name → the element that filters by it.
const filters = {};

function makeFilters() {
  const samples = report.samples, form = at("filters");
  form.onsubmit = event => event.preventDefault();
  const select = (name, all, entries) => {
    if (entries.length < 2) return;
    filters[name] = element(form, "select");
    filters[name].setAttribute("aria-label", name);
    option(filters[name], "", all);
    for (const [value, text] of entries) option(filters[name], value, text);
  };
  const range = (name, low, high) => {
    if (!samples[name].some(known)) return;
    const label = element(form, "label", `${name} `);
    for (const [key, hint] of [[low, "from"], [high, "to"]]) {
      filters[key] = element(label, "input");
      Object.assign(filters[key], {type: "number", step: "any", placeholder: hint});
      filters[key].setAttribute("aria-label", `${name} ${hint}`);
    }
  };
  const texts = name => samples.texts[name].map((text, i) => [String(i), text]);
  select("run", "all runs", isSeveral() ? report.runs.map((run, i) => [String(i), run.name]) : []);
  select("stage", "all stages", texts("stage"));
  range("step", "stepFrom", "stepTo");
  range("reward", "rewardFrom", "rewardTo");
  range("length", "lengthFrom", "lengthTo");
  if (samples.right.some(value => value >= 0)) select("right", "right and wrong", [["1", "right"], ["0", "wrong"]]);
  select("verdict", "any verdict", texts("verdict"));
  select("finish", "ended or cut off", texts("finish").map(([value, text]) => [value, text === "stop" ? "ended" : text === "length" ? "cut off" : text]));
  filters.text = element(form, "input");
  Object.assign(filters.text, {type: "search", placeholder: "text in prompt, completion, answer"});
  const label = element(form, "label", null), box = element(label, "input");
  Object.assign(box, {type: "checkbox"});
  label.append(" regex");
  filters.regex = box;
  const reset = element(form, "button", "reset");
  reset.type = "button";
  reset.onclick = () => {
    for (const field of Object.values(filters)) if (field.type === "checkbox") field.checked = false; else field.value = "";
    filter();
  };
  form.addEventListener("input", later(filter));
}

// A function row → whether it is shown, or null where the pattern is none.
function makeKeep() {
  const samples = report.samples, tests = [], value = name => filters[name]?.value ?? "";
  for (const name of ["run", "stage", "verdict", "finish", "right"]) {
    if (value(name) !== "") { const wanted = Number(value(name)), column = samples[name]; tests.push(row => column[row] === wanted); }
  }
  for (const name of ["step", "reward", "length"]) {
    const column = samples[name], low = value(`${name}From`), high = value(`${name}To`);
    if (low !== "") { const limit = Number(low); tests.push(row => known(column[row]) && column[row] >= limit); }
    if (high !== "") { const limit = Number(high); tests.push(row => known(column[row]) && column[row] <= limit); }
  }
  if (value("text")) {
    const holds = makeSearch(value("text"));
    if (!holds) return null;
    // Prompts and answers are few: each is looked through once.
    const [prompts, answers] = ["prompt", "answer"].map(name => samples.texts[name].map(holds));
    tests.push(row => prompts[samples.prompt[row]] || answers[samples.answer[row]] || holds(samples.completions[row]));
  }
  return row => tests.every(test => test(row));
}

function makeSearch(text) {
  if (!filters.regex.checked) {
    const wanted = text.toLowerCase();
    return one => one.toLowerCase().includes(wanted);
  }
  try {
    const pattern = new RegExp(text, "iu");
    return one => pattern.test(one);
  } catch (error) {
    return null;
  }
}

function filter() {
  const keep = makeKeep(), samples = report.samples;
  filters.text.setCustomValidity(keep ? "" : "no regular expression");
  filters.text.classList.toggle("invalid", !keep);
  if (!keep) return;
  table.found = [];
  for (let row = 0; row < samples.count; row++) if (keep(row)) table.found.push(row);
  sortRows();
  tellFound();
  writeHash();
  for (const column of table.columns) {
    const {key, down} = table.order;
    column.heading.textContent = column.name + (column.key === key ? (down ? " ↓" : " ↑") : "");
  }
  at("window").scrollTop = 0;
  showRows(true);
  if (table.found.length && !table.found.includes(table.chosen)) choose(table.found[0]);
  if (!table.found.length) { at("group").replaceChildren(); table.chosen = null; }
}

function sortRows() {
  const column = table.columns.find(one => one.key === table.order.key);
  if (!column) return;
  const sign = table.order.down ? -1 : 1, values = new Map(table.found.map(row => [row, column.value(row)]));
  table.found.sort((a, b) => {
    const x = values.get(a), y = values.get(b);
    // Missing values stand last either way.
    if (!known(x) || !known(y)) return Number(!known(x)) - Number(!known(y)) || a - b;
    return (x < y ? -1 : x > y ? 1 : 0) * sign || a - b;
  });
}

function tellFound() {
  const samples = report.samples, rows = table.found;
  const mean = column => {
    const values = rows.map(row => column[row]).filter(known);
    return values.length ? values.reduce((sum, value) => sum + value, 0) / values.length : null;
  };
  const told = [`${counted(rows.length)} of ${counted(samples.count)} samples`];
  const judged = rows.filter(row => samples.right[row] >= 0);
  if (judged.length) told.push(`${percent(judged.filter(row => samples.right[row] === 1).length / judged.length)} right`);
  const reward = mean(samples.reward);
  if (known(reward)) told.push(`mean reward ${number(reward, 3)}`);
  if (rows.length) told.push(`mean length ${number(mean(samples.length), 3)}`);
  samples.leftOut.forEach((share, i) => {
    if (share > 0) told.push(`${percent(share)} of the samples of ${report.runs[i].name} are not on this page: their file is too large`);
  });
  at("found").textContent = told.join(" · ");
}

function showRows(isNew) {
  const view = at("window"), count = Math.ceil(view.clientHeight / ROW) + 20;
  const first = Math.max(0, Math.min(Math.floor(view.scrollTop / ROW) - 10, table.found.length - count));
  if (!isNew && first === table.first) return;
  table.first = first;
  const body = document.createElement("tbody");
  const rows = table.found.slice(first, first + count);
  spacer(body, first);
  for (const row of rows) {
    const line = element(body, "tr", null, row === table.chosen ? "row on" : "row");
    line.dataset.row = row;
    line.onclick = () => choose(row);
    for (const column of table.columns) {
      const cell = element(line, "td", column.cell(row), column.className);
      if (column.key === "right") cell.classList.add(rightness(row) || "none");
      if (column.key === "advantage") cell.classList.add(report.samples.advantage[row] > 0 ? "plus" : "minus");
      if (column.key === "run") cell.style.setProperty("--own", `var(--line-${report.samples.run[row] % 7})`);
    }
  }
  spacer(body, table.found.length - first - rows.length);
  at("rows").tBodies[0].replaceWith(body);
}

function spacer(body, rows) {
  const cell = element(element(body, "tr", null, "spacer"), "td");
  cell.colSpan = table.columns.length;
  cell.style.height = `${rows * ROW}px`;
}

function choose(row) {
  table.chosen = row;
  scrollRowsTo(table.found.indexOf(row));
  showRows(true);
  writeHash();
  showGroup(row);
}

// Up and down through the table.
function step(event) {
  const by = {ArrowDown: 1, ArrowUp: -1, j: 1, k: -1}[event.key];
  if (!by) return;
  event.preventDefault();
  const place = table.found.indexOf(table.chosen), next = table.found[place + by];
  if (next === undefined) return;
  choose(next);
}

// So far that this place of the table is in its window.
function scrollRowsTo(place) {
  const view = at("window"), top = place * ROW, head = document.querySelector("#rows thead").offsetHeight;
  if (place < 0) return;
  if (top < view.scrollTop) view.scrollTop = top;
  if (top + ROW + head > view.scrollTop + view.clientHeight) view.scrollTop = top + ROW + head - view.clientHeight;
}

// What is looked at stands in the address, so that it can be sent to someone.
function writeHash() {
  const told = new URLSearchParams();
  for (const [name, field] of Object.entries(filters)) {
    if (field.type === "checkbox" ? field.checked : field.value !== "") told.set(name, field.type === "checkbox" ? "1" : field.value);
  }
  if (table.order.key) told.set("order", `${table.order.down ? "-" : ""}${table.order.key}`);
  if (table.chosen !== null && table.chosen !== table.found[0]) told.set("sample", table.chosen);
  history.replaceState(null, "", [...told].length ? `#${told}` : location.pathname + location.search);
}

// Sets the filters as the address says, and gives the sample that it names.
function readHash() {
  const told = new URLSearchParams(location.hash.slice(1));
  for (const [name, value] of told) {
    if (filters[name]) { if (filters[name].type === "checkbox") filters[name].checked = true; else filters[name].value = value; }
  }
  const order = told.get("order") ?? "", chosen = Number(told.get("sample") ?? NaN);
  if (order) table.order = {key: order.replace(/^-/, ""), down: order.startsWith("-")};
  return chosen >= 0 && chosen < report.samples.count ? chosen : null;
}
