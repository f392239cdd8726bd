/** Finds the command, parses its flags and turns failures into exit codes. */
import { Command, CommanderError, Option } from 'commander';
import { UsageError } from '../core/errors.ts';
import { backendFlag, type CommandSpec, commands, memoryFlag, type OwnFlag } from './commands.ts';
import { exitCodeOf, printFailure } from './failure.ts';
import { type Invocation, refuseUnwritable, textOf } from './invocation.ts';
import { packageVersion } from './package-version.ts';

/** What a command line meets outside. */
export interface Surroundings {
  /** Ends what is under way. */
  readonly signal: AbortSignal;
  /** The exit code that an interruption asks for; 0: there was none. */
  readonly interrupted: () => number;
  /** A handler is not heard before a computation of this thread ends; without one the signal ends the process. */
  readonly endAtOnce: () => void;
}

/** Runs a command line; resolves to the exit code, and never rejects. */
export async function runCommandLine(args: readonly string[], surroundings: Surroundings): Promise<number> {
  const json = args.includes('--json');
  const { interrupted } = surroundings;
  const wanted = args.find((arg) => !arg.startsWith('-'));
  const program = new Command('partita')
    .description('Trains one model on many devices: same bits for every layout, memory to the byte.')
    .version(packageVersion(), '-V, --version', 'print the version')
    .helpOption('-h, --help', 'show help')
    .helpCommand('help [command]', 'show help of a command');
  strict(program);
  const named = wanted === 'help' ? args[args.indexOf('help') + 1] : wanted;
  let exitCode = 0;
  let rest = [...args];
  try {
    for (const spec of commands) {
      const command = program.command(spec.name).summary(spec.summary).description(spec.description);
      strict(command);
      if (spec.name !== named) continue;
      rest = await define(command, spec, rest);
      command.action(async (...given: unknown[]) => {
        // Arguments in their order, then the options; commander adds the command itself.
        const topic = spec.topics ? topicOf(spec, given.shift() as string | undefined) : undefined;
        const [file, options] = given as [string | undefined, Record<string, unknown>];
        const invocation = invocationOf(spec, topic, file, options, surroundings);
        // A study makes its folder.
        if (spec.name !== 'study') refuseUnwritable('out', textOf(invocation, 'out'));
        refuseUnwritable('plan-out', textOf(invocation, 'planOut'));
        refuseUnwritable('html', textOf(invocation, 'html'));
        const { run } = await spec.load();
        exitCode = await run(invocation);
      });
    }
    if (args.length === 0) {
      process.stderr.write(program.helpInformation());
      return 2;
    }
    await program.parseAsync(rest, { from: 'user' });
    return interrupted() || exitCode;
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return 0;
    if (interrupted() !== 0) {
      process.stderr.write('partita: interrupted; all devices have ended\n');
      if (json)
        process.stdout.write(
          `${JSON.stringify({ version: 1, error: { code: 'interrupted', message: 'interrupted', remedy: null } })}\n`,
        );
      return interrupted();
    }
    const failure = error instanceof CommanderError ? commandLineError(error, named) : error;
    printFailure(failure, json);
    return exitCodeOf(failure);
  }
}

/** Adds a command's flags; returns the arguments ready for commander. */
async function define(command: Command, spec: CommandSpec, args: string[]): Promise<string[]> {
  if (spec.argument) {
    command.argument(spec.argument.name, spec.argument.doc);
    for (const flag of spec.flags) command.addOption(ownOption(flag));
    command.addHelpText('after', `\nExample:\n  ${spec.example}\n`);
    return args;
  }
  const { experimentFlags, prepareArguments } = await import('./flags.ts');
  if (spec.topics) command.argument(`[${spec.topics.join('|')}]`, 'what to study');
  command.argument('[experiment]', 'experiment file (JSON); flags win over it');
  for (const flag of [...spec.flags, memoryFlag, backendFlag]) command.addOption(ownOption(flag));
  const options = experimentFlags();
  const prepared = prepareArguments(args, new Set(options.map((o) => o.long!.slice(2))));
  for (const option of [...options, ...prepared.more]) command.addOption(option);
  command.addHelpText('after', `\nExample:\n  ${spec.example}\n`);
  return prepared.args;
}

function ownOption({ flags, doc, many }: OwnFlag): Option {
  const option = new Option(flags, doc);
  return many ? option.argParser((text, before: string[] = []) => [...before, text]) : option;
}

function strict(command: Command): void {
  command
    .exitOverride()
    .configureOutput({ writeErr: () => {}, outputError: () => {} })
    .configureHelp({ helpWidth: process.stdout.columns ?? 120 });
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

function commandLineError(error: CommanderError, command: string | undefined): UsageError {
  const message = error.message.replace(/^error: /, '').replace(/\s*\n\s*/g, ' ');
  return new UsageError('command-line', message, {
    fields: { command: command ?? null },
    remedy: `partita ${commands.some((c) => c.name === command) ? `${command} ` : ''}--help`,
  });
}
