/** The experiment's keys as flags of the command line, from its schema. */
import { describe, type Schema } from '../core/schema.ts';
import { type Flag, flagsOf } from '../core/schema-flags.ts';
import { experimentSchema } from '../train/experiment/schema.ts';
import { schemaOfKey } from '../train/experiment/sweep.ts';
import type { OwnFlag } from './commands.ts';
import type { GroupedFlag } from './help.ts';

/** The flag of a key. */
export interface KeyFlag extends GroupedFlag {
  /** With dots: `optimizer.lr`. */
  readonly path: string;
}

export const experimentFlags = (): KeyFlag[] => flagsOf(experimentSchema).map(keyFlag);

function keyFlag(flag: Flag): KeyFlag {
  const { schema, path, doc } = flag;
  const shown = flag.default !== undefined && typeof flag.default !== 'object' ? `default ${flag.default}` : '';
  const text = [doc, detail(schema), shown].filter((part) => part !== '').join('; ');
  const group = path.split('.')[0]!;
  return { path, flags: `--${path} <${placeholder(schema)}>`, doc: text, group: groups[group] ?? 'Run' };
}

const groups: Readonly<Record<string, string>> = {
  model: 'Model',
  data: 'Data',
  batchAxis: 'Data',
  eval: 'Evaluation',
  objective: 'Objective',
  l2: 'Objective',
  frozen: 'Objective',
  devices: 'Devices and plan',
  links: 'Devices and plan',
  microbatches: 'Devices and plan',
  schedule: 'Devices and plan',
  stagesPerDevice: 'Devices and plan',
  partition: 'Devices and plan',
  recompute: 'Devices and plan',
  fusion: 'Devices and plan',
  optimizer: 'Optimizer',
  learningRate: 'Optimizer',
  checkpoint: 'Checkpoints',
  resume: 'Checkpoints',
  clip: 'Optimizer',
  sweep: 'Studies',
};

function placeholder({ node }: Schema): string {
  switch (node.type) {
    case 'number':
      return 'n';
    case 'boolean':
      return 'true|false';
    case 'list':
      return 'a,b';
    case 'bytes':
      return 'bytes';
    case 'choice':
      return 'name';
    case 'union':
      return 'kind';
    case 'record':
    case 'object':
      return 'json';
    default:
      return 'value';
  }
}

/** What a choice offers, or a number's range. */
function detail(schema: Schema): string {
  const { node } = schema;
  if (node.type === 'choice') return node.values.join(' | ');
  if (node.type === 'union') return Object.keys(node.kinds).join(' | ');
  if (node.type === 'either' && node.options.every((o) => o.node.type === 'choice')) {
    return [...new Set(node.options.flatMap((o) => (o.node.type === 'choice' ? o.node.values : [])))].join(' | ');
  }
  if (node.type === 'either') {
    const texts = [...new Set(optionsOf(schema).map(describe))].join(', or ').replaceAll('"', '');
    return texts.startsWith('a string') ? '' : texts;
  }
  return '';
}

const optionsOf = (schema: Schema): readonly Schema[] =>
  schema.node.type === 'either' ? schema.node.options.flatMap(optionsOf) : [schema];

/**
 * Prepares the arguments for commander: flags that name a place within a list or record (`--devices.0.memory`) get an option
 * of their own; `--nesterov` and `--noise` without a value become `--nesterov=true` and `--noise=true`.
 */
export function prepareArguments(
  args: readonly string[],
  known: ReadonlySet<string>,
): { args: string[]; more: OwnFlag[] } {
  const more = new Map<string, OwnFlag>();
  const prepared: string[] = [];
  for (let i = 0; i < args.length; i++) {
    const arg = args[i]!;
    if (arg === '--') {
      prepared.push(...args.slice(i));
      break;
    }
    const match = /^--([^=]+)(=.*)?$/s.exec(arg);
    if (!match) {
      prepared.push(arg);
      continue;
    }
    const name = match[1]!;
    const schema = schemaOfKey(name);
    if (!known.has(name) && schema) {
      more.set(name, { flags: `--${name} <value>`, doc: '' });
    } else if (!schema) {
      prepared.push(arg);
      // A value of one of the command's own flags is never a flag itself.
      continue;
    }
    if (match[2] !== undefined) prepared.push(arg);
    else if (schema && mayBeTrue(schema)) {
      const next = args[i + 1];
      const isValue = next === 'true' || next === 'false' || (next?.startsWith('{') && !isBoolean(schema));
      const value = isValue ? next : 'true';
      if (next === value) i++;
      prepared.push(`${arg}=${value}`);
    } else {
      prepared.push(arg);
      // The value, whatever it looks like: `--optimizer.lr -1` is a bad rate, not a bad flag.
      if (i + 1 < args.length) prepared.push(args[++i]!);
    }
  }
  return { args: prepared, more: [...more.values()] };
}

const isBoolean = ({ node }: Schema): boolean =>
  node.type === 'boolean' || (node.type === 'either' && node.options.every(isBoolean));

/** A switch that may have settings (`--noise`, `--noise false`, `--noise '{"decay": 0.9}'`) is one too. */
const mayBeTrue = ({ node }: Schema): boolean =>
  node.type === 'boolean' || (node.type === 'either' && node.options.some(mayBeTrue));
