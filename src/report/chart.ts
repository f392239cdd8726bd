/**
 * Charts in one style, drawn as SVG text without a browser: a Vega-Lite specification in, a picture out. Colours are those
 * of Okabe & Ito (2008, "Color Universal Design"), which readers with any colour vision tell apart; what colour says, the
 * shape of the points or the dash of the lines says too. Vega is loaded when the first chart is drawn.
 */

import type { TopLevelSpec } from 'vega-lite';
import { requireKinds } from '../core/options.ts';

/** Okabe–Ito without yellow, which vanishes on white, and with black last. */
export const palette = [
  '#0072B2',
  '#D55E00',
  '#009E73',
  '#CC79A7',
  '#E69F00',
  '#56B4E9',
  '#6B4C9A',
  '#000000',
] as const;
/** Shapes with an area: a `stroke` has none, and where points are filled it is not seen. */
export const shapes = [
  'circle',
  'square',
  'triangle-up',
  'diamond',
  'cross',
  'triangle-down',
  'triangle-right',
  'triangle-left',
];
export const dashes = [
  [1, 0],
  [6, 3],
  [2, 2],
  [8, 3, 2, 3],
  [10, 4],
  [4, 2, 1, 2, 1, 2],
  [1, 3],
  [12, 2],
];
/** For what is computed and not measured: reference lines, targets. */
export const ink = '#444444';

/**
 * Light to dark for what is ordered (batch sizes): equal steps of lightness, dark enough on white. Viridis, cut at its
 * light end.
 */
export function ordered(count: number): string[] {
  const stops = ['#440154', '#414487', '#2a788e', '#22a884', '#7ad151'];
  return Array.from({ length: count }, (_, i) => {
    const at = count === 1 ? 0 : ((stops.length - 1) * (count - 1 - i)) / (count - 1);
    const [from, to] = [stops[Math.floor(at)]!, stops[Math.ceil(at)]!];
    return mix(from, to, at - Math.floor(at));
  });
}

function mix(a: string, b: string, share: number): string {
  const channel = (colour: string, i: number) => Number.parseInt(colour.slice(1 + 2 * i, 3 + 2 * i), 16);
  const hex = (i: number) =>
    Math.round(channel(a, i) + (channel(b, i) - channel(a, i)) * share)
      .toString(16)
      .padStart(2, '0');
  return `#${hex(0)}${hex(1)}${hex(2)}`;
}

export const fontStack = 'system-ui, -apple-system, "Segoe UI", "Liberation Sans", Arial, sans-serif';

const style = {
  background: 'transparent',
  font: fontStack,
  view: { stroke: null },
  axis: {
    labelFontSize: 12,
    titleFontSize: 13,
    titleFontWeight: 600 as const,
    titlePadding: 8,
    labelColor: '#333',
    titleColor: '#222',
    gridColor: '#e4e4e4',
    domainColor: '#888',
    tickColor: '#888',
    labelOverlap: 'greedy' as const,
  },
  legend: {
    labelFontSize: 12,
    titleFontSize: 13,
    titleFontWeight: 600 as const,
    symbolSize: 90,
    symbolStrokeWidth: 2,
    labelColor: '#333',
    titleColor: '#222',
    labelLimit: 260,
    titleLimit: 260,
  },
  header: { labelFontSize: 13, labelFontWeight: 600 as const, titleFontSize: 13, labelColor: '#222' },
  title: { fontSize: 14, fontWeight: 600 as const, anchor: 'start' as const, color: '#222' },
  line: { strokeWidth: 2 },
  point: { size: 60, filled: true },
  text: { fontSize: 12, fill: '#222' },
  range: { category: [...palette], symbol: shapes },
};

/** A specification in the house style; `label` says to those who do not see it what it shows. */
export interface Chart {
  readonly label: string;
  /** Of Vega-Lite, without `$schema` and `config`. */
  readonly spec: Readonly<Record<string, unknown>>;
}

let drawn = 0;

/** The chart as one SVG element, for a page of several: its internal names are its own. `warn`: for those who write charts. */
export async function drawChart(chart: Chart, warn: (text: string) => void = () => {}): Promise<string> {
  requireKinds('drawChart', { label: ['text', chart?.label], spec: ['object', chart?.spec] });
  const { label, spec } = chart;
  const [{ compile }, vega] = await Promise.all([import('vega-lite'), import('vega')]);
  const logger = loggerFor((text) => warn(`${label}: ${text}`));
  const compiled = compile({ ...spec, config: style } as unknown as TopLevelSpec, { logger });
  const view = new vega.View(vega.parse(compiled.spec), { renderer: 'none' });
  view.logger(logger);
  try {
    const svg = await view.toSVG();
    return ownNames(svg, `chart${drawn++}-`).replace(
      /^<svg /,
      `<svg role="img" aria-label="${escapeHtml(label)}" preserveAspectRatio="xMinYMin meet" `,
    );
  } finally {
    view.finalize();
  }
}

/** Hears of what Vega dislikes in a specification; what it tells beside that is of no interest. */
function loggerFor(warn: (text: string) => void) {
  const tell = (...told: readonly unknown[]) => {
    warn(told.join(' '));
    return logger;
  };
  const logger = { level, error: tell, warn: tell, info: () => logger, debug: () => logger };
  function level(set: number): typeof logger;
  function level(): number;
  function level(set?: number): typeof logger | number {
    return set === undefined ? 2 : logger;
  }
  return logger;
}

/** Clip paths and gradients are referred to by id, and ids are of the whole page. */
const ownNames = (svg: string, prefix: string): string =>
  svg.replaceAll(/\bid="([^"]+)"/g, `id="${prefix}$1"`).replaceAll(/url\(#([^)]+)\)/g, `url(#${prefix}$1)`);

const escapes: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};
export const escapeHtml = (text: string): string => text.replaceAll(/[&<>"']/g, (c) => escapes[c]!);
