import { describe, expect, it } from 'vitest';
import { listedLinks } from '../../src/cost/links.ts';

const fast = { bandwidth: 8e9, latency: 1e-6 };
const slow = { bandwidth: 1e6, latency: 1e-3 };
const model = ({ bandwidth, latency }: typeof fast) => ({ bytesPerSecond: bandwidth, secondsLatency: latency });

describe('links by pairs', () => {
  const fallback = model({ bandwidth: 5, latency: 7 });
  const link = listedLinks(
    [
      { from: 0, to: 1, ...fast },
      { from: 1, to: 2, ...fast },
      { from: 2, to: 1, ...slow },
    ],
    4,
    fallback,
  );

  it('are the same in both directions unless the other is listed too; the rest have the default', () => {
    expect([link(0, 1), link(1, 0)]).toEqual([model(fast), model(fast)]);
    expect([link(1, 2), link(2, 1)]).toEqual([model(fast), model(slow)]);
    expect(link(0, 3)).toEqual(fallback);
  });

  it('are refused all at once', () => {
    const wrong = [
      { from: 0, to: 4, ...fast },
      { from: 1, to: 1, ...fast },
      { from: 0, to: 1, ...fast },
      { from: 0, to: 1, ...slow },
    ];
    expect(() => listedLinks(wrong, 4)).toThrow(
      expect.objectContaining({
        code: 'links-invalid',
        fields: { problems: [0, 1, 3].map((entry) => expect.objectContaining({ entry })) },
      }),
    );
  });
});
