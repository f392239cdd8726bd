/** What the tests of checkpoints share: short trainings, and failures as values. */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'vitest';
import type { PartitaError } from '../../src/core/errors.ts';
import { readCheckpoint } from '../../src/train/checkpoint/folder.ts';
import { Session } from '../../src/train/session.ts';
import { type TrainOptions, train } from '../../src/train/trainer.ts';
import { toHex } from '../support/models.ts';
import { type StatefulOptions, stateful } from '../support/stateful.ts';

export const newFolder = () => mkdtempSync(join(tmpdir(), 'partita-checkpoint-'));
export const failing = (code: string, ...texts: string[]) =>
  expect.objectContaining({
    code,
    message: expect.stringMatching(new RegExp(texts.map((t) => t.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')).join('[^]*'))),
  });

/** Trains; resolves to the bits of all that the session holds, and the records. */
export async function run(options: StatefulOptions, more: Partial<TrainOptions> & { readonly steps: number }) {
  const { plan, seed, training } = stateful(options);
  await using session = await Session.open(plan, { seed, transport: 'local', audit: false });
  const records = [];
  for await (const record of train({ session, ...training, ...more })) records.push(record);
  return { records, bits: await bitsOf(session) };
}

export async function bitsOf(session: Session): Promise<string[]> {
  const { parameters, buffers, optimizerState } = await session.state();
  return [...parameters, ...buffers, ...optimizerState].map(([name, t]) => `${name} ${toHex(t)}`).sort();
}

export function readFailure(folder: string): PartitaError {
  try {
    readCheckpoint(folder);
  } catch (error) {
    return error as PartitaError;
  }
  throw new Error(`${folder} was read`);
}

/** A refused training: the session holds what it held, the folder too. */
export async function expectUntouched(
  options: StatefulOptions,
  more: Partial<TrainOptions> & { steps: number },
  code: string,
) {
  const { plan, seed, training } = stateful(options);
  await using session = await Session.open(plan, { seed, transport: 'local', audit: false });
  const before = await bitsOf(session);
  let failure: unknown;
  try {
    for await (const _ of train({ session, ...training, ...more }));
  } catch (error) {
    failure = error;
  }
  expect(failure).toMatchObject({ code });
  expect(await bitsOf(session)).toEqual(before);
  return failure as PartitaError;
}
