import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { writeFileAtomic } from '../../src/formats/atomic.ts';
import { readBytes, readText } from '../../src/formats/read-file.ts';

const folder = () => mkdtempSync(join(tmpdir(), 'partita-formats-'));

describe('writeFileAtomic', () => {
  it('writes, replaces and leaves no temporary file', async () => {
    const dir = folder();
    const path = join(dir, 'a.bin');
    await writeFileAtomic(path, Uint8Array.of(1, 2));
    await writeFileAtomic(path, Uint8Array.of(3));
    expect([...readFileSync(path)]).toEqual([3]);
    expect(readdirSync(dir)).toEqual(['a.bin']);
  });

  it('replaces the file behind a link and keeps its mode', async () => {
    const dir = folder();
    writeFileSync(join(dir, 'real'), 'old', { mode: 0o600 });
    symlinkSync('real', join(dir, 'link'));
    await writeFileAtomic(join(dir, 'link'), 'new');
    expect(readFileSync(join(dir, 'real'), 'utf8')).toBe('new');
    expect(statSync(join(dir, 'real')).mode & 0o777).toBe(0o600);
  });

  it('writes directly to what is not a regular file', async () => {
    await writeFileAtomic('/dev/null', Uint8Array.of(1));
    expect(statSync('/dev/null').isCharacterDevice()).toBe(true);
    const pipe = join(folder(), 'pipe');
    execFileSync('mkfifo', [pipe]);
    const writing = writeFileAtomic(pipe, 'through the pipe');
    const { stdout } = await import('node:util').then(({ promisify }) =>
      import('node:child_process').then(({ execFile }) => promisify(execFile)('cat', [pipe])),
    );
    await writing;
    expect(stdout).toBe('through the pipe');
  });

  it('names the path where it cannot write, and leaves nothing', async () => {
    const dir = folder();
    mkdirSync(join(dir, 'sub'));
    await expect(writeFileAtomic(join(dir, 'missing', 'x'), 'a')).rejects.toMatchObject({
      code: 'write-failed',
      remedy: `mkdir -p ${join(dir, 'missing')}`,
    });
    await expect(writeFileAtomic(join(dir, 'sub'), 'a')).rejects.toMatchObject({ code: 'write-failed' });
    expect(readdirSync(dir)).toEqual(['sub']);
  });
});

describe('readBytes', () => {
  it('unpacks gzip by content and bounds it', () => {
    const path = join(folder(), 'x');
    writeFileSync(path, gzipSync(Buffer.alloc(1000, 7)));
    expect(readBytes(path)).toHaveLength(1000);
    expect(() => readBytes(path, { maxBytes: 999 })).toThrow(expect.objectContaining({ code: 'gzip-invalid' }));
    writeFileSync(path, Uint8Array.of(0x1f, 0x8b, 1));
    expect(() => readBytes(path)).toThrow(expect.objectContaining({ code: 'gzip-invalid' }));
  });

  it('names a missing file and the remedy', () => {
    expect(() => readBytes('/no/such', { remedy: 'make it' })).toThrow(
      expect.objectContaining({ code: 'file-not-found', remedy: 'make it', fields: { path: '/no/such' } }),
    );
    expect(() => readBytes('/')).toThrow(expect.objectContaining({ code: 'file-unreadable' }));
  });

  it('refuses text that is not UTF-8', () => {
    const path = join(folder(), 'x');
    writeFileSync(path, Uint8Array.of(0xff));
    expect(() => readText(path)).toThrow(expect.objectContaining({ code: 'text-not-utf8' }));
  });
});
