// A disk that fills up in the midst of a line: it takes a part, and refuses the rest.
import { mkdtempSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { RunFolder } from '../../src/cli/run-folder.ts';
import { appendTo, appendWhole } from '../../src/formats/append.ts';
import { fileJournal } from '../../src/study/journal.ts';
import { tableFile } from '../../src/study/table-file.ts';

/** Bytes that the disk still takes. */
const disk = vi.hoisted(() => ({ room: Number.POSITIVE_INFINITY }));
vi.mock('node:fs', async (original) => {
  const real = await original<typeof import('node:fs')>();
  const writeSync = (handle: number, bytes: Uint8Array, offset: number): number => {
    const taken = Math.min(disk.room, bytes.length - offset);
    if (taken === 0) throw Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });
    disk.room -= taken;
    return real.writeSync(handle, bytes, offset, taken);
  };
  return { ...real, writeSync };
});
afterEach(() => {
  disk.room = Number.POSITIVE_INFINITY;
});

const folder = () => mkdtempSync(join(tmpdir(), 'partita-append-'));
const full = (path: string) =>
  expect.objectContaining({
    code: 'write-failed',
    message: `cannot write ${path}: ENOSPC: no space left on device, write`,
    remedy: 'free some space',
  });

describe('a line that is appended', () => {
  it.each([0, 1, 5])('is whole or not there: %i bytes fit', (room) => {
    const path = join(folder(), 'lines');
    appendWhole(path, 'first\n');
    disk.room = room;
    expect(() => appendWhole(path, 'second\n')).toThrow(full(path));
    expect(readFileSync(path, 'utf8')).toBe('first\n');
    disk.room = Number.POSITIVE_INFINITY;
    appendWhole(path, 'thïrd\n');
    expect(readFileSync(path, 'utf8')).toBe('first\nthïrd\n');
  });

  it('is written to its end where the system takes a part at a time', () => {
    const path = join(folder(), 'lines');
    disk.room = 6;
    appendWhole(path, 'first\n');
    expect(readFileSync(path, 'utf8')).toBe('first\n');
  });

  it('needs no regular file', () => {
    expect(() => appendTo(openSync('/dev/null', 'w'), 'gone\n')).not.toThrow();
    disk.room = 2;
    expect(() => appendTo(openSync('/dev/null', 'w'), 'gone\n')).toThrow('ENOSPC'); // and is not cut short
  });

  it('of a run, a table and a journal names the file and the remedy', async () => {
    const dir = folder();
    using run = new RunFolder(join(dir, 'run'), 'mlp');
    run.log({ step: 0 });
    const row = tableFile(join(dir, 'table.csv'), ['a']);
    row({ a: 1 });
    const journal = fileJournal(join(dir, 'finished.jsonl'));
    await journal.once('task', async () => 1);
    disk.room = 3;
    expect(() => run.log({ step: 1 })).toThrow(full(join(dir, 'run', 'log.jsonl')));
    disk.room = 1;
    expect(() => row({ a: 22 })).toThrow(full(join(dir, 'table.csv')));
    disk.room = 3;
    await expect(journal.once('other', async () => 2)).rejects.toThrow(full(join(dir, 'finished.jsonl')));
    expect(readFileSync(join(dir, 'run', 'log.jsonl'), 'utf8')).toBe('{"step":0}\n');
    expect(readFileSync(join(dir, 'table.csv'), 'utf8')).toBe('a\n1\n');
    disk.room = Number.POSITIVE_INFINITY;
    run.log({ step: 1 });
    expect(readFileSync(join(dir, 'run', 'log.jsonl'), 'utf8')).toBe('{"step":0}\n{"step":1}\n');
    // A study that goes on finds what it had finished, and nothing torn.
    const again = fileJournal(join(dir, 'finished.jsonl'));
    expect(await again.once('task', () => expect.fail('it was finished'))).toBe(1);
    expect(readFileSync(join(dir, 'finished.jsonl'), 'utf8').trim().split('\n')).toHaveLength(1);
  });

  it('begins a table anew', () => {
    const path = join(folder(), 'table.csv');
    writeFileSync(path, 'old\n1\n2\n');
    tableFile(path, ['a', 'b'])({ a: 1, b: null });
    expect(readFileSync(path, 'utf8')).toBe('a,b\n1,\n');
  });
});
