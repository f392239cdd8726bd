/**
 * Help as text, from the descriptions of the commands: asking for help loads nothing else, but of experiments' keys their schema. Terms stand in one column as
 * wide as the longest, what they mean beside it, wrapped at the width.
 */
import { backendFlag, type CommandSpec, commands, memoryFlag, type OwnFlag } from './commands.ts';

/** A flag under a heading of its own. */
export interface GroupedFlag extends OwnFlag {
  readonly group: string;
}

const helpFlag: OwnFlag = { flags: '-h, --help', doc: 'show help' };

/** As wide as the terminal; where there is none, or one that does not say, 120 columns. */
const terminalWidth = (): number => process.stdout.columns || 120;

/** Help of the program: its commands. */
export function overviewText(width: number = terminalWidth()): string {
  return page(width, 'partita [options] [command]', about, [
    ['Options', [['-V, --version', 'print the version'], entryOf(helpFlag)]],
    ['Commands', [...commands.map(({ name, summary }) => [name, summary] as const), helpCommand]],
  ]);
}

const about = 'Trains one model on many devices: same bits for every layout, memory to the byte.';
const helpCommand: Entry = ['help [command]', 'show help of a command'];

/** Help of a command; `keys`: the flags of the experiment's keys, where it takes one. */
export function commandText(spec: CommandSpec, keys: readonly GroupedFlag[], width: number = terminalWidth()): string {
  const places = placesOf(spec);
  const groups = new Map<string, Entry[]>([['Options', [...flagsOf(spec), helpFlag].map(entryOf)]]);
  for (const flag of keys) groups.set(flag.group, [...(groups.get(flag.group) ?? []), entryOf(flag)]);
  const usage = ['partita', spec.name, '[options]', ...places.map(({ name }) => name)].join(' ');
  const bare = places.map(({ name, doc }): Entry => [name.slice(1, -1), doc]);
  return `${page(width, usage, spec.description, [['Arguments', bare], ...groups])}\nExample:\n  ${spec.example}\n`;
}

/** What stands on a command's line without a flag, as commander writes it: `<required>`, `[optional]`. */
export function placesOf({ argument, topics }: CommandSpec): { readonly name: string; readonly doc: string }[] {
  if (argument) return [argument];
  const topic = topics ? [{ name: `[${topics.join('|')}]`, doc: 'what to study' }] : [];
  return [...topic, { name: '[experiment]', doc: 'experiment file (JSON); flags win over it' }];
}

/** A command's flags but those of the experiment's keys. */
export const flagsOf = ({ argument, flags }: CommandSpec): readonly OwnFlag[] =>
  argument ? flags : [...flags, memoryFlag, backendFlag];

type Entry = readonly [term: string, doc: string];
const entryOf = ({ flags, doc }: OwnFlag): Entry => [flags, doc];

function page(
  width: number,
  usage: string,
  description: string,
  sections: readonly (readonly [heading: string, entries: readonly Entry[]])[],
): string {
  const longest = Math.max(...sections.flatMap(([, entries]) => entries.map(([term]) => term.length)));
  const indent = ' '.repeat(longest + 4);
  const blocks = sections.map(([heading, entries]) => {
    const lines = entries.map(
      ([term, doc]) => `  ${term.padEnd(longest)}  ${wrapped(doc, width - indent.length).join(`\n${indent}`)}`,
    );
    return [`${heading}:`, ...lines].join('\n');
  });
  return `${[`Usage: ${usage}`, wrapped(description, width).join('\n'), ...blocks].join('\n\n')}\n`;
}

/** Columns narrower than this stay unwrapped: a word a line is harder to read than what the terminal makes of it. */
const NARROWEST = 40;

function wrapped(text: string, width: number): string[] {
  if (width < NARROWEST) return [text];
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  return [...lines, line];
}
