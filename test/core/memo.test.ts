import { describe, expect, it } from 'vitest';
import { Memo } from '../../src/core/memo.ts';

describe('a memo', () => {
  it('finds each answer once, and keeps those asked for last within its characters', () => {
    const memo = new Memo<string>(6);
    const found: string[] = [];
    const ask = (question: string) =>
      memo.get(question, () => {
        found.push(question);
        return question.toUpperCase();
      });
    expect(['aa', 'bb', 'aa', 'cc', 'aa'].map(ask)).toEqual(['AA', 'BB', 'AA', 'CC', 'AA']);
    expect(found).toEqual(['aa', 'bb', 'cc']);
    // One more does not fit: the one that was asked for longest ago goes.
    ask('dd');
    expect(['aa', 'cc', 'dd', 'bb'].map(ask)).toEqual(['AA', 'CC', 'DD', 'BB']);
    expect(found).toEqual(['aa', 'bb', 'cc', 'dd', 'bb']);
  });

  it('keeps nothing that is longer than all it may keep', () => {
    const memo = new Memo<number>(3);
    let asked = 0;
    expect([memo.get('long', () => ++asked), memo.get('long', () => ++asked)]).toEqual([1, 2]);
  });
});
