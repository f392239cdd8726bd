import { describe, expect, it } from 'vitest';
import { UsageError } from '../../src/core/errors.ts';
import { defaultLink } from '../../src/cost/analytic.ts';
import { analyticCosts } from '../../src/cost/model.ts';
import { readCluster, simulate } from '../../src/simulate/index.ts';
import { compute, post, programOf, receive, send } from './support.ts';

const read = (cluster: unknown) => readCluster(JSON.stringify(cluster), 'c.json');
const fails = (cluster: unknown, message: string) => {
  expect(() => read(cluster)).toThrow(UsageError);
  expect(() => read(cluster)).toThrow(message);
};

describe('cluster files', () => {
  it('list kinds of devices with their counts', () => {
    const { devices, link, media } = read({
      devices: [
        { count: 2, memory: '16GiB', flopsPerSecond: 1e12, bytesPerSecond: 1e11, secondsPerKernel: 0 },
        { speed: 0.5, backend: 'reference' },
      ],
    });
    const model = { flopsPerSecond: 1e12, bytesPerSecond: 1e11, secondsPerKernel: 0, speed: 1 };
    const big = { backend: 'wasm', speed: 1, memory: 16 * 2 ** 30, model };
    expect(devices).toEqual([big, big, { backend: 'reference', speed: 0.5, memory: null }]);
    expect(link).toBeUndefined();
    expect(media).toEqual([]);
    expect(read({ devices: 3 }).devices).toHaveLength(3);
  });

  it('give one link, or a list of which an entry holds both ways unless the other has its own', () => {
    const one = read({ devices: 2, links: { bandwidth: 5 } }).link!;
    expect(one(0, 1)).toEqual({ bytesPerSecond: 5, secondsLatency: 1e-5 });
    const { link } = read({
      devices: 3,
      links: [
        { from: 0, to: 1, bandwidth: 1, latency: 0 },
        { from: 1, to: 2, bandwidth: 2, latency: 0 },
        { from: 2, to: 1, bandwidth: 3, latency: 0 },
      ],
    });
    const pairs = [
      [0, 1],
      [1, 0],
      [1, 2],
      [2, 1],
    ] as const;
    expect(pairs.map(([a, b]) => link!(a, b).bytesPerSecond)).toEqual([1, 1, 2, 3]);
    // Pairs that are not listed have the link of threads.
    expect(link!(0, 2)).toEqual(defaultLink);
  });

  it('nest groups: two devices have the link of the smallest block with both', () => {
    const { link } = read({
      devices: 16,
      groups: [
        { devices: 2, bandwidth: 300, latency: 1 },
        { devices: 8, bandwidth: 30, latency: 2 },
        { bandwidth: 3, latency: 3 },
      ],
    });
    const between = (a: number, b: number) => link!(a, b).bytesPerSecond;
    expect([between(0, 1), between(1, 0), between(1, 2), between(7, 0), between(7, 8), between(15, 0)]).toEqual([
      300, 300, 30, 30, 3, 3,
    ]);
  });

  it('have no link that is faster than a bus or an uplink on its way', () => {
    const { link } = read({
      devices: 8,
      groups: [
        { devices: 2, bandwidth: 300, bus: 200, uplink: 20 },
        { devices: 4, bandwidth: 30, bus: 100, uplink: 5 },
        { bandwidth: 6, bus: 50 },
      ],
    });
    // Within a block of two its bus; between two of them their ways out; between blocks of four theirs.
    expect([link!(0, 1), link!(1, 2), link!(3, 4)].map((l) => l.bytesPerSecond)).toEqual([200, 20, 5]);
  });

  it('share ways out and in of blocks, each by itself, and buses within', () => {
    // Blocks 0 1 | 2 3. Two transfers each, of 10 bytes at 10 B/s where they are alone.
    const play = (groups: unknown, ...pairs: readonly (readonly [number, number])[]) => {
      const { link, media } = read({ devices: 4, groups });
      const program = programOf(
        ...[0, 1, 2, 3].map((d) => [
          ...pairs.filter(([, to]) => to === d).map(([from]) => post(from, 0)),
          ...pairs.filter(([from]) => from === d).map(([, to]) => send(to, 0, 10)),
          ...pairs.filter(([, to]) => to === d).map(([from]) => receive(from, 0)),
          compute(0),
        ]),
      );
      const devices = [0, 1, 2, 3].map(() => ({ backend: 'wasm', speed: 1 }) as const);
      return simulate(program, { devices, costs: analyticCosts({ link: link! }), media }).stepSeconds;
    };
    const all = { bandwidth: 10, latency: 0 };
    const uplinked = [{ devices: 2, ...all, uplink: 10 }, all];
    expect(play(uplinked, [0, 2], [1, 3])).toBe(2); // one way out
    expect(play(uplinked, [0, 2], [3, 1])).toBe(1); // out of and into a block at once
    expect(play(uplinked, [0, 1], [3, 2])).toBe(1); // neither leaves its block
    expect(play(uplinked, [0, 1], [1, 2])).toBe(1); // nor does the first
    expect(play(uplinked, [2, 1], [1, 0])).toBe(1); // nor the second
    const bussed = [{ devices: 2, ...all, bus: 10 }, all];
    expect(play(bussed, [0, 1], [1, 0])).toBe(2); // both on one bus
    expect(play(bussed, [0, 1], [3, 2])).toBe(1); // each block has its own
    expect(play(bussed, [0, 1], [1, 2])).toBe(1); // the second leaves the block
    expect(
      play(
        [
          { devices: 2, ...all },
          { ...all, bus: 5 },
        ],
        [0, 2],
        [3, 1],
      ),
    ).toBe(4); // 2.5 each
  });

  it('say what is wrong, where', () => {
    expect(() => readCluster('{', 'c.json')).toThrow('c.json is not JSON');
    for (const devices of [2 ** 20 + 1, 1e12, [{ count: 2 ** 20 }, {}]]) {
      fails({ devices }, 'devices: expected 1048576 devices at most, got 1');
    }
    fails({ devices: [] }, 'devices: expected a list of at least 1');
    fails({ devices: [{ speed: 0 }] }, 'devices.0.speed: expected a number > 0');
    fails({ devices: 2, links: { bandwidth: 1, latency: -1 } }, 'links.latency: expected a number ≥ 0');
    // Times that are no finite number would come of these.
    fails({ devices: 2, links: { bandwidth: 1, latency: 1e308 } }, 'links.latency: expected a number from 0 to 1e+30');
    fails({ devices: 2, links: { bandwidth: 1e-300 } }, 'links.bandwidth: expected a number from 1e-30 to 1e+30');
    fails({ devices: [{ speed: 1e308 }] }, 'devices.0.speed: expected a number from 1e-30 to 1e+30');
    fails({ devices: 3, links: [{ from: 1, to: 1, bandwidth: 1 }] }, 'links.0: expected two different devices');
    const again = [0, 1].map((to) => ({ from: 2, to, bandwidth: 1 }));
    fails({ devices: 3, links: [...again, again[1]] }, 'links.2: expected each link once, got 2 to 1 again');
    fails({ devices: [{ count: 2, flops: 3 }] }, 'devices.0.flops: expected one of the keys count, backend');
    fails({ devices: 2, link: { bandwidth: 1 } }, 'did you mean "links"?');
    fails({ devices: [{ flopsPerSecond: 1e9 }] }, 'flopsPerSecond and bytesPerSecond together');
    fails({ devices: [{ bytesPerSecond: 1e9 }] }, 'flopsPerSecond and bytesPerSecond together');
    fails({ devices: [{ secondsPerKernel: 0 }] }, 'secondsPerKernel only with');
    fails({ devices: 2, links: { bandwidth: 0 } }, 'links.bandwidth: expected a number > 0');
    fails({ devices: 2, links: [{ from: 0, to: 2, bandwidth: 1 }] }, 'links.0: expected devices 0 to 1, got 0 to 2');
    fails({ devices: 2, links: { bandwidth: 1 }, groups: [{ bandwidth: 1 }] }, 'only one of links and groups');
    fails(
      { devices: 8, groups: [{ bandwidth: 1 }, { bandwidth: 1 }] },
      'groups.0.devices: expected the size of a block',
    );
    fails(
      { devices: 8, groups: [{ devices: 4, bandwidth: 1 }, { devices: 6, bandwidth: 1 }, { bandwidth: 1 }] },
      'groups.1.devices: expected a larger multiple of the 4',
    );
    fails(
      { devices: 8, groups: [{ devices: 4, bandwidth: 1 }, { devices: 4, bandwidth: 1 }, { bandwidth: 1 }] },
      'groups.1.devices: expected a larger multiple of the 4',
    );
    fails({ devices: 8, groups: [{ devices: 4, bandwidth: 1 }] }, 'groups.0.devices: expected nothing: the last entry');
    fails({ devices: 8, groups: [{ bandwidth: 1, uplink: 1 }] }, 'groups.0.uplink: expected nothing');
  });
});
