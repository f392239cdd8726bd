import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';

// What another process does between two calls of this one is done in front of the second.

type Files = typeof import('node:fs');

/** What happens just before a file is read, renamed or linked; it may answer in the place of a read. */
const before = vi.hoisted(() => ({
  read: (_path: string): string | undefined => undefined,
  rename: (_from: string): void => {},
  link: (_to: string): void => {},
}));

vi.mock('node:fs', async (original) => {
  const files = await original<Files>();
  return {
    ...files,
    readFileSync: (...args: Parameters<Files['readFileSync']>) =>
      before.read(String(args[0])) ?? files.readFileSync(...args),
    renameSync: (from: string, to: string) => {
      before.rename(from);
      files.renameSync(from, to);
    },
    linkSync: (from: string, to: string) => {
      if (!from.endsWith('.tmp')) before.link(to); // not where a lock is made
      files.linkSync(from, to);
    },
  };
});

const folders = await import('../../src/formats/folder-lock.ts');
const use = { file: '.lock', code: 'held', who: 'a training', does: 'writes there', flag: '--dir' };
const lockFolder = (dir: string) => folders.lockFolder(dir, use);

const { read, rename, link } = before;
afterEach(() => {
  Object.assign(before, { read, rename, link });
  vi.restoreAllMocks();
});

const newFolder = () => mkdtempSync(join(tmpdir(), 'partita-lock-'));
const holder = (pid: number, began: string | null = null) => JSON.stringify({ pid, host: hostname(), began });
const gone = holder(999_999_999);
const living = holder(process.ppid);

/** A folder whose lock is `text`. */
function locked(text: string): { readonly dir: string; readonly lock: string } {
  const dir = newFolder();
  const lock = join(dir, '.lock');
  writeFileSync(lock, text);
  return { dir, lock };
}

const once = (act: () => void) => {
  let isDone = false;
  return () => {
    if (isDone) return;
    isDone = true;
    act();
  };
};

describe('a lock that is taken away from a training that is gone', () => {
  it('is put back where another training took the folder meanwhile', () => {
    const { dir, lock } = locked(gone);
    before.rename = once(() => writeFileSync(lock, living));
    expect(() => lockFolder(dir)).toThrow(`a training of process ${process.ppid}`);
    expect(readFileSync(lock, 'utf8')).toBe(living);
    expect(readdirSync(dir)).toEqual(['.lock']);
  });

  it('is not put back over the lock of a third one', () => {
    const { dir, lock } = locked(gone);
    const third = holder(process.ppid, null).replace('}', ' }');
    before.rename = once(() => writeFileSync(lock, living));
    before.link = once(() => writeFileSync(lock, third));
    expect(() => lockFolder(dir)).toThrow(`a training of process ${process.ppid}`);
    expect(readFileSync(lock, 'utf8')).toBe(third);
    expect(readdirSync(dir)).toEqual(['.lock']);
  });

  it('may be gone by then, or before it is read', () => {
    for (const when of ['rename', 'read'] as const) {
      const { dir, lock } = locked(gone);
      before[when] = once(() => rmSync(lock)) as () => undefined;
      const held = lockFolder(dir);
      expect(JSON.parse(readFileSync(lock, 'utf8'))).toMatchObject({ pid: process.pid, host: hostname() });
      expect(readdirSync(dir)).toEqual(['.lock']);
      held[Symbol.dispose]();
      expect(readdirSync(dir)).toEqual([]);
    }
  });

  it('is left where something else fails', () => {
    const { dir, lock } = locked(gone);
    before.rename = () => {
      throw Object.assign(new Error('EIO: i/o error'), { code: 'EIO' });
    };
    expect(() => lockFolder(dir)).toThrow('EIO');
    expect(readFileSync(lock, 'utf8')).toBe(gone);
  });
});

describe('the process that holds a lock', () => {
  const failWith = (code: string) =>
    vi.spyOn(process, 'kill').mockImplementation(() => {
      throw Object.assign(new Error(code), { code });
    });

  it('runs where it may not be signalled, and is gone where there is none', () => {
    const { dir, lock } = locked(holder(4242));
    failWith('EPERM');
    expect(() => lockFolder(dir)).toThrow('a training of process 4242');
    expect(readFileSync(lock, 'utf8')).toBe(holder(4242));
    failWith('ESRCH');
    lockFolder(dir)[Symbol.dispose]();
    expect(readdirSync(dir)).toEqual([]);
  });

  it('is known by when it began, whatever its name is', () => {
    // Fields 3 to 24 of proc(5): each is its number, so that the time, field 22, is told from its neighbours.
    const fields = Array.from({ length: 22 }, (_, i) => `${i + 3}`).join(' ');
    vi.spyOn(process, 'kill').mockReturnValue(true);
    for (const name of ['node', 'a) b (c', ') 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 (', 'a\nb) S 1']) {
      before.read = (path) => (path === '/proc/4242/stat' ? `4242 (${name}) ${fields} 0\n` : undefined);
      const { dir } = locked(holder(4242, '22'));
      expect(() => lockFolder(dir), name).toThrow('a training of process 4242');
      writeFileSync(join(dir, '.lock'), holder(4242, '21'));
      lockFolder(dir)[Symbol.dispose](); // the number has been given again
      expect(readdirSync(dir)).toEqual([]);
    }
  });

  it('is taken for running where the system does not tell when it began', () => {
    vi.spyOn(process, 'kill').mockReturnValue(true);
    before.read = (path) => {
      if (path.startsWith('/proc/')) throw new Error('no such file');
      return undefined;
    };
    for (const began of ['22', null]) {
      const { dir } = locked(holder(4242, began));
      expect(() => lockFolder(dir)).toThrow('a training of process 4242');
    }
    const dir = newFolder();
    using _ = lockFolder(dir);
    expect(JSON.parse(readFileSync(join(dir, '.lock'), 'utf8'))).toMatchObject({ began: null });
  });
});
