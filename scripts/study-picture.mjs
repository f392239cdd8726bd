// Draws docs/images/batch-study.svg from the study.json of a batch study (what cutting does to memory, and what the batch size
// does to the steps), or from that of a memory study docs/images/memory-study.svg (its layout over time), or where it has
// several layouts docs/images/too-large.svg (all of them side by side), or docs/images/scaling-study.svg from that of a
// scaling study (what grows with the devices).
//
//   npx partita study batch examples/batch-study/experiment.json --study-dir studies/example
//   node scripts/study-picture.mjs studies/example/study.json
//
//   npx partita study memory --model.kind gpt --data.kind text --devices 2 --memory 8MiB --microbatches 4 --study-dir studies/memory
//   node scripts/study-picture.mjs studies/memory/study.json
//
//   npx partita study memory examples/too-large/experiment.json …, as its README has it, --study-dir studies/too-large
//   node scripts/study-picture.mjs studies/too-large/study.json
//
//   npx partita study scaling examples/gpt-text/experiment.json --sweep.microbatches 16,128,512 --parts weak --study-dir studies/scaling
//   node scripts/study-picture.mjs studies/scaling/study.json
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { growthChart } from '../dist/report/batch-study/cost-charts.js';
import { targetChart } from '../dist/report/batch-study/learning-charts.js';
import { drawChart } from '../dist/report/chart.js';
import { overTimeCharts } from '../dist/report/memory-over-time.js';
import { sideBySideChart } from '../dist/report/memory-side-by-side.js';
import { weakCharts } from '../dist/report/scaling-study.js';

const [file] = process.argv.slice(2);
if (!file) {
  process.stderr.write('study-picture: give the study.json of a batch, memory or scaling study\n');
  process.exit(2);
}
const study = JSON.parse(readFileSync(file, 'utf8'));
const beside = study.study === 'memory' ? sideBySideChart(study) : undefined;
const charts = {
  batch: () => [growthChart(study), targetChart(study, study.settings.variants[0])],
  memory: () => (beside ? [beside] : overTimeCharts(study, study.tables.layouts[0].layout)),
  scaling: () => weakCharts(study.tables.scaling, study),
};
const name = beside ? 'too-large' : `${study.study}-study`;
const drawn = await Promise.all(charts[study.study]().map((c) => drawChart(c)));
const sizes = drawn.map((svg) => /width="([\d.]+)" height="([\d.]+)"/.exec(svg).slice(1).map(Number));
const gap = 24;
const width = Math.max(...sizes.map(([w]) => w));
const height = sizes.reduce((sum, [, h]) => sum + h, gap * (sizes.length - 1));
let y = 0;
const parts = drawn.map((svg, i) => {
  // A hundredth of a pixel is fine enough.
  const placed = svg.replaceAll(/(\.\d\d)\d+/g, '$1').replace('<svg ', `<svg y="${y}" `);
  y += sizes[i][1] + gap;
  return placed;
});
// A white ground: pages in dark colours would hide the axes.
const picture = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}"><rect width="100%" height="100%" fill="#fff"/>${parts.join('')}</svg>\n`;
writeFileSync(fileURLToPath(new URL(`../docs/images/${name}.svg`, import.meta.url)), picture);
