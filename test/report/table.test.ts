import { stripVTControlCharacters } from 'node:util';
import { describe, expect, it } from 'vitest';
import { colourAllowed, table } from '../../src/report/table.ts';

const lines = (...rows: string[]) => rows.join('\n');

describe('table', () => {
  it('aligns words left and quantities right, without frames or trailing blanks', () => {
    const text = table(
      ['device', 'peak', 'bubble', 'note'],
      [
        ['0', '12.3 KiB', 0.25, 'a'],
        ['wide name', '1,024 B', null, ''],
      ],
      { colour: false },
    );
    expect(text).toBe(
      lines('device         peak  bubble  note', '0          12.3 KiB    0.25  a', 'wide name   1,024 B       -'),
    );
  });

  it('measures wide and coloured characters by what they show', () => {
    const rows = [
      ['\x1b[1mab\x1b[22m', 'x'],
      ['漢字', 'y'],
      ['µs', 'z'],
    ];
    const text = table(['a', 'b'], rows, { colour: false });
    expect(stripVTControlCharacters(text)).toBe(lines('a     b', 'ab    x', '漢字  y', 'µs    z'));
  });

  it('takes alignment, indent and short rows', () => {
    expect(table(['a', 'b'], [['long'], ['x', 1]], { colour: false, indent: 2, align: ['right'] })).toBe(
      lines('     a  b', '  long', '     x  1'),
    );
    expect(table(['a', 'b'], [], { colour: false })).toBe('a  b');
  });

  it('colours only where allowed', () => {
    expect(table(['a'], [['x']], { colour: true })).toBe('\x1b[1ma\x1b[22m\nx');
    expect(table(['a'], [['x']], { colour: false })).not.toContain('\x1b');
    const terminal = { isTTY: true };
    expect(colourAllowed(terminal, {})).toBe(true);
    expect(colourAllowed(terminal, { NO_COLOR: '' })).toBe(true);
    expect(colourAllowed(terminal, { NO_COLOR: '1' })).toBe(false);
    expect(colourAllowed(terminal, { TERM: 'dumb' })).toBe(false);
    expect(colourAllowed({ isTTY: false }, {})).toBe(false);
    expect(colourAllowed({}, { FORCE_COLOR: '1' })).toBe(false);
  });
});
