/** The layouts of a study of memory beside each other: what fits where, and what it takes. */
import { formatBytes, formatSeconds } from '../core/format.ts';
import { peakCategories } from '../memory/categories.ts';
import { lackingOf } from '../study/memory/fit.ts';
import { highestOf } from '../study/memory/over-time.ts';
import type { MemoryStudy } from '../study/memory/study.ts';
import type { MemoryLayoutRow } from '../study/memory/tables.ts';
import type { Spec } from './axes.ts';
import { type Chart, ink } from './chart.ts';
import { picturedDevices, timePanel } from './memory-over-time.ts';
import { byteUnit, capacityColour } from './memory-style.ts';

/** Layouts that a grid holds. */
const MOST_LAYOUTS = 12;
const [COLUMNS, WIDEST] = [3, 4];
/** Points in time of a panel, two to three pixels apart. */
const MOST_SAMPLES = 90;
/** Of a step longer than this many of the shortest, the areas of the short ones would be a line. */
const MOST_STRETCH = 6;

/**
 * A cell a layout, its devices below each other, all on one scale of bytes, and of time where their steps are alike. Undefined
 * where there is one layout, or too many.
 */
export function sideBySideChart(study: MemoryStudy): Chart | undefined {
  const { tables, settings } = study;
  const [purpose] = settings.purposes;
  const layouts = tables.layouts.filter((r) => r.purpose === purpose);
  if (layouts.length < 2 || layouts.length > MOST_LAYOUTS) return undefined;
  const devices = tables.devices.filter((d) => d.purpose === purpose);
  const samples = tables.overTime.filter((r) => r.purpose === purpose);
  const highest = Math.max(...devices.map((d) => d.peakBytes));
  const { unit, divisor } = byteUnit(highest);
  const used = peakCategories.filter((c) => c !== 'padding' && samples.some((r) => r[c] > 0));
  const steps = layouts.map((r) => r.stepSecondsPredicted);
  const [shortest, longest] = [Math.min(...steps), Math.max(...steps)];
  const untilSeconds = longest <= MOST_STRETCH * shortest ? longest : undefined;
  const columns = columnsOf(layouts, settings.swept);
  const cellOf = (layout: MemoryLayoutRow): Spec => ({
    title: titleOf(study, layout),
    spacing: 8,
    vconcat: picturedDevices(study, layout.layout).flatMap((device) => {
      const own = devices.find((d) => d.layout === layout.layout && d.device === device);
      const mine = samples.filter((r) => r.layout === layout.layout && r.device === device);
      if (!own || mine.length === 0) return [];
      return [
        timePanel({
          samples: highestOf(mine, MOST_SAMPLES),
          own,
          step: layout.stepSecondsPredicted,
          used,
          unit,
          divisor,
          highest,
          title: `device ${device}: ${formatBytes(own.peakBytes)}`,
          width: columns > COLUMNS ? 170 : 230,
          height: 110,
          ...(untilSeconds === undefined ? {} : { untilSeconds }),
        }),
      ];
    }),
  });
  return {
    label: `Live bytes of every layout beside each other, ${purpose}`,
    // Columns are as wide as their widest cell, in every row.
    spec: { concat: layouts.map(cellOf), columns, align: 'each', spacing: 28 },
  };
}

/** A row of the grid goes through the values of the key that changes fastest, where those are few. */
function columnsOf(layouts: readonly MemoryLayoutRow[], swept: readonly string[]): number {
  const last = swept.at(-1);
  const values = new Set(layouts.map((r) => r[`sweep.${last}`])).size;
  return values >= 2 && values <= WIDEST ? values : Math.min(COLUMNS, layouts.length);
}

/** The layout, and whether it runs: what the device lacks that lacks most, or the predicted step. */
function titleOf({ tables }: MemoryStudy, row: MemoryLayoutRow): Spec {
  const [worst] = lackingOf(tables, row).sort((a, b) => b.bytes - a.bytes);
  return {
    text: row.layout.split(', '),
    subtitle: worst
      ? ['refused', `device ${worst.device} lacks ${formatBytes(worst.bytes)}`]
      : ['fits', `${formatSeconds(row.stepSecondsPredicted)} a step`],
    subtitleColor: worst ? capacityColour : ink,
    subtitleFontWeight: worst ? 600 : 400,
  };
}
