/**
 * The front of the command line. Help, the version and a mistyped command are answered here, from plain data; only a command that
 * runs loads the parser of flags and its own code, which takes longer than all that Node itself does.
 */
import { nearest, UsageError } from '../core/errors.ts';
import { type CommandSpec, commands, laterCommands } from './commands.ts';
import { exitCodeOf, printFailure } from './failure.ts';
import { commandText, overviewText } from './help.ts';
import { packageVersion } from './package-version.ts';

/** What a command line meets outside. */
export interface Surroundings {
  /** Ends what is under way. */
  readonly signal: AbortSignal;
  /** The exit code that an interruption asks for; 0: there was none. */
  readonly interrupted: () => number;
  /**
   * A handler is not heard before a computation of this thread ends; without one the signal ends the process. What it returns
   * puts the handlers back.
   */
  readonly endAtOnce: () => () => void;
}

/** Runs a command line; resolves to the exit code, and never rejects. */
export async function runCommandLine(args: readonly string[], surroundings: Surroundings): Promise<number> {
  const [first, ...rest] = args;
  const tell = (text: string): number => {
    process.stdout.write(text);
    return 0;
  };
  let spec: CommandSpec;
  try {
    if (first === undefined) {
      process.stderr.write(overviewText());
      return 2;
    }
    if (isVersion(first) || isVersion(rest[0])) return tell(`${packageVersion()}\n`);
    const named = first === 'help' ? rest.find((arg) => !isHelp(arg)) : first;
    if (named === undefined || isHelp(named)) return tell(overviewText());
    spec = commandNamed(named, args);
    // Anywhere else it may be the value of a flag.
    if (first === 'help' || isHelp(rest[0])) return tell(await helpOf(spec));
  } catch (error) {
    printFailure(error, args.includes('--json'));
    return exitCodeOf(error);
  }
  const { runCommand } = await import('./command.ts');
  return runCommand(spec, rest, surroundings);
}

const isVersion = (arg: string | undefined): boolean => arg === '-V' || arg === '--version';
const isHelp = (arg: string | undefined): boolean => arg === '-h' || arg === '--help';

/** Flags of the experiment come from its schema, which is loaded for them. */
async function helpOf(spec: CommandSpec): Promise<string> {
  return commandText(spec, spec.argument ? [] : (await import('./flags.ts')).experimentFlags());
}

function commandNamed(name: string, args: readonly string[]): CommandSpec {
  const spec = commands.find((c) => c.name === name);
  if (spec) return spec;
  const names = commands.map((c) => c.name);
  const refuse = (message: string, meant: string | undefined) =>
    new UsageError('command-line', message, {
      fields: { command: name.startsWith('-') ? (meant ?? null) : name, commands: names },
      remedy: `partita ${meant === undefined ? '' : `${meant} `}--help`,
    });
  if (name.startsWith('-')) {
    const later = names.find((n) => args.includes(n));
    const where = later === undefined ? '' : `; flags stand behind the command: partita ${later} ${name}`;
    throw refuse(`unknown option '${name}'${where}`, later);
  }
  if (Object.hasOwn(laterCommands, name)) {
    throw new UsageError('command-line', `this version has not got the command '${name}'`, {
      fields: { command: name, commands: names },
      remedy: laterCommands[name],
    });
  }
  const near = nearest(name, names);
  throw refuse(`unknown command '${name}'${near === undefined ? '' : ` (Did you mean ${near}?)`}`, near);
}
