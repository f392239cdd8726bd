// Curves of step times: their exponents, the section of docs/performance.md and its picture.
import { fitPower, median, quantile } from './statistics.mjs';
import { loopsSentence } from './text.mjs';

const order = ['batch', 'depth', 'width', 'microbatches', 'devices'];
export const sorted = (curves) => order.filter((name) => curves[name]).map((name) => [name, curves[name]]);

/** What a step of that size takes: measured, or predicted where no core is there for a device. */
const timeOf = (point) => (point.milliseconds.length > 0 ? median(point.milliseconds) : point.predictedMilliseconds);

/**
 * Exponents of time (median and quartiles of those of the rounds; of predictions, one) and of the peak. Curves that were played
 * on paper for some sizes are fitted to the predictions of all.
 */
export function fitCurve({ points }) {
  const onPaper = points.some((p) => p.milliseconds.length === 0);
  const time = onPaper
    ? [points.map((p) => [p.size, p.predictedMilliseconds])]
    : points[0].milliseconds.map((_, round) => points.map((p) => [p.size, p.milliseconds[round]]));
  const exponents = time.map((round) => fitPower(round).exponent);
  const whole = fitPower(onPaper ? time[0] : points.map((p) => [p.size, timeOf(p)]));
  return {
    onPaper,
    time: {
      ...whole,
      exponent: median(exponents),
      low: quantile(exponents, 0.25),
      high: quantile(exponents, 0.75),
    },
    memory: fitPower(points.map((p) => [p.size, p.peakBytes])),
  };
}

const two = (value) => value.toFixed(2);
const milliseconds = (value) => value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0);

export function scalingSection(curves) {
  const rows = sorted(curves).map(([name, curve]) => {
    const { time, memory, onPaper } = fitCurve(curve);
    const times = curve.points.map((p) => {
      const measured = p.milliseconds.length > 0 ? milliseconds(median(p.milliseconds)) : undefined;
      const predicted =
        p.predictedMilliseconds === undefined ? undefined : `(${milliseconds(p.predictedMilliseconds)})`;
      return [measured, predicted].filter(Boolean).join(' ');
    });
    return [
      name,
      curve.points.map((p) => p.size).join(', '),
      times.join(', '),
      `${two(time.exponent)}${onPaper ? '' : ` [${two(time.low)}–${two(time.high)}]`}`,
      time.r2.toFixed(3),
      two(memory.exponent),
      memory.r2.toFixed(3),
    ];
  });
  const head = ['over', 'sizes', 'ms a step', 'time grows as size to the', 'R²', 'largest peak as size to the', 'R²'];
  const table = [head, head.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n');
  return [table, loopsSentence(Object.values(curves)), told(curves)].filter(Boolean).join('\n\n');
}

/** What the fits say, in sentences. */
function told(curves) {
  const fit = Object.fromEntries(sorted(curves).map(([name, curve]) => [name, fitCurve(curve)]));
  const lines = [];
  const growth = ['batch', 'depth', 'width'].filter((name) => fit[name]);
  if (growth.length > 0)
    lines.push(
      `Twice the ${growth.map((name) => `${name} takes ${two(2 ** fit[name].time.exponent)} times as long`).join(', twice the ')}.`,
    );
  if (curves.microbatches) {
    const { points } = curves.microbatches;
    const [first, last] = [points[0], points.at(-1)];
    lines.push(
      `The same batch in ${last.size} microbatches on one device takes ${two(timeOf(last) / timeOf(first))} times as long as in ${first.size}, and ${two(last.peakBytes / first.peakBytes)} of the memory.`,
    );
  }
  if (curves.devices) {
    const { points } = curves.devices;
    const by = (of) => points.filter((p) => of(p) !== undefined).map((p) => `${p.size}: ${two(of(points[0]) / of(p))}`);
    const measured = by((p) => (p.milliseconds.length > 0 ? median(p.milliseconds) : undefined));
    lines.push(
      `Speed-up by devices, measured ${measured.join(', ')}; in brackets and here predicted with the kernels' measured times, every device a core of its own: ${by((p) => p.predictedMilliseconds).join(', ')}.`,
    );
  }
  return lines.join('\n');
}

/** A panel a curve, both axes logarithmic: points as measured (crosses: predicted), and the fitted line. */
export function scalingPicture(curves) {
  const panels = sorted(curves).map(([name, curve]) => {
    const { time } = fitCurve(curve);
    const values = curve.points.flatMap(({ size, milliseconds: measured, predictedMilliseconds: predicted }) => [
      ...(measured.length > 0 ? [{ size, ms: median(measured), kind: 'measured' }] : []),
      ...(predicted === undefined ? [] : [{ size, ms: predicted, kind: 'predicted' }]),
    ]);
    const { exponent, factor } = fitPower(curve.points.map((p) => [p.size, p.predictedMilliseconds ?? timeOf(p)]));
    const line = curve.points.map(({ size }) => ({ size, ms: factor * size ** exponent }));
    const sizes = curve.points.map((p) => p.size);
    const x = {
      field: 'size',
      type: 'quantitative',
      title: name,
      scale: { type: 'log', domain: [sizes[0], sizes.at(-1)] },
      axis: { values: sizes, format: 'd' },
    };
    const y = { field: 'ms', type: 'quantitative', title: 'ms a step', scale: { type: 'log' } };
    const kinds = { domain: ['measured', 'predicted'] };
    return {
      width: 150,
      height: 170,
      title: `time ∝ ${name}^${two(time.exponent)}`,
      layer: [
        { data: { values: line }, mark: { type: 'line', color: '#444444', strokeDash: [4, 3] }, encoding: { x, y } },
        {
          data: { values },
          mark: { type: 'point', filled: true, size: 50 },
          encoding: {
            x,
            y,
            color: { field: 'kind', type: 'nominal', title: null, scale: kinds },
            shape: { field: 'kind', type: 'nominal', title: null, scale: kinds },
          },
        },
      ],
    };
  });
  return { hconcat: panels, resolve: { scale: { color: 'shared', shape: 'shared' } } };
}
