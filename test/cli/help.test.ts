import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { Command, Option } from 'commander';
import { describe, expect, it } from 'vitest';
import { type CommandSpec, commands } from '../../src/cli/commands.ts';
import { experimentFlags } from '../../src/cli/flags.ts';
import { commandText, flagsOf, overviewText, placesOf } from '../../src/cli/help.ts';
import { packageVersion } from '../../src/cli/package-version.ts';
import { packageRoot } from '../../src/core/package-root.ts';
import { partita, workFolder } from './run.ts';

const widths = [30, 80, 100, 120, 240];

/** The same descriptions as commander lays them out, which people know from other commands. */
function byCommander(width: number, spec?: CommandSpec): string {
  const laidOut = (command: Command): Command =>
    command.helpOption('-h, --help', 'show help').configureHelp({ helpWidth: width });
  const program = laidOut(new Command('partita'));
  if (!spec) {
    program
      .description('Trains one model on many devices: same bits for every layout, memory to the byte.')
      .version('0', '-V, --version', 'print the version')
      .helpCommand('help [command]', 'show help of a command');
    for (const { name, summary } of commands) program.command(name).summary(summary);
    return program.helpInformation();
  }
  const command = laidOut(program.command(spec.name).description(spec.description));
  for (const { name, doc } of placesOf(spec)) command.argument(name, doc);
  for (const { flags, doc } of flagsOf(spec)) command.addOption(new Option(flags, doc));
  for (const { flags, doc, group } of spec.argument ? [] : experimentFlags())
    command.addOption(new Option(flags, doc).helpGroup(`${group}:`));
  return `${command.helpInformation()}\nExample:\n  ${spec.example}\n`;
}

describe('help', () => {
  it.each(widths)('is laid out as by commander, in %i columns', (width) => {
    expect(overviewText(width)).toBe(byCommander(width));
    for (const spec of commands) {
      const keys = spec.argument ? [] : experimentFlags();
      expect(commandText(spec, keys, width)).toBe(byCommander(width, spec));
    }
  });

  it('says which kinds a text is about, where they share a flag and not what it means', () => {
    const docs = new Map(experimentFlags().map(({ path, doc }) => [path, doc]));
    expect(docs.get('model.context')).toBe(
      "gpt: tokens of one sequence; default: the data's, else 64; lstm: steps of one sequence; default: the data's, else 64; an integer ≥ 1",
    );
    expect(docs.get('model.blocks')).not.toContain('resnet:');
    expect(docs.get('model.inputs')).toMatch(/; an integer ≥ 1, or a list of at least 1, each an integer ≥ 1$/);
  });

  it('is as wide as the terminal', () => {
    const columns = Object.getOwnPropertyDescriptor(process.stdout, 'columns');
    try {
      Object.defineProperty(process.stdout, 'columns', { value: 70, configurable: true });
      expect(overviewText()).toBe(overviewText(70));
      expect(overviewText(70)).not.toBe(overviewText(120));
      // Some terminals say nothing.
      Object.defineProperty(process.stdout, 'columns', { value: 0, configurable: true });
      expect(overviewText()).toBe(overviewText(120));
    } finally {
      if (columns) Object.defineProperty(process.stdout, 'columns', columns);
      else delete (process.stdout as { columns?: number }).columns;
    }
  });

  it('is told wherever it is asked for', async () => {
    const folder = workFolder();
    const grad = commandText(commands.find((c) => c.name === 'grad')!, experimentFlags(), 120);
    for (const args of [
      ['grad', '--help'],
      ['grad', '-h'],
      ['help', 'grad'],
      ['grad', '--devices', '2', '-h'],
    ])
      expect(await partita(folder, args)).toEqual({ code: 0, stdout: grad, stderr: '' });
    for (const args of [['--help'], ['-h'], ['help'], ['help', '--help']])
      expect(await partita(folder, args)).toEqual({ code: 0, stdout: overviewText(120), stderr: '' });
    expect(await partita(folder, [])).toEqual({ code: 2, stdout: '', stderr: overviewText(120) });
  });
});

it('the version is told wherever it is asked for, but as the value of a flag', async () => {
  const folder = workFolder();
  const version = { code: 0, stdout: `${packageVersion()}\n`, stderr: '' };
  for (const args of [
    ['--version'],
    ['-V'],
    ['train', '--version'],
    ['train', 'none.json', '--devices', '2', '--version'],
    ['grad', '--json', '-V'],
    ['pack', 'none.csv', '--version'],
  ])
    expect(await partita(folder, args)).toEqual(version);
  expect(await partita(folder, ['plan', '--model.kind', '--version'])).toMatchObject({ code: 2, stdout: '' });
});

describe('a mistyped command line', () => {
  it('is refused with what was meant', async () => {
    const folder = workFolder();
    expect(await partita(folder, ['trian', '--devices', '2'])).toEqual({
      code: 2,
      stdout: '',
      stderr: "partita: unknown command 'trian' (Did you mean train?)\n  try: partita train --help\n",
    });
    expect(await partita(folder, ['help', 'xyzzyplugh'])).toMatchObject({
      code: 2,
      stderr: "partita: unknown command 'xyzzyplugh'\n  try: partita --help\n",
    });
    expect(await partita(folder, ['report', 'runs/mlp-1'])).toMatchObject({
      code: 2,
      stderr:
        "partita: this version has not got the command 'report'\n  try: partita study TOPIC, or partita profile --html FILE: both write pages\n",
    });
    const { code, stdout } = await partita(folder, ['trian', '--json']);
    expect(code).toBe(2);
    expect(JSON.parse(stdout).error).toMatchObject({ code: 'command-line', command: 'trian' });
    expect(await partita(folder, ['--quiet', 'plan'])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("unknown option '--quiet'; flags stand behind the command: partita plan --quiet"),
    });
  });
});

it('help, version and refusals need one file of the command', () => {
  // Nothing else is there that they could load.
  const folder = workFolder();
  mkdirSync(join(folder, 'dist', 'cli'), { recursive: true });
  const main = join(folder, 'dist', 'cli', 'main.cjs');
  copyFileSync(join(packageRoot(), 'dist', 'cli', 'main.cjs'), main);
  copyFileSync(join(packageRoot(), 'package.json'), join(folder, 'package.json'));
  const run = (...args: string[]) => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [main, ...args], { encoding: 'utf8' });
    return { status, stdout, stderr };
  };
  expect(run('--help')).toEqual({ status: 0, stdout: overviewText(120), stderr: '' });
  expect(run('--version')).toMatchObject({ status: 0, stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/), stderr: '' });
  expect(run('pack', '--help')).toMatchObject({ status: 0, stderr: '' });
  expect(run('trian')).toMatchObject({ status: 2, stderr: expect.stringContaining('Did you mean train?') });
});
