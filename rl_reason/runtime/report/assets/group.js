// The completions of one question in one step, side by side.

const group = {row: null, shade: "advantage", order: "sample", turn: 0};

// Rows of a question in a step of a run.
function groupKey(row, isOfAnyStep = false) {
  const samples = report.samples, question = samples.id[row] >= 0 ? `i${samples.id[row]}` : `p${samples.prompt[row]}`;
  return isOfAnyStep ? question : `${samples.run[row]} ${samples.step[row]} ${samples.stage[row]} ${question}`;
}

function indexGroups() {
  const samples = report.samples;
  samples.groups = new Map();
  samples.questions = new Map();
  for (let row = 0; row < samples.count; row++) {
    for (const [index, key] of [[samples.groups, groupKey(row)], [samples.questions, groupKey(row, true)]]) {
      if (!index.has(key)) index.set(key, []);
      index.get(key).push(row);
    }
  }
}

async function showGroup(row) {
  const samples = report.samples, rows = samples.groups.get(groupKey(row)), turn = ++group.turn;
  group.row = row;
  const tokens = await Promise.all(rows.map(tokensOf));
  if (turn !== group.turn) return; // another one was chosen meanwhile
  const cards = rows.map((one, i) => ({
    row: one, text: samples.completions[one], token: tokens[i], advantage: samples.advantage[one],
    finish: textIn("finish", one),
  }));
  const orders = {sample: one => samples.sample[one.row] ?? 0, reward: one => -(samples.reward[one.row] ?? 0), length: one => samples.length[one.row]};
  cards.sort((a, b) => orders[group.order](a) - orders[group.order](b));
  const place = at("group");
  place.replaceChildren();
  showQuestion(place, row, rows);
  const shades = Object.keys(SHADES).filter(name => isThere(SHADES[name], cards));
  if (!shades.includes(group.shade)) group.shade = shades[0];
  const scale = controlGroup(place, shades);
  const grid = element(place, "div", null, "cards");
  for (const card of cards) showCard(grid, card, row);
  const color = () => {
    const shade = SHADES[group.shade], most = scaleOf(shade, cards);
    for (const card of cards) showTokens(card.place, card, shade, most);
    showScale(scale, shade, most);
  };
  group.color = color;
  color();
}

function isThere(shade, cards) {
  if (shade === SHADES.none) return true;
  return cards.some(({token, advantage}) => known(shade.of(token || {}, 0, advantage)));
}

function showQuestion(place, row, rows) {
  const samples = report.samples, head = element(place, "div", null, "question");
  const line = element(head, "div", null, "line");
  const told = [isSeveral() ? report.runs[samples.run[row]].name : "", known(samples.step[row]) ? `step ${samples.step[row]}` : "",
    textIn("stage", row), textIn("id", row)].filter(Boolean).join(" · ");
  element(line, "b", told);
  if (textIn("answer", row)) element(line, "span", `answer ${textIn("answer", row)}`, "answer");
  const right = rows.filter(one => samples.right[one] === 1).length;
  if (rows.some(one => samples.right[one] >= 0)) element(line, "span", `${right} of ${rows.length} right`, "faint");
  // Of a prompt with examples the question is the end.
  const prompt = element(head, "pre", textIn("prompt", row), "prompt");
  prompt.scrollTop = prompt.scrollHeight;
  showOtherSteps(head, row);
}

// The same question in other steps and runs: how its answers change.
function showOtherSteps(head, row) {
  const samples = report.samples, own = groupKey(row), seen = new Map();
  for (const one of samples.questions.get(groupKey(row, true))) {
    const key = groupKey(one);
    if (!seen.has(key)) seen.set(key, []);
    seen.get(key).push(one);
  }
  if (seen.size < 2) return;
  const line = element(head, "div", null, "steps");
  element(line, "span", "the same question:", "faint");
  for (const [key, rows] of [...seen].slice(0, 40)) {
    const right = rows.filter(one => samples.right[one] === 1).length;
    const of = isSeveral() ? `${report.runs[samples.run[rows[0]]].name}, ` : "";
    const name = known(samples.step[rows[0]]) ? `step ${samples.step[rows[0]]}` : textIn("stage", rows[0]) || "here";
    const made = element(line, "button", `${of}${name}: ${right}/${rows.length}`, key === own ? "chip on" : "chip");
    made.type = "button";
    made.onclick = () => choose(rows[0]);
  }
}

