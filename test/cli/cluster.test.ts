import { describe, expect, it } from 'vitest';
import { onCluster } from '../../src/cli/cluster.ts';
import { analyticCosts } from '../../src/cost/model.ts';
import { readCluster } from '../../src/simulate/index.ts';
import { planOf, threeLayers } from '../support/models.ts';

const read = (cluster: unknown) => readCluster(JSON.stringify(cluster), 'c.json');
const asked = { ...planOf(threeLayers).request, costs: undefined };

describe('a plan for a cluster', () => {
  it("has the cluster's links, and no host: that of measured costs is another machine's", () => {
    const measured = {
      ...analyticCosts({ link: { bytesPerSecond: 7, secondsLatency: 7 } }),
      stepSeconds: () => 5,
      startSeconds: (d: number) => 3 * d,
      betweenSteps: () => ({ secondsBetween: 1, hostSeconds: 2 }),
    };
    const own = read({ devices: 2, links: { bandwidth: 9, latency: 2 } });
    for (const isProfiled of [true, false]) {
      const { costs, cluster } = onCluster({ ...asked, costs: measured }, own, own.devices, isProfiled);
      for (const c of [costs!, cluster!.costs]) {
        expect([c.stepSeconds, c.startSeconds, c.betweenSteps]).toEqual([undefined, undefined, undefined]);
        expect(c.link(0, 1)).toEqual({ bytesPerSecond: 9, secondsLatency: 2 });
      }
    }
    const silent = read({ devices: 2 });
    expect(onCluster({ ...asked, costs: measured }, silent, silent.devices, true).costs!.link(0, 1)).toEqual({
      bytesPerSecond: 7,
      secondsLatency: 7,
    });
  });

  it('measures speeds by the first device, and plays each on its own roofline', () => {
    const roofline = (flopsPerSecond: number) => ({ flopsPerSecond, bytesPerSecond: 1e9, secondsPerKernel: 0 });
    const file = read({
      devices: [
        { ...roofline(2e9), memory: '1MiB' },
        { ...roofline(6e9), speed: 2 },
      ],
    });
    const { devices, cluster } = onCluster(asked, file, file.devices, false);
    expect(devices).toEqual([
      { backend: 'wasm', memory: 2 ** 20, speed: 1, simulated: true },
      { backend: 'wasm', memory: null, speed: 6, simulated: true },
    ]);
    expect(cluster!.devices).toEqual([
      { backend: 'wasm', speed: 1, model: { ...roofline(2e9), speed: 1 } },
      { backend: 'wasm', speed: 2, model: { ...roofline(6e9), speed: 1 } },
    ]);
  });
});
