/** The times of stages, as flags or a file give them to `partita simulate`. */

import { UsageError } from '../core/errors.ts';
import { JsonError, parseJson } from '../core/json.ts';
import { either, type Infer, integer, list, number, object, optional, parse } from '../core/schema.ts';
import { readText } from '../formats/read-file.ts';
import type { ClockOptions, StageEdge } from '../schedule/index.ts';
import { type Invocation, pathOf, textOf } from './invocation.ts';

/** Times of one microbatch on one stage. */
export interface StageTimes {
  readonly F: number;
  readonly B: number;
  readonly W: number;
}

/** The largest time: sums over all tasks of a schedule stay finite. */
const LONGEST = 1e100;
const time = number({ min: 0, max: LONGEST });

const costsSchema = object({
  stages: list(list(time), { minLength: 1, doc: '[F, B, W] of each stage' }),
  link: optional(either([time, list(list(time))] as const)),
  edges: optional(list(list(integer({ min: 0 })))),
});

interface Costs {
  readonly times: readonly StageTimes[];
  readonly link: ClockOptions['link'];
  readonly dependencies: readonly StageEdge[] | undefined;
}

/** `scheduleFile`: what the number of stages is of; undefined: of the flags. */
export function costsOf(invocation: Invocation, stages: number | undefined, scheduleFile: string | undefined): Costs {
  const [text, file] = [textOf(invocation, 'times'), pathOf(invocation, 'costs')];
  if ((text === undefined) === (file === undefined)) {
    const what =
      text === undefined
        ? 'the times of the stages are missing'
        : '--times and --costs both give the times of the stages';
    throw new UsageError('command-line', what, {
      remedy: text === undefined ? '--times 1,1,1, or --costs costs.json' : 'leave one of them out',
    });
  }
  const link = linkFlag(invocation);
  if (text !== undefined) {
    if (stages === undefined)
      throw new UsageError('command-line', '--times is of equal stages: how many?', { remedy: '--stages 4' });
    return { times: new Array<StageTimes>(stages).fill(timesFlag(text)), link: link ?? 0, dependencies: undefined };
  }
  const costs = readCosts(file!);
  if (stages !== undefined && stages !== costs.times.length) {
    const other = scheduleFile === undefined ? `asked are ${stages}` : `${scheduleFile} has tasks of ${stages}`;
    throw new UsageError('command-line', `${file} has the times of ${costs.times.length} stages, ${other}`, {
      fields: { file, stages, given: costs.times.length },
      remedy: `--stages ${costs.times.length}`,
    });
  }
  return { ...costs, link: link ?? costs.link };
}

function timesFlag(text: string): StageTimes {
  const parts = text.split(',').map((part) => (part.trim() === '' ? Number.NaN : Number(part)));
  const [F, B, W] = parts;
  if (parts.length === 3 && parts.every((n) => n >= 0 && n <= LONGEST)) return { F: F!, B: B!, W: W! };
  throw new UsageError(
    'command-line',
    `--times: expected three numbers F,B,W from 0 to ${LONGEST}, got ${JSON.stringify(text)}`,
    {
      fields: { flag: 'times', got: text },
      remedy: '--times 18.5,18.1,9.3',
    },
  );
}

function linkFlag(invocation: Invocation): number | undefined {
  const text = textOf(invocation, 'link');
  if (text === undefined) return undefined;
  const link = text.trim() === '' ? Number.NaN : Number(text);
  if (link >= 0 && link <= LONGEST) return link;
  throw new UsageError('command-line', `--link: expected a number from 0 to ${LONGEST}, got ${JSON.stringify(text)}`, {
    fields: { flag: 'link', got: text },
    remedy: '--link 0.5',
  });
}

function readCosts(file: string): Costs {
  let json: unknown;
  try {
    json = parseJson(readText(file));
  } catch (cause) {
    if (!(cause instanceof JsonError)) throw cause;
    throw new UsageError('costs-json', `${file} ${cause.message}`, {
      fields: { file, ...cause.twice },
      remedy: cause.remedy('{"stages": [[1, 1, 1], [2, 2, 2]], "link": 0.1}'),
      cause,
    });
  }
  const { stages, link = 0, edges }: Infer<typeof costsSchema> = parse(costsSchema, json, file);
  const wrong = (key: string, expected: string, remedy: string): UsageError =>
    new UsageError('experiment-invalid', `${file}: ${key}: expected ${expected}`, {
      fields: { file, key, expected },
      remedy: `${file}: ${remedy}`,
    });
  const times = stages.map((times, s): StageTimes => {
    const [F, B, W, ...more] = times;
    if (W === undefined || more.length > 0)
      throw wrong(`stages.${s}`, 'three times [F, B, W]', 'write [F, B, 0] where B is the whole backward');
    return { F: F!, B: B!, W };
  });
  const isStage = (s: number | undefined): boolean => Number.isInteger(s) && s! < times.length;
  edges?.forEach((edge, i) => {
    if (edge.length !== 2 || !edge.every(isStage) || edge[0]! >= edge[1]!) {
      throw wrong(
        `edges.${i}`,
        `[from, to], two stages of 0..${times.length - 1} with from < to`,
        'number the stages so that each comes behind those it reads, from 0',
      );
    }
  });
  const dependencies = edges as unknown as StageEdge[] | undefined;
  if (typeof link === 'number') return { times, link, dependencies };

  const delays = new Map<number, number>();
  link.forEach((entry, i) => {
    const [from, to, delay, ...more] = entry;
    if (delay === undefined || more.length > 0 || !isStage(from) || !isStage(to) || from === to) {
      throw wrong(
        `link.${i}`,
        `[from stage, to stage, time] with two stages of 0..${times.length - 1}`,
        '"link": [[0, 1, 0.5]]',
      );
    }
    const key = from! * times.length + to!;
    if (delays.has(key))
      throw wrong(`link.${i}`, `one time from stage ${from} to stage ${to}`, 'leave one of them out');
    delays.set(key, delay);
  });
  // An entry is of both directions, unless the other has its own; stages that have none are joined at no cost.
  const delay = (from: number, to: number): number =>
    delays.get(from * times.length + to) ?? delays.get(to * times.length + from) ?? 0;
  return { times, link: delay, dependencies };
}