function controlGroup(place, shades) {
  const controls = element(place, "div", null, "controls");
  const colored = element(controls, "label", "colour "), select = element(colored, "select");
  select.id = "shade";
  for (const name of shades) option(select, name, SHADES[name].label);
  select.value = group.shade;
  select.title = SHADES[group.shade].told;
  select.onchange = () => { group.shade = select.value; select.title = SHADES[group.shade].told; hint.textContent = select.title; group.color(); };
  const ordered = element(controls, "label", "order "), order = element(ordered, "select");
  for (const [value, text] of [["sample", "as sampled"], ["reward", "best first"], ["length", "shortest first"]]) option(order, value, text);
  order.value = group.order;
  order.onchange = () => { group.order = order.value; showGroup(group.row); };
  const scale = element(controls, "span", null, "scale");
  const hint = element(controls, "span", SHADES[group.shade].told, "hint");
  return scale;
}

function showCard(grid, card, chosen) {
  const samples = report.samples, row = card.row;
  const made = element(grid, "article", null, row === chosen ? "card on" : "card");
  const head = element(made, "div", null, "line");
  if (known(samples.sample[row])) element(head, "span", `#${samples.sample[row]}`, "faint");
  const verdict = verdictOf(row);
  if (verdict) element(head, "span", verdict, `verdict ${rightness(row)}`);
  if (known(samples.reward[row])) element(head, "b", `reward ${number(samples.reward[row], 3)}`);
  if (known(samples.advantage[row])) element(head, "span", `Â ${samples.advantage[row] > 0 ? "+" : ""}${number(samples.advantage[row], 3)}`, samples.advantage[row] > 0 ? "plus" : samples.advantage[row] < 0 ? "minus" : "faint");
  element(head, "span", `${counted(samples.length[row])} tokens${card.finish === "length" ? ", cut off" : ""}`, "faint end");
  showParts(made, row);
  card.place = element(made, "pre", null, "tokens");
  if (samples.stepRewards[row]) {
    element(made, "div", `rewards of steps: ${samples.stepRewards[row].map(value => number(value, 3)).join("  ")}`, "faint small");
  }
  if (samples.failures[row]) element(made, "div", samples.failures[row], "wrong small");
}

// The parts of a reward, each as a bar of the greatest value that it has in any sample.
function showParts(place, row) {
  const samples = report.samples, names = Object.keys(samples.parts).filter(name => known(samples.parts[name][row]));
  if (names.length === 0) return;
  const parts = element(place, "div", null, "parts");
  for (const name of names) {
    const value = samples.parts[name][row], weight = samples.weights[samples.run[row]][name] ?? 1;
    const line = element(parts, "div", null, "part");
    line.title = `${name}: ${number(value)}, weight ${number(weight)}`;
    element(line, "span", weight === 1 ? name : `${name} ×${number(weight, 3)}`);
    const bar = element(element(line, "div", null, "track"), "div", null, value < 0 ? "fill minus" : "fill");
    bar.style.width = `${100 * Math.min(Math.abs(value) / greatestOf(name), 1)}%`;
    element(line, "span", number(value, 3), "number");
  }
}

function greatestOf(name) {
  const samples = report.samples;
  samples.greatest ??= {};
  samples.greatest[name] ??= samples.parts[name].reduce((most, value) => Math.max(most, Math.abs(value ?? 0)), 0) || 1;
  return samples.greatest[name];
}
