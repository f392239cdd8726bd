import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { blocksOf, documented, documentedFolder, node, rootFile, textOf } from './run.ts';

/** The command an example's README begins with. */
const commandOf = (name: string): string => blocksOf(textOf(`examples/${name}/README.md`), 'sh')[0]!.trim();

/** Stages, clock grid and memory of a printed plan: the same on every machine. Where it changed: scripts/example-outputs.mjs. */
const planPart = (output: string): string =>
  output.slice(output.indexOf('stage  device'), output.indexOf('Predicted: '));

interface Figures {
  readonly firstLoss: number;
  readonly loss: number;
  readonly devices: readonly { peakBytesPlanned: number; peakBytesMeasured: number }[];
  readonly evaluation: { readonly accuracy: number; readonly loss: number; readonly perplexity?: number };
}

async function figuresOf(name: string, ...flags: string[]): Promise<Figures> {
  const { code, stdout } = await documented(commandOf(name), documentedFolder(), '--json', '--quiet', ...flags);
  expect(code).toBe(0);
  const figures = JSON.parse(stdout) as Figures;
  for (const d of figures.devices) expect(d.peakBytesMeasured).toBe(d.peakBytesPlanned);
  return figures;
}

describe.each(['mlp-digits', 'cnn-digits', 'gpt-text', 'lstm-alphabet'])('examples/%s', (name) => {
  it('begins its README with its command, and shows the plan it prints', async () => {
    expect(textOf(`examples/${name}/README.md`)).toMatch(/^# .*\n\n```sh\nnpx partita train examples\//);
    const experiment = join('examples', name, 'experiment.json');
    const { code, stdout } = await documented(`npx partita plan ${experiment}`, documentedFolder());
    expect(code).toBe(0);
    expect(planPart(blocksOf(textOf(`examples/${name}/README.md`), 'text')[0]!)).toBe(planPart(stdout));
  });
});

describe('examples train as their READMEs say', () => {
  it('mlp-digits', async () => {
    const { evaluation } = await figuresOf('mlp-digits');
    expect(evaluation.accuracy).toBeGreaterThanOrEqual(0.96);
  });

  it('cnn-digits', async () => {
    const { evaluation } = await figuresOf('cnn-digits');
    expect(evaluation.accuracy).toBeGreaterThanOrEqual(0.97);
  });

  it('gpt-text, its first steps', async () => {
    const { firstLoss, loss, evaluation } = await figuresOf('gpt-text', '--steps', '30');
    // 60 characters, each as likely at first: ln 60 = 4.09.
    expect(Math.abs(firstLoss - Math.log(60))).toBeLessThan(0.1);
    expect(loss).toBeLessThan(3.3);
    expect(evaluation.perplexity).toBeCloseTo(Math.exp(evaluation.loss), 3);
  });
});

describe('examples/lstm-alphabet', () => {
  it('learns every next letter, with the bits of one device, and says them', async () => {
    const folder = documentedFolder();
    const page = textOf('examples/lstm-alphabet/README.md');
    const [train, predict, others] = blocksOf(page, 'sh');
    const [, said] = blocksOf(page, 'text');
    const alphabet = [...'abcdefghijklmnopqrstuvwxyz'];
    const pairs = alphabet.slice(1).map((next, i) => `${alphabet[i]}→${next}`);
    expect(said).toBe(`${pairs.join(' ')}\n25 of 25 next letters are right\n`);

    const { code, stdout } = await documented(train!, folder, '--json', '--quiet', '--out', 'two');
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ evaluation: { accuracy: 1, samples: 5 } });
    const [, ...args] = predict!.trim().split(' ');
    expect(await node([rootFile(args[0]!), args[1]!], folder)).toEqual({ code: 0, stdout: said, stderr: '' });

    await documented(train!, folder, '--devices', '1', '--quiet', '--out', 'one');
    expect(readFileSync(join(folder, 'two')).equals(readFileSync(join(folder, 'one')))).toBe(true);
    for (const line of others!.trim().split('\n')) {
      const other = await documented(line, folder, '--json', '--quiet');
      expect(JSON.parse(other.stdout)).toMatchObject({ evaluation: { accuracy: 1 } });
    }
  });
});

