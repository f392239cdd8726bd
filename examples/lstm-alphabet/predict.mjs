// What the trained network foretells: `node examples/lstm-alphabet/predict.mjs PARAMS`, PARAMS being the params.safetensors
// of a run. Reads a to y, letter by letter, and prints the letter it holds for the next one behind each.
import { readFileSync } from 'node:fs';
import { evaluate, Graph, nn, readSafetensors } from 'partita';

const alphabet = 'abcdefghijklmnopqrstuvwxyz';
const { model } = JSON.parse(readFileSync(new URL('experiment.json', import.meta.url), 'utf8'));
const file = process.argv[2];
if (file === undefined) {
  console.error('which parameters?\n  try: node examples/lstm-alphabet/predict.mjs runs/lstm-1/params.safetensors');
  process.exit(2);
}
const parameters = readSafetensors(readFileSync(file), file);

// The parameters do not depend on the length: here all letters but z are one sequence.
const graph = new Graph({ mode: 'evaluation' });
const { kind: _, ...sizes } = { ...model, vocab: alphabet.length, context: alphabet.length - 1 };
const { inputs, outputs } = nn.models.lstm(graph, 1, sizes, { objective: false });

// A file's tensor is bytes, little-endian and possibly unaligned.
const valuesOf = ({ bytes }) => Float64Array.from(new Float32Array(Uint8Array.from(bytes).buffer));
const feeds = new Map(graph.parameters.map((p) => [p, { type: p.type, data: valuesOf(parameters.get(p.name)) }]));
feeds.set(inputs.x, { type: inputs.x.type, data: Float64Array.from({ length: alphabet.length - 1 }, (_, i) => i) });
const [{ data: logits }] = evaluate([outputs.logits], feeds);

const next = Array.from({ length: alphabet.length - 1 }, (_, position) => {
  const row = logits.subarray(position * alphabet.length, (position + 1) * alphabet.length);
  return alphabet[row.indexOf(Math.max(...row))];
});
console.log(next.map((letter, i) => `${alphabet[i]}→${letter}`).join(' '));
const right = next.filter((letter, i) => letter === alphabet[i + 1]).length;
console.log(`${right} of ${next.length} next letters are right`);
