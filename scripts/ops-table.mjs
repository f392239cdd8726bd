// Writes docs/ops.md, the support matrix, from the op records: `npm run build && node scripts/ops-table.mjs`.
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

export const opsFile = fileURLToPath(new URL('../docs/ops.md', import.meta.url));

const cell = (text) => text.replaceAll('|', '\\|').replace(/\s+/g, ' ').trim();

const gradientOf = ({ gradient }) =>
  ({
    rule: () => 'rule',
    decompose: () => 'by its parts',
    none: () => `none: ${gradient.why}`,
    zero: () => `zero: ${gradient.why}`,
  })[gradient.kind]();

/** Kernels that the samples of a record become; `no kernel` where only the shape changes. */
function kernelsOf(record, lowerNode) {
  if (record.alias) return 'no kernel: the same bytes';
  const names = record.samples.flatMap(({ inputs: drawn, attrs }) => {
    const inputs = drawn.map(({ dtype = 'f32', shape }) => ({ dtype, shape }));
    const outputs = record.infer(inputs, attrs);
    return lowerNode('wasm', { op: record.name, inputs, outputs, attrs }).calls.map((c) => c.kernel);
  });
  return [...new Set(names)]
    .sort()
    .map((name) => `\`${name}\``)
    .join(', ');
}

/** Samples of a record whose gradients test/conformance compares: those with an f32 input that has a derivative. */
function differentiated({ gradient, samples }) {
  if (gradient.kind !== 'rule' && gradient.kind !== 'decompose') return 0;
  const ofSample = ({ gradientOf, inputs }) => gradientOf ?? inputs.filter(({ dtype = 'f32' }) => dtype === 'f32');
  return samples.filter((sample) => ofSample(sample).length > 0).length;
}

/** Forward, gradient and second gradient on both backends: how many samples each is held to. */
function matrixOf(record) {
  const [forward, gradient] = [record.samples.length, differentiated(record) || '–'];
  return [forward, gradient, gradient, forward, gradient, gradient];
}

/** The page as Markdown, from the table of records and the lowering of nodes. */
export function opsPage(records, lowerNode) {
  const all = Object.values(records);
  const count = (kind) => all.filter((r) => r.gradient.kind === kind).length;
  const samples = all.reduce((n, r) => n + r.samples.length, 0);
  const rows = all.map((record) =>
    [`\`${record.name}\``, record.doc, gradientOf(record), kernelsOf(record, lowerNode)]
      .map((text) => cell(String(text)))
      .join(' | '),
  );
  return `# Ops

All ${all.length} ops of the graph, written by \`node scripts/ops-table.mjs\` from the op records in \`src/ops\`. Names that
end in \`Grad\`, \`accumulate\` and the updates are made by differentiation and optimizers; nobody has to write them.

- **Gradient** \`rule\` (${count('rule')} ops): made of ordinary ops, so it can be differentiated again. \`by its parts\`
  (${count('decompose')}): the graph that the fused op stands for is differentiated. \`zero\` (${count('zero')}) almost everywhere and
  \`none\` (${count('none')}): with the reason.
- **Kernels** are those that the samples become on WebAssembly devices. The \`reference\` backend runs every op in f64.
- **Samples** (${samples} in all) stand in the record. \`test/conformance\` runs each of them on both backends and holds the
  values to the f64 reference; compares first and second gradients, where there are any, with central differences under
  random cotangents; and runs those gradient graphs on both backends. It also offers every op inputs it must refuse.

| op | computes | gradient | kernels |
|---|---|---|---|
${rows.map((row) => `| ${row} |`).join('\n')}

## Conformance matrix

How many samples of each op \`test/conformance\` holds to the f64 reference, to central differences (∂: gradients, ∂²: gradients
of gradients) and to the reference's gradient graphs. A dash: the op has no derivative, or none but zero. Breaking any one
gradient rule turns a test red: \`node scripts/mutate-gradients.mjs\` does so for all of them.

| op | reference | reference ∂ | reference ∂² | wasm | wasm ∂ | wasm ∂² |
|---|---:|---:|---:|---:|---:|---:|
${all.map((record) => `| \`${record.name}\` | ${matrixOf(record).join(' | ')} |`).join('\n')}
`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { records } = await import('../dist/ops/index.js');
  const { lowerNode } = await import('../dist/lower/lower.js');
  writeFileSync(opsFile, opsPage(records, lowerNode));
  console.log(`${Object.keys(records).length} ops written to ${opsFile}`);
}
