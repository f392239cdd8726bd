import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { digits, partita, workFolder } from './run.ts';

const folder = workFolder();
const large = ['--model.kind', 'mlp', '--model.inputs', '64', '--model.hidden', '60000,60000', '--model.classes', '10'];

describe('null devices on the command line', () => {
  it('train a model that no device could hold, without data and without a loss', async () => {
    const args = ['train', ...large, '--devices', '2', '--backend', 'null', '--batch', '8', '--microbatches', '4'];
    const { code, stdout } = await partita(folder, [...args, '--steps', '2', '--run-dir', 'large', '--json']);
    expect(code).toBe(0);
    const result = JSON.parse(stdout);
    expect(result).toMatchObject({ loss: null, firstLoss: null, basis: 'predicted', steps: 2, out: null });
    for (const d of result.devices) {
      expect(d.peakBytesMeasured).toBe(d.peakBytesPlanned);
      expect(d.backend).toBe('null');
      expect(d.played.messages).toBe(4);
    }
    expect(Math.max(...result.devices.map((d: { peakBytesPlanned: number }) => d.peakBytesPlanned))).toBeGreaterThan(
      2 ** 34,
    );
    const log = readFileSync(join(folder, 'large', 'log.jsonl'), 'utf8')
      .trim()
      .split('\n');
    expect(log.map((line) => JSON.parse(line))).toMatchObject([
      { step: 0, loss: null },
      { step: 1, loss: null },
    ]);
    expect(existsSync(join(folder, 'large', 'params.safetensors'))).toBe(false);
  });

  it('say that nothing is learnt, by a stored plan too, and with data', async () => {
    await partita(folder, [
      'plan',
      ...digits,
      '--devices',
      '2',
      '--backend',
      'null',
      '--plan-out',
      'null.json',
      '--quiet',
    ]);
    const { code, stdout } = await partita(folder, [
      'train',
      '--plan',
      'null.json',
      '--steps',
      '57',
      '--run-dir',
      'stored',
    ]);
    expect(code).toBe(0);
    expect(stdout).toContain('nothing is learnt');
    expect(stdout).toContain('57 steps played');
    expect(stdout.match(/B {2}equal/g)).toHaveLength(2);
  });

  it.each([
    ['grad', [], 'there are no derivatives to compute'],
    ['trace', [], 'there are no times to record'],
    ['train', ['--out', 'x.safetensors'], 'there are no losses and parameters to write'],
    ['train', ['--batch', '8'], 'the data say the batch'],
  ] as const)('%s %j is refused by name', async (command, more, what) => {
    const { code, stdout, stderr } = await partita(folder, [
      command,
      ...digits,
      '--backend',
      'null',
      ...more,
      '--json',
    ]);
    expect({ code, stderr }).toMatchObject({ code: 2, stderr: expect.stringContaining(what) });
    expect(JSON.parse(stdout).error.remedy).toBeTruthy();
  });

  it('of devices that compute --batch is refused', async () => {
    const { code, stderr } = await partita(folder, ['train', ...digits, '--batch', '8']);
    expect(code).toBe(2);
    expect(stderr).toContain('only null devices train without data');
  });
});
