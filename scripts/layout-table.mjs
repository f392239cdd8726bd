// Writes the table of docs/memory-layout.md: `npm run build && node scripts/layout-table.mjs`.
import { readFileSync, writeFileSync } from 'node:fs';
import { makeOptimizer, nn, plan } from 'partita';
import { models } from './table-models.mjs';

const schedules = ['gpipe', '1f1b', 'zb-h1', 'zb-h2', 'interleaved-1f1b'];
const rows = [];
for (const model of models) {
  for (const microbatches of [1, 2, 4]) {
    const cells = schedules.map((schedule) => {
      const { memory } = plan.draftPlan({
        model: nn.models.modelOf(model),
        programs: { train: { batch: 8, mode: 'train', outputs: true } },
        microbatches,
        schedule,
        partition: 'auto',
        devices: [0, 1].map(() => ({ backend: 'wasm', memory: null, speed: 1 })),
        optimizer: makeOptimizer({ kind: 'adam', lr: 0.001 }),
      });
      return memory.map((m) => (m.peakBytes / m.maxLive).toFixed(3)).join(', ');
    });
    rows.push(`| ${[model.kind, microbatches, ...cells].join(' | ')} |`);
  }
}
const file = new URL('../docs/memory-layout.md', import.meta.url);
const head = `| model | M | ${schedules.join(' | ')} |\n|${'---|'.repeat(schedules.length + 2)}`;
const text = readFileSync(file, 'utf8').replace(
  /(?<=<!-- table -->\n).*(?=<!-- end -->)/s,
  () => `${head}\n${rows.join('\n')}\n`,
);
writeFileSync(file, text);
