// A training is killed (SIGKILL: no handler runs) at fifty random moments, most of them inside the write of a checkpoint,
// and taken up again on other layouts. What is on the disk is whole every time, and the end has the bits of a training that
// was never interrupted.
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { newestStep, readCheckpoint } from '../../src/train/checkpoint/folder.ts';
import { spawned, workFolder } from '../cli/run.ts';
import { Choices } from '../support/random-model.ts';

const steps = 300;
const experiment = [
  ...['--model.kind', 'mlp', '--model.hidden', '8', '--data.kind', 'digits', '--data.batchSize', '64'],
  ...['--microbatches', '2', '--optimizer', 'adam', '--optimizer.lr', '0.01', '--steps', String(steps)],
  ...['--eval.fraction', '0.1', '--eval.every', '7', '--quiet'],
];
const layouts = [
  ['--devices', '1'],
  ['--devices', '2'],
  ['--devices', '2', '--schedule', 'gpipe', '--partition.cuts', 'layer.1', '--partition.placement', '1,0'],
];
const chains = 10;
const killsEach = 5;

/** Starts the command and kills it `seconds` behind its start, or behind its first new checkpoint. */
async function killed(
  folder: string,
  args: readonly string[],
  dir: string,
  { behind, seconds }: { readonly behind: 'start' | 'checkpoint'; readonly seconds: number },
): Promise<boolean> {
  const before = newestStep(dir);
  let ended = false;
  const { code } = await spawned(folder, args, async (child) => {
    child.once('exit', () => (ended = true));
    while (!ended && behind === 'checkpoint' && newestStep(dir) === before) await setTimeout(2);
    await setTimeout(seconds * 1000);
    child.kill('SIGKILL');
  });
  return code === null;
}

describe('a training that is killed', () => {
  it('is resumed every time, and ends with the same bits', { timeout: 600_000 }, async () => {
    const folder = workFolder();
    const whole = await spawned(folder, ['train', ...experiment, '--out', 'whole', '--run-dir', 'run-whole']);
    expect(whole).toMatchObject({ code: 0, stderr: '' });
    const expected = readFileSync(join(folder, 'whole')).toString('hex');
    const [seen, halves]: [kills: number[], halves: number[]] = [[], []];

    const chain = async (c: number) => {
      const choices = new Choices(1000 + c);
      const dir = join(folder, `checkpoints-${c}`);
      mkdirSync(dir);
      const args = (every: number) => {
        const at = newestStep(dir);
        const resume = at === undefined ? [] : ['--resume', dir];
        const checkpoint = ['--checkpoint.dir', dir, '--checkpoint.every', String(every)];
        return ['train', ...experiment, ...choices.pick(layouts), ...checkpoint, ...resume, '--run-dir', `run-${c}`];
      };
      for (let kill = 0; kill < killsEach; kill++) {
        const before = newestStep(dir) ?? 0;
        // One in five hits the start: reading the checkpoint, opening the session, rewriting the log.
        const when =
          choices.below(5) === 0
            ? ({ behind: 'start', seconds: choices.below(1000) / 1000 } as const)
            : ({ behind: 'checkpoint', seconds: choices.below(150) / 1000 } as const);
        expect(await killed(folder, args(1), dir, when)).toBe(true);
        seen.push(newestStep(dir) ?? 0);
        if (readdirSync(dir).some((name) => name.endsWith('.tmp'))) halves.push(kill);
        // Never less than before, and always whole.
        expect(newestStep(dir) ?? 0).toBeGreaterThanOrEqual(before);
        if (newestStep(dir) !== undefined) expect(readCheckpoint(dir).step).toBe(newestStep(dir));
      }
      const out = `out-${c}`;
      const last = await spawned(folder, [...args(steps), '--out', out]);
      expect(last).toMatchObject({ code: 0, stderr: '' });
      expect(readFileSync(join(folder, out)).toString('hex')).toBe(expected);
      // Nothing half is left, every step is told once.
      expect(readdirSync(dir).filter((name) => !name.startsWith('step-'))).toEqual([]);
      const log = readFileSync(join(folder, `run-${c}`, 'log.jsonl'), 'utf8')
        .trim()
        .split('\n');
      expect(log.map((line) => JSON.parse(line).step)).toEqual(Array.from({ length: steps }, (_, i) => i));
      for (const file of ['best.safetensors', 'params.safetensors']) {
        const [a, b] = [`run-${c}`, 'run-whole'].map((run) => readFileSync(join(folder, run, file)).toString('hex'));
        expect(a, file).toBe(b);
      }
    };
    const waiting = Array.from({ length: chains }, (_, c) => c);
    const lane = async () => {
      for (let c = waiting.shift(); c !== undefined; c = waiting.shift()) await chain(c);
    };
    await Promise.all([lane(), lane()]);
    expect(seen).toHaveLength(chains * killsEach);
    // Some of the fifty were inside a write: a temporary folder was left, which the next start removed.
    expect(halves.length).toBeGreaterThan(0);
  });
});
