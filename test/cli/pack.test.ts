import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { partita, spawned, workFolder } from './run.ts';

const instance = (name: string): string =>
  fileURLToPath(new URL(`../memory/instances/packing/${name}.csv`, import.meta.url));

async function json(folder: string, args: readonly string[]) {
  const { code, stdout, stderr } = await partita(folder, ['pack', ...args, '--json']);
  return { code, stderr, ...JSON.parse(stdout) };
}

const folderWith = (text: string): string => {
  const folder = workFolder();
  writeFileSync(join(folder, 'in.csv'), text);
  return folder;
};

describe('pack', () => {
  it('fits a published instance to the byte, and writes its table with offsets that do not overlap', async () => {
    const folder = workFolder();
    const result = await json(folder, [instance('E.1048576'), '--capacity', '1MiB', '--out', 'out.csv']);
    expect(result).toMatchObject({ version: 1, command: 'pack', code: 0, stderr: '', buffers: 215, out: 'out.csv' });
    expect(result).toMatchObject({ height: 1_048_576, maxLive: 1_048_576, capacity: 1_048_576, fits: true, ratio: 1 });
    expect(result.seconds).toBeGreaterThan(0);
    const [head, ...lines] = readFileSync(join(folder, 'out.csv'), 'utf8').trim().split('\n');
    expect(head).toBe('id,lower,upper,size,offset');
    expect(lines.map((line) => line.slice(0, line.lastIndexOf(',')))).toEqual(
      readFileSync(instance('E.1048576'), 'utf8').trim().split('\n').slice(1),
    );
    const rows = lines.map((line) => line.split(',').map(Number));
    rows.forEach(([, lower, upper, size, offset], i) => {
      expect(offset! + size!).toBeLessThanOrEqual(1_048_576);
      for (const [id, from, to, high, low] of rows.slice(i + 1)) {
        const apart = from! >= upper! || to! <= lower! || low! >= offset! + size! || offset! >= low! + high!;
        expect(apart, `${i} and ${id}`).toBe(true);
      }
    });
  });

  it('minimises without a capacity, and exits with 1 where a capacity is too small', async () => {
    const folder = workFolder();
    expect(await json(folder, [instance('input.12')])).toMatchObject({
      code: 0,
      height: 12,
      maxLive: 12,
      lowerBound: 12,
      capacity: null,
      fits: true,
    });
    const args = [instance('input.12'), '--capacity', '11', '--out', 'no.csv'];
    expect(await json(folder, args)).toMatchObject({ code: 1, fits: false, lowerBound: 12, out: null });
    const { code, stdout } = await partita(folder, ['pack', ...args]);
    expect(code).toBe(1);
    expect(stdout).toContain('capacity 11 B: does not fit');
    expect(stdout).toContain('nothing is written to no.csv: --capacity 12 takes the layout above');
    expect(existsSync(join(folder, 'no.csv'))).toBe(false);
    const unasked = await partita(folder, ['pack', instance('input.12'), '--capacity', '11']);
    expect(unasked.stdout).toContain('\n--capacity 12 takes the layout above');
  });

  it('tells the least capacity there is where greedy orders miss it', async () => {
    const args = [instance('C.1048576'), '--capacity', '1000000'];
    expect(await json(workFolder(), args)).toMatchObject({ code: 1, fits: false, height: 1_039_360 });
  });

  it('finds columns by name, keeps others and quotes, takes CRLF and a byte-order mark', async () => {
    const folder = folderWith('\ufeffsize,note,upper,id,lower\r\n4,"a, b",3,x,0\r\n\r\n8,,5,y,2\r\n');
    const { code, stdout } = await partita(folder, ['pack', 'in.csv', '--out', 'out.csv']);
    expect(code).toBe(0);
    expect(stdout).toContain('height 12 B, most alive at once 12 B, ratio 1.000; the least there is');
    const lines = readFileSync(join(folder, 'out.csv'), 'utf8').split('\n');
    expect(lines[0]).toBe('size,note,upper,id,lower,offset');
    expect(lines[1]).toMatch(/^4,"a, b",3,x,0,[08]$/);
    expect(lines).toHaveLength(4);
  });

  it('names what is wrong with a table, and where', async () => {
    const head = 'id,lower,upper,size';
    const cases: [string, string, object][] = [
      ['', 'csv-empty', {}],
      [`${head}\n`, 'csv-empty', {}],
      ['id,lower,size\n1,2,3\n', 'packing-columns', { line: 1, missing: ['upper'] }],
      [`${head},size\n1,0,1,4,4\n`, 'packing-columns', { repeated: 'size' }],
      [`${head}\na,0,1,4\nb,0,1\n`, 'csv-ragged', { line: 3 }],
      [`${head}\na,0,1,4\nb,0,1,4\na,1,2,4\n`, 'packing-repeated', { line: 4, id: 'a', firstLine: 2 }],
      [`${head}\na,3,3,4\n`, 'packing-lifetime', { line: 2, lower: 3, upper: 3 }],
      [`${head}\na,0,1,-4\n`, 'packing-number', { line: 2, column: 'size', got: '-4' }],
      [`${head}\na,0,1.5,4\n`, 'packing-number', { column: 'upper', got: '1.5' }],
      [`${head}\na,,1,4\n`, 'packing-number', { column: 'lower', got: '' }],
    ];
    for (const [text, errorCode, fields] of cases) {
      const { code, error } = await json(folderWith(text), ['in.csv']);
      expect({ text, exit: code, ...error }).toMatchObject({ text, exit: 1, code: errorCode, ...fields });
    }
    expect((await json(workFolder(), ['none.csv'])).error).toMatchObject({
      code: 'file-not-found',
      message: 'no such file: none.csv',
    });
    expect(await json(workFolder(), ['x.csv', '--capacity', '1MB'])).toMatchObject({
      code: 2,
      error: { code: 'memory-size', nearest: '1MiB' },
    });
  }, 60_000);

  it('answers an interruption, and the end of its time, with the best so far', async () => {
    // Sizes without a common divisor: no search ends this in seconds.
    const rows = Array.from({ length: 400 }, (_, i) => {
      const lower = (i * 7919) % 500;
      return `${i},${lower},${lower + 20 + ((i * 104_729) % 90)},${1 + ((i * 15_485_863) % 997)}`;
    });
    const folder = folderWith(`id,lower,upper,size\n${rows.join('\n')}\n`);
    const limited = await json(folder, ['in.csv', '--time-limit', '2']);
    expect(limited).toMatchObject({ code: 0, fits: true, interrupted: false });
    expect(limited.height).toBeGreaterThanOrEqual(limited.lowerBound);
    let child: { kill(signal: 'SIGINT'): boolean } | undefined;
    const running = spawned(folder, ['pack', 'in.csv', '--out', 'out.csv', '--json'], (process) => {
      child = process;
    });
    setTimeout(() => child!.kill('SIGINT'), 2500);
    const { code, stdout } = await running;
    expect(code).toBe(130);
    expect(JSON.parse(stdout)).toMatchObject({ command: 'pack', interrupted: true, out: 'out.csv' });
    expect(readFileSync(join(folder, 'out.csv'), 'utf8').trim().split('\n')).toHaveLength(401);
  }, 60_000);
});
