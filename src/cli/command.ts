/** Parses the flags of a command, runs it, and turns failures into exit codes. */
import { Command, CommanderError, Option } from 'commander';
import { UsageError } from '../core/errors.ts';
import type { Surroundings } from './command-line.ts';
import type { CommandName, CommandSpec, OwnFlag } from './commands.ts';
import { exitCodeOf, printFailure } from './failure.ts';
import { experimentFlags, prepareArguments } from './flags.ts';
import { hearSignals } from './hear-signals.ts';
import { commandText, flagsOf, overviewText, placesOf } from './help.ts';
import { type Invocation, refuseUnwritable, textOf } from './invocation.ts';
import { packageVersion } from './package-version.ts';

/** Each resolves to the exit code. */
const loaders: Readonly<Record<CommandName, () => Promise<{ run: (invocation: Invocation) => Promise<number> }>>> = {
  train: () => import('./train.ts'),
  plan: () => import('./plan.ts'),
  simulate: () => import('./simulate.ts'),
  partition: () => import('./partition.ts'),
  pack: () => import('./pack.ts'),
  graph: () => import('./graph.ts'),
  grad: () => import('./grad.ts'),
  hvp: () => import('./hvp.ts'),
  gradpen: () => import('./gradpen.ts'),
  hessian: () => import('./hessian.ts'),
  noise: () => import('./noise.ts'),
  trace: () => import('./trace.ts'),
  profile: () => import('./profile.ts'),
  export: () => import('./export.ts'),
  study: () => import('./study.ts'),
};

/** Runs a command with the arguments that follow its name; resolves to the exit code, and never rejects. */
export async function runCommand(
  spec: CommandSpec,
  args: readonly string[],
  surroundings: Surroundings,
): Promise<number> {
  const { interrupted } = surroundings;
  let exitCode = 0;
  const program = strict(new Command('partita'), overviewText);
  try {
    const { command, rest } = define(program, spec, args);
    command.action(async (...given: unknown[]) => {
      // Arguments in their order, then the options; commander adds the command itself.
      const topic = spec.topics ? topicOf(spec, given.shift() as string | undefined) : undefined;
      const [file, options] = given as [string | undefined, Record<string, unknown>];
      const invocation = invocationOf(spec, topic, file, options, surroundings);
      // A study makes its folder.
      if (spec.name !== 'study') refuseUnwritable('out', textOf(invocation, 'out'));
      refuseUnwritable('plan-out', textOf(invocation, 'planOut'));
      refuseUnwritable('html', textOf(invocation, 'html'));
      const { run } = await loaders[spec.name]();
      exitCode = await run(invocation);
    });
    await program.parseAsync([spec.name, ...rest], { from: 'user' });
    return interrupted() || exitCode;
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return 0;
    const json = args.includes('--json');
    // One may have ended what this thread waited for.
    await hearSignals();
    if (interrupted() !== 0) {
      process.stderr.write('partita: interrupted; all devices have ended\n');
      if (json)
        process.stdout.write(
          `${JSON.stringify({ version: 1, error: { code: 'interrupted', message: 'interrupted', remedy: null } })}\n`,
        );
      return interrupted();
    }
    const failure = error instanceof CommanderError ? commandLineError(error, spec.name) : error;
    printFailure(failure, json);
    return exitCodeOf(failure);
  }
}

/** The command with its flags, and the arguments ready for commander. */
function define(program: Command, spec: CommandSpec, args: readonly string[]): { command: Command; rest: string[] } {
  const keys = spec.argument ? [] : experimentFlags();
  const command = strict(program.command(spec.name), () => commandText(spec, keys));
  // Wherever it stands, as the help; the help itself, which is ours, names it once, in the overview.
  command.version(packageVersion(), '-V, --version');
  for (const { name, doc } of placesOf(spec)) command.argument(name, doc);
  for (const flag of flagsOf(spec)) command.addOption(ownOption(flag));
  if (spec.argument) return { command, rest: [...args] };
  const prepared = prepareArguments(args, new Set(keys.map(({ path }) => path)));
  for (const { flags } of keys) command.addOption(new Option(flags));
  for (const { flags } of prepared.more) command.addOption(new Option(flags).hideHelp());
  return { command, rest: prepared.args };
}

function ownOption({ flags, many }: OwnFlag): Option {
  const option = new Option(flags);
  return many ? option.argParser((text, before: string[] = []) => [...before, text]) : option;
}

/** Errors are thrown, not told; the help is ours. */
function strict(command: Command, help: () => string): Command {
  return command
    .exitOverride()
    .helpCommand(false)
    .configureOutput({ writeErr: () => {}, outputError: () => {} })
    .configureHelp({ formatHelp: help });
}

/** One of the command's topics. */
function topicOf({ name, topics = [] }: CommandSpec, given: string | undefined): string {
  if (given !== undefined && topics.includes(given)) return given;
  const got = given === undefined ? 'nothing' : JSON.stringify(given);
  throw new UsageError('command-line', `partita ${name}: expected ${topics.join(', ')}, got ${got}`, {
    fields: { command: name, got: given ?? null, topics },
    remedy: `partita ${name} ${topics[0]} ${given?.includes('.') ? given : 'experiment.json'}`,
  });
}

function invocationOf(
  spec: CommandSpec,
  topic: string | undefined,
  file: string | undefined,
  options: Record<string, unknown>,
  { signal, endAtOnce }: Surroundings,
): Invocation {
  const own = new Set(spec.flags.map(({ flags }) => new Option(flags).attributeName()));
  const given = Object.entries(options).filter(([name]) => name !== 'memory' && name !== 'backend' && !own.has(name));
  return {
    command: spec.name,
    topic,
    file,
    keys: given.map(([path, text]) => [path, String(text)] as const),
    memory: own.has('memory') ? undefined : (options.memory as string | undefined),
    backend: options.backend as string | undefined,
    own: Object.fromEntries(
      [...own].map((name) => [name, options[name] as string | boolean | readonly string[] | undefined]),
    ),
    json: options.json === true,
    quiet: options.quiet === true,
    signal,
    endAtOnce,
  };
}

function commandLineError(error: CommanderError, command: CommandName): UsageError {
  const message = error.message.replace(/^error: /, '').replace(/\s*\n\s*/g, ' ');
  return new UsageError('command-line', message, { fields: { command }, remedy: `partita ${command} --help` });
}
