// The tokens of a completion, with what is known of each as the colour behind it.

const SURPRISE = 4; // nats at which the colour is full
const SHADES = {
  advantage: {
    label: "advantage", planes: [], signed: true,
    told: "what each token is pushed by: its completion's advantage, or its own where steps or a critic give one",
    of: (token, i, scalar) => token.advantages ? token.advantages[i] : scalar,
  },
  push: {
    label: "advantage · (1 − π)", planes: ["logprobs"], signed: true,
    told: "gradient of the token's own logit: what is certain already is not pushed",
    of: (token, i, scalar) => {
      const advantage = SHADES.advantage.of(token, i, scalar);
      return known(advantage) && token.logprobs ? advantage * (1 - Math.exp(token.logprobs[i])) : null;
    },
  },
  logprobs: {
    label: "log-probability", planes: ["logprobs"], signed: false,
    told: "log π of the sampler: the stronger, the less probable the token was",
    of: (token, i) => token.logprobs ? token.logprobs[i] : null,
  },
  drift: {
    label: "log π / π_ref", planes: ["logprobs", "reference_logprobs"], signed: true,
    told: "how much more (or less) probable the token is than under the reference",
    of: (token, i) => token.logprobs && token.reference_logprobs ? token.logprobs[i] - token.reference_logprobs[i] : null,
  },
  none: {label: "no colour", planes: [], signed: false, told: "", of: () => null},
};

// The texts of tokens. Python counts characters, where JavaScript counts halves of some.
function pieces(text, characters) {
  const points = /[\ud800-\udfff]/.test(text) ? Array.from(text) : null;
  let begin = 0;
  return characters.map(count => {
    const piece = points ? points.slice(begin, begin + count).join("") : text.slice(begin, begin + count);
    begin += count;
    return piece;
  });
}

// The greatest value of a shade in a group: all of its completions have one scale.
function scaleOf(shade, cards) {
  if (shade === SHADES.logprobs) return SURPRISE;
  let most = 0;
  for (const {token, advantage} of cards) {
    if (!token) most = Math.max(most, Math.abs(shade.of({}, 0, advantage) ?? 0));
    else token.characters.forEach((_, i) => { most = Math.max(most, Math.abs(shade.of(token, i, advantage) ?? 0)); });
  }
  return most || 1;
}

function colorFor(shade, value, most) {
  if (!known(value)) return "";
  const strength = Math.min(Math.abs(value) / most, 1);
  if (strength < 0.01) return "";
  const name = !shade.signed ? "surprise" : value > 0 ? "plus" : "minus";
  return `color-mix(in srgb, var(--${name}) ${Math.round(10 + 65 * strength)}%, transparent)`;
}

function showTokens(place, card, shade, most) {
  const {text, token, advantage} = card;
  place.replaceChildren();
  if (!token) {
    const whole = element(place, "span", text, "token");
    whole.style.backgroundColor = colorFor(shade, shade.of({}, 0, advantage), most);
    return;
  }
  pieces(text, token.characters).forEach((piece, i, all) => {
    const isEnd = !piece && i === all.length - 1 && card.finish === "stop";
    const made = element(place, "span", isEnd ? "end" : piece, isEnd ? "token end" : piece ? "token" : "token empty");
    made.style.backgroundColor = colorFor(shade, shade.of(token, i, advantage), most);
    made.dataset.token = i;
  });
  place.onmouseover = event => tell(event, card);
  place.onmouseout = () => { at("tip").hidden = true; };
}

// What is known of the token under the pointer.
function tell(event, card) {
  const i = event.target.dataset?.token;
  if (i === undefined) return;
  const {token, advantage} = card, tip = at("tip"), box = event.target.getBoundingClientRect();
  tip.replaceChildren();
  element(tip, "b", event.target.classList.contains("end") ? "end of the text" : JSON.stringify(event.target.textContent));
  const rows = [["token", `${Number(i) + 1} of ${token.characters.length}`]];
  if (token.logprobs) {
    rows.push(["log π", number(token.logprobs[i])], ["π", percent(Math.exp(token.logprobs[i]))]);
  }
  if (token.reference_logprobs) rows.push(["log π_ref", number(token.reference_logprobs[i])]);
  rows.push(["advantage", number(SHADES.advantage.of(token, i, advantage))]);
  const table = element(tip, "table");
  for (const [name, value] of rows) {
    const line = element(table, "tr");
    element(line, "td", name);
    element(line, "td", value, "number");
  }
  tip.hidden = false;
  const left = Math.min(box.left, innerWidth - tip.offsetWidth - 8);
  const below = box.bottom + 6 + tip.offsetHeight < innerHeight;
  tip.style.left = `${Math.max(8, left)}px`;
  tip.style.top = `${below ? box.bottom + 6 : box.top - tip.offsetHeight - 6}px`;
}

function showScale(place, shade, most) {
  place.replaceChildren();
  if (shade === SHADES.none) return;
  const low = shade.signed ? number(-most, 3) : `${number(-most, 3)} or less`;
  element(place, "span", low);
  element(place, "span", null, `ramp ${shade.signed ? "signed" : "surprise"}`);
  element(place, "span", shade.signed ? `+${number(most, 3)}` : "0");
}
