/** Progress of a training on standard error: a bar on a terminal, a line every few seconds elsewhere. */
import { Presets, SingleBar } from 'cli-progress';
import { formatBytes, formatPercent, formatSeconds } from '../core/format.ts';
import { colourAllowed } from '../report/table.ts';
import type { EvaluationRecord } from '../train/evaluate.ts';
import type { StepRecord } from '../train/trainer.ts';

export interface Progress {
  step(record: StepRecord): void;
  stop(): void;
}

const secondsBetweenLines = 3;

/** `from`: steps that were done before, which took no time here. */
export function makeProgress(steps: number, peakBytes: number, quiet: boolean, from = 0): Progress {
  if (quiet) return { step: () => {}, stop: () => {} };
  return process.stderr.isTTY ? bar(steps, peakBytes, from) : lines(steps, peakBytes, from);
}

function bar(steps: number, peakBytes: number, from: number): Progress {
  const colour = colourAllowed(process.stderr);
  const [on, off] = colour ? ['\x1b[36m', '\x1b[39m'] : ['', ''];
  const single = new SingleBar(
    {
      format: `${on}{bar}${off} {value}/{total}  {rate} steps/s  left {left}  loss {loss}{noise}  peak ${formatBytes(peakBytes)}  bubble {bubble}{evaluation}`,
      stream: process.stderr,
      hideCursor: true,
      barsize: 24,
      linewrap: false,
      gracefulExit: false,
    },
    Presets.shades_classic,
  );
  single.start(steps, from, { rate: '-', left: '-', loss: '-', bubble: '-', noise: '', evaluation: '' });
  const begin = performance.now();
  let evaluation = '';
  return {
    step: (record) => {
      const done = record.step + 1;
      const rate = (done - from) / ((performance.now() - begin) / 1000);
      if (record.evaluation) evaluation = `  ${evaluationText(record.evaluation)}`;
      single.update(done, {
        rate: rate.toPrecision(3),
        left: formatSeconds((steps - done) / rate),
        loss: record.loss.toPrecision(4),
        noise: noiseText(record),
        bubble: formatPercent(record.bubbleFraction),
        evaluation,
      });
    },
    stop: () => single.stop(),
  };
}

function lines(steps: number, peakBytes: number, from: number): Progress {
  const begin = performance.now();
  let next = begin;
  return {
    step: (record) => {
      const now = performance.now();
      const done = record.step + 1;
      if (now < next && done < steps && !record.evaluation) return;
      next = now + secondsBetweenLines * 1000;
      const rate = (done - from) / ((now - begin) / 1000);
      const evaluation = record.evaluation ? `  ${evaluationText(record.evaluation)}` : '';
      process.stderr.write(
        `step ${done}/${steps}  loss ${record.loss.toPrecision(4)}${noiseText(record)}  ${rate.toPrecision(3)} steps/s  left ${formatSeconds((steps - done) / rate)}  peak ${formatBytes(peakBytes)}  bubble ${formatPercent(record.bubbleFraction)}${evaluation}\n`,
      );
    },
    stop: () => {},
  };
}

const noiseText = ({ noise }: StepRecord): string => (noise ? `  noise scale ${noise.bSimple.toPrecision(3)}` : '');

export function evaluationText({ loss, accuracy, perplexity, rmse, mae }: EvaluationRecord): string {
  const parts = [`held-out loss ${loss.toPrecision(4)}`];
  if (accuracy !== undefined) parts.push(`accuracy ${formatPercent(accuracy)}`);
  if (perplexity !== undefined) parts.push(`perplexity ${perplexity.toPrecision(4)}`);
  if (rmse !== undefined) parts.push(`rmse ${rmse.toPrecision(4)}`);
  if (mae !== undefined) parts.push(`mae ${mae.toPrecision(4)}`);
  return parts.join(', ');
}
