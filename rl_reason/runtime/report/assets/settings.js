// Settings of the runs beside each other, the defaults or a preset; what they were computed with.

const OTHERS = "runs";

function showSettings() {
  const {runs} = report.settings, select = at("reference");
  if (isSeveral()) option(select, OTHERS, "each other");
  const presets = [...new Set(runs.flatMap(run => Object.keys(run.presets)))];
  const chosen = runs.find(run => run.preset)?.preset;
  for (const name of presets) option(select, `preset ${name}`, `preset ${name}${name === chosen ? (runs.some(run => run.given === name) ? " (given)" : " (nearest)") : ""}`);
  if (runs.some(run => run.hasDefaults)) option(select, "defaults", "the defaults");
  if (!isSeveral() && chosen) select.value = `preset ${chosen}`;
  for (const name of ["reference", "differences"]) at(name).onchange = showKeys;
  if (select.options.length === 0) for (const name of ["reference", "differences"]) at(name).parentElement.hidden = true;
  at("settings-search").oninput = later(showKeys);
  const commands = report.runs.map(run => run.command).filter(Boolean);
  if (commands.length === 0) at("command").remove();
  for (const command of commands) element(at("command"), "code", command);
  showKeys();
}

// What the reference says of a key; undefined where it is what the run has.
function referenceOf(run, reference, key) {
  if (reference === "defaults") return run.defaults[key];
  return reference.startsWith("preset ") ? run.presets[reference.slice(7)]?.[key] : undefined;
}

function showKeys() {
  const {keys, runs} = report.settings, reference = at("reference").value, wanted = at("settings-search").value.toLowerCase();
  const onlyDifferences = at("differences").checked, table = at("keys"), isBeside = reference && reference !== OTHERS;
  table.replaceChildren();
  const head = element(table, "tr");
  element(head, "th", "key");
  if (isSeveral()) runs.forEach((_, i) => runHeading(head, i)); else element(head, "th", "this run");
  if (isBeside) element(head, "th", at("reference").selectedOptions[0].textContent);
  let shown = 0, differing = 0;
  for (const key of keys) {
    const values = runs.map(run => run.values[key]), beside = runs.map(run => referenceOf(run, reference, key));
    const differs = isBeside ? beside.some(value => value !== undefined) : reference === OTHERS && new Set(values).size > 1;
    differing += Number(differs);
    if (onlyDifferences && reference && !differs) continue;
    if (wanted && ![key, ...values].some(text => (text ?? "").toLowerCase().includes(wanted))) continue;
    shown++;
    const line = element(table, "tr", null, differs && !onlyDifferences ? "differs" : "");
    element(line, "td", key, "key");
    values.forEach((value, i) => element(line, "td", value ?? "–", beside[i] !== undefined || (differs && !isBeside) ? "value strong" : "value"));
    if (isBeside) element(line, "td", beside.find(value => value !== undefined) ?? values.find(value => value !== undefined), "value faint");
  }
  at("settings-told").textContent = reference ? `${counted(differing)} of ${counted(keys.length)} keys differ` : `${counted(keys.length)} keys`;
  if (shown === 0) element(element(table, "tr"), "td", onlyDifferences && !wanted ? "no differences" : "no such key", "faint");
}

function showEnvironment() {
  if (report.runs.every(run => run.environment.length === 0)) return at("environment").remove();
  const table = at("versions"), head = element(table, "tr");
  element(head, "th", "");
  if (isSeveral()) report.runs.forEach((_, i) => runHeading(head, i)); else head.remove();
  const keys = [...new Set(report.runs.flatMap(run => run.environment.map(([key]) => key)))];
  for (const key of keys) {
    const line = element(table, "tr"), values = report.runs.map(run => run.environment.find(row => row[0] === key)?.[1]);
    element(line, "td", key, "key");
    for (const value of values) element(line, "td", value ?? "–", new Set(values).size > 1 ? "value strong" : "value");
  }
}
