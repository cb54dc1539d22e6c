// The data of the page: runs as JSON; samples, and numbers of their tokens, as base64 of gzip.

const report = {runs: [], panels: [], settings: null, samples: null};
// Runs whose curves are hidden.
const hiddenRuns = new Set();
const isSeveral = () => report.runs.length > 1;

function bytesOf(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const packed = atob(text), bytes = new Uint8Array(packed.length);
  for (let i = 0; i < packed.length; i++) bytes[i] = packed.charCodeAt(i);
  return bytes;
}

async function unpack(name) {
  const holder = at(`block-${name}`);
  const stream = new Blob([bytesOf(holder.textContent)]).stream().pipeThrough(new DecompressionStream("gzip"));
  holder.remove();
  return new Response(stream).arrayBuffer();
}

async function readJson(name) {
  return JSON.parse(new TextDecoder().decode(await unpack(name)));
}

const HALF = Array.from({length: 32}, (_, exponent) => 2 ** (exponent - 25));

function half(bits) {
  const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (exponent ? (1024 + fraction) * HALF[exponent] : fraction * HALF[1]);
}

// Of a block of samples: by sample {characters, logprobs, …}, arrays as long as it has tokens.
const tokenBlocks = new Map();

async function readTokens(block) {
  const {tokens, tokenBlock, planes} = report.samples;
  const numbers = new Uint16Array(await unpack(`tokens-${block}`));
  const first = block * tokenBlock, counts = tokens.slice(first, first + tokenBlock);
  const total = counts.reduce((sum, count) => sum + count, 0), made = [];
  let begin = 0;
  for (const count of counts) {
    const of_sample = {characters: Array.from(numbers.subarray(begin, begin + count))};
    planes.forEach((name, i) => {
      const start = (i + 1) * total + begin, values = Array.from(numbers.subarray(start, start + count), half);
      if (count && !Number.isNaN(values[0])) of_sample[name] = values;
    });
    made.push(of_sample);
    begin += count;
  }
  return made;
}

// What is known of the tokens of a sample; null where that is nothing.
async function tokensOf(row) {
  const {tokens, tokenBlock} = report.samples, block = Math.floor(row / tokenBlock);
  if (!tokens[row]) return null;
  if (!tokenBlocks.has(block)) tokenBlocks.set(block, readTokens(block));
  return (await tokenBlocks.get(block))[row % tokenBlock];
}
