// Writes the table of docs/memory-lifetimes.md: `npm run build && node scripts/lifetimes-table.mjs`.
import { readFileSync, writeFileSync } from 'node:fs';
import { makeOptimizer, nn, plan } from 'partita';
import { models } from './table-models.mjs';

const planOf = (model, schedule, microbatches, devices, lifetimes) =>
  plan.draftPlan({
    model: nn.models.modelOf(model),
    programs: { train: { batch: 8, mode: 'train', outputs: true } },
    microbatches,
    schedule,
    partition: 'auto',
    devices: Array.from({ length: devices }, () => ({ backend: 'wasm', memory: null, speed: 1 })),
    optimizer: makeOptimizer({ kind: 'adam', lr: 0.001 }),
    lifetimes,
  });

const kib = (list) => list.map((bytes) => (bytes / 1024).toFixed(0)).join(' + ');
const rows = [];
for (const model of models) {
  for (const [schedule, microbatches, devices] of [
    ['gpipe', 1, 1],
    ['gpipe', 4, 1],
    ['1f1b', 4, 1],
    ['gpipe', 4, 2],
    ['1f1b', 4, 2],
  ]) {
    const [before, after] = ['plain', 'short'].map((l) => planOf(model, schedule, microbatches, devices, l));
    const cells = [before, after].flatMap(({ memory }) => [
      kib(memory.map((m) => m.maxLive)),
      kib(memory.map((m) => m.peakBytes)),
    ]);
    const ordered = after.programs.train.orders.some((o) => o.tasks.length > 0);
    rows.push(
      `| ${[model.kind, `${schedule}, M = ${microbatches}`, devices, ...cells, ordered ? 'yes' : ''].join(' | ')} |`,
    );
  }
}
const file = new URL('../docs/memory-lifetimes.md', import.meta.url);
const head =
  '| model | schedule | devices | alive before | peak before | alive after | peak after | reordered |\n|---|---|---|---|---|---|---|---|';
const text = readFileSync(file, 'utf8').replace(
  /(?<=<!-- table -->\n).*(?=<!-- end -->)/s,
  () => `${head}\n${rows.join('\n')}\n`,
);
writeFileSync(file, text);