describe('examples/too-large', () => {
  const page = textOf('examples/too-large/README.md');
  const commands = blocksOf(page, 'sh').flatMap((block) => block.trim().split('\n'));
  const [refusal, answers] = blocksOf(page, 'text');

  it('is refused on one device, and trains on more or with recompute, to the same bits', async () => {
    const folder = documentedFolder();
    const [first, ...trainings] = commands.filter((line) => line.startsWith('npx partita train'));
    expect(await documented(first!, folder)).toEqual({ code: 1, stdout: expect.any(String), stderr: refusal });
    // The next command is the refusal's remedy.
    const [, remedy] = /^ {2}try: (.*)$/m.exec(refusal!)!;
    expect(trainings[0]).toContain(remedy);
    expect(trainings).toHaveLength(4);
    const files: Buffer[] = [];
    for (const line of trainings) {
      const { code, stdout } = await documented(line, folder, '--steps', '2', '--quiet', '--json');
      expect(code, line).toBe(0);
      for (const d of (JSON.parse(stdout) as Figures).devices) expect(d.peakBytesMeasured).toBe(d.peakBytesPlanned);
      files.push(readFileSync(join(folder, line.split(' ').at(-1)!)));
    }
    for (const file of files) expect(file.equals(files[0]!)).toBe(true);
  });

  it('has the footprints that its README tells of', async () => {
    const study = commands.find((line) => line.startsWith('npx partita study'));
    const { code, stdout } = await documented(study!, documentedFolder(), '--quiet', '--json');
    expect(code).toBe(0);
    const words = (text: string) => text.replaceAll(/\s+/g, ' ');
    const { summary } = JSON.parse(stdout) as { summary: { about: string; question: string; text: string }[] };
    for (const { question, text } of summary.filter((c) => c.about === 'answer')) {
      expect(words(answers!)).toContain(words(`${question} ${text}`));
    }
  });
});

describe('examples/optimizers', () => {
  it('prints the table and draws the picture of its README', async () => {
    const folder = documentedFolder();
    const [, ...args] = commandOf('optimizers').split(' ');
    const { code, stdout, stderr } = await node(args, folder);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(blocksOf(textOf('examples/optimizers/README.md'), 'text')[0]).toBe(stdout);
    expect(readFileSync(join(folder, 'losses.svg'), 'utf8')).toBe(textOf('examples/optimizers/losses.svg'));
    expect(stdout).toMatch(/^adam .* 9\d\.\d %$/m);
  });
});

describe('npm run demo', () => {
  it('trains on three devices as on one, and where one is refused', async () => {
    const folder = documentedFolder();
    const { code, stdout, stderr } = await node([rootFile('examples/demo/run.mjs')], folder);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const accuracy = /^ok {2}([\d.]+) % of \d+ held-out digits are right$/m.exec(stdout);
    expect(Number(accuracy?.[1])).toBeGreaterThanOrEqual(97);
    expect(stdout).toMatch(/^ok {2}all \d+ losses are bit-identical$/m);
    expect(stdout).toMatch(/^ok {2}all \d+ parameters \([\d,]+ numbers\) are bit-identical$/m);
    expect(stdout).toMatch(/PlanError: the plan does not fit: device 0 needs .*\n(.*\n)*? {2}try: --devices/);
    expect(stdout).not.toContain('DIFFERENT');
    for (const line of stdout.split('\n')) expect(line.length, line).toBeLessThanOrEqual(110);
    for (const m of stdout.matchAll(/^ {2}npx partita plan .*$/gm)) {
      expect(await documented(m[0], folder)).toMatchObject({ code: 0 });
    }
  });
});
