// Examples that train for minutes on data of Debian's packages. Here: the plans their READMEs show, and first steps whose
// loss falls and whose bits do not depend on the layout. With PARTITA_LONG=1 also the whole runs and what they reach.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, type TestContext } from 'vitest';
import { fashionMnistFolder } from '../../src/train/data/fashion-mnist.ts';
import { needs } from '../support/system.ts';
import { blocksOf, documented, documentedFolder, node, rootFile, textOf } from './run.ts';

interface Example {
  readonly name: string;
  readonly needs: (context: TestContext) => void;
  /** Makes what the example needs in a folder; flags that tell of it. */
  readonly prepare: (folder: string) => Promise<readonly string[]>;
  readonly evaluation: readonly string[];
  /** What the short run must fall below. */
  readonly shortLoss: number;
  readonly reached: (evaluation: { readonly loss: number; readonly accuracy: number }) => void;
}

const examples: readonly Example[] = [
  {
    name: 'fashion-cnn',
    needs: (context) => needs(context, existsSync(fashionMnistFolder), "Debian's dataset-fashion-mnist"),
    prepare: async () => [],
    // The test images are many: the split's end instead.
    evaluation: ['--eval', '{"fraction": 0.01}'],
    shortLoss: 2.1,
    reached: ({ accuracy }) => expect(accuracy).toBeGreaterThanOrEqual(0.91),
  },
  {
    name: 'char-transformer',
    needs: (context) => needs(context, existsSync('/usr/bin/bible'), "Debian's bible-kjv"),
    prepare: async (folder) => {
      const file = join(folder, 'kjv.txt');
      const { code, stdout, stderr } = await node([rootFile('examples/char-transformer/text.mjs'), file]);
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      expect(stdout).toContain('31102 verses, 4137850 characters, 63 different ones');
      const text = readFileSync(file, 'latin1');
      expect(text.startsWith('In the beginning God created the heaven and the earth.\n')).toBe(true);
      expect(text.endsWith('The grace of our Lord Jesus Christ be with you all. Amen.\n')).toBe(true);
      return ['--data.file', file];
    },
    evaluation: ['--eval.fraction', '0.0005'],
    shortLoss: 3.7,
    reached: ({ loss }) => expect(loss).toBeLessThan(1.5),
  },
];

const planPart = (output: string): string =>
  output.slice(output.indexOf('stage  device'), output.indexOf('Predicted: '));

describe.each(examples)('examples/$name', (example) => {
  const { name, prepare, evaluation, shortLoss, reached } = example;
  const page = textOf(`examples/${name}/README.md`);
  const command = `npx partita train examples/${name}/experiment.json`;

  it('shows its command and the plan it prints, and trains to the same bits on one device and on two', {
    timeout: 300_000,
  }, async (context) => {
    example.needs(context);
    expect(page).toContain(`${command}\n`);
    const folder = documentedFolder();
    const flags = await prepare(folder);
    const plan = await documented(command.replace(' train ', ' plan '), folder, ...flags);
    expect(plan.code).toBe(0);
    expect(planPart(blocksOf(page, 'text')[0]!)).toBe(planPart(plan.stdout));

    const run = async (devices: number) => {
      const short = [...flags, '--steps', '8', ...evaluation, '--learningRate', 'constant', '--optimizer.lr', '0.002'];
      const out = ['--out', `out-${devices}`, '--quiet', '--json'];
      const { code, stdout } = await documented(command, folder, ...short, '--devices', `${devices}`, ...out);
      expect(code).toBe(0);
      return JSON.parse(stdout);
    };
    const [one, two] = [await run(1), await run(2)];
    expect(two).toMatchObject({ loss: one.loss, evaluation: one.evaluation });
    expect(two.loss).toBeLessThan(shortLoss);
    expect(two.loss).toBeLessThan(two.firstLoss);
    for (const d of two.devices) expect(d.peakBytesMeasured).toBe(d.peakBytesPlanned);
    expect(readFileSync(join(folder, 'out-2')).equals(readFileSync(join(folder, 'out-1')))).toBe(true);
  });

  // Minutes on quiet cores: on request, and not a skipped test elsewhere.
  if (process.env.PARTITA_LONG) {
    it('reaches what its README says', { timeout: 3_600_000 }, async (context) => {
      example.needs(context);
      const folder = documentedFolder();
      const { code, stdout } = await documented(command, folder, ...(await prepare(folder)), '--json');
      expect(code).toBe(0);
      const result = JSON.parse(stdout);
      reached(result.evaluation);
      // The same bits everywhere: the README's last evaluation, digit by digit.
      const told = [...page.matchAll(/held-out loss ([\d.]+), accuracy ([\d.]+) %/g)].at(-1)!;
      expect(result.evaluation.loss.toPrecision(4)).toBe(told[1]);
      expect((100 * result.evaluation.accuracy).toFixed(1)).toBe(told[2]);
    });
  }
});
