/**
 * Clusters as JSON files:
 *
 *     {"devices": [{"count": 1024, "memory": "80GiB", "flopsPerSecond": 150e12, "bytesPerSecond": 1.5e12}],
 *      "groups": [{"devices": 8, "bandwidth": 300e9, "latency": 2e-6, "uplink": 50e9}, {"bandwidth": 25e9, "latency": 1e-5}]}
 *
 * Groups nest from the inside out: blocks of consecutive devices. Two devices have the link of the smallest block that
 * holds both; the last entry is the whole cluster.
 */

import { UsageError } from '../core/errors.ts';
import { JsonError, parseJson } from '../core/json.ts';
import { requireKinds } from '../core/options.ts';
import { amount, rate } from '../core/quantities.ts';
import { bytes, choice, either, type Infer, integer, list, object, optional, parse } from '../core/schema.ts';
import { type DeviceModel, defaultDevice, type LinkModel } from '../cost/analytic.ts';
import { linkProblems, listedLinks } from '../cost/links.ts';
import { type CostModel, sameLink } from '../cost/model.ts';
import type { Medium, SimulatedDevice } from './cluster.ts';

const ownRate = (doc: string) => optional(rate({ doc }));

const deviceSchema = object(
  {
    count: integer({ min: 1, default: 1, doc: 'devices like this one' }),
    backend: choice(['wasm', 'reference'], { default: 'wasm', doc: 'whose kernels and costs it has' }),
    speed: rate({ default: 1, doc: 'factor on its speed' }),
    memory: optional(bytes({ doc: 'capacity; default as much as needed' })),
    flopsPerSecond: ownRate("peak of its arithmetic; default: the cost model's"),
    bytesPerSecond: ownRate('peak of its memory traffic; given with flopsPerSecond'),
    secondsPerKernel: optional(amount({ doc: 'what any kernel takes; given with flopsPerSecond' })),
  },
  {
    check: (d) => {
      if ((d.flopsPerSecond === undefined) !== (d.bytesPerSecond === undefined))
        return 'flopsPerSecond and bytesPerSecond together: a roofline has both';
      return d.secondsPerKernel !== undefined && d.flopsPerSecond === undefined
        ? 'secondsPerKernel only with flopsPerSecond and bytesPerSecond'
        : undefined;
    },
  },
);

const link = {
  bandwidth: rate({ doc: 'bytes/s between two devices' }),
  latency: amount({ default: 1e-5, doc: 'seconds until a value arrives' }),
};

const groupSchema = object({
  devices: optional(integer({ min: 1, doc: 'devices of a block, consecutive ones; the last entry has none: all' })),
  ...link,
  bus: ownRate('bytes/s that all transfers of a block share which do not stay in a smaller one'),
  uplink: ownRate(
    "bytes/s that all transfers out of a block share, and as much for those into it: a node's network card",
  ),
});

const clusterSchema = object(
  {
    devices: either([integer({ min: 1 }), list(deviceSchema, { minLength: 1 })] as const, {
      doc: 'how many, or a list of kinds with their counts',
    }),
    links: optional(
      either([object(link), list(object({ from: integer({ min: 0 }), to: integer({ min: 0 }), ...link }))] as const, {
        doc: 'one link for all pairs, or a list by pairs',
      }),
    ),
    groups: optional(list(groupSchema, { minLength: 1, doc: 'links by nested blocks, from the inside out' })),
  },
  {
    check: ({ links, groups }) =>
      links !== undefined && groups !== undefined ? 'only one of links and groups' : undefined,
  },
);

type Group = Infer<typeof groupSchema>;

export interface ClusterFile {
  readonly devices: readonly (SimulatedDevice & {
    readonly backend: 'wasm' | 'reference';
    readonly memory: number | null;
  })[];
  /** Of a transfer that is alone: no faster than the media on its way. undefined: the file says nothing of links. */
  readonly link: CostModel['link'] | undefined;
  readonly media: readonly Medium[];
}

/** Each is an object of its own: more would not be planned for, but would fill the memory. */
const MOST_DEVICES = 2 ** 20;

/** Reads a cluster; `where` names it in errors, which tell all problems at once. */
export function readCluster(text: string, where: string): ClusterFile {
  requireKinds('readCluster', { text: ['text', text], where: ['text', where] });
  let raw: unknown;
  try {
    raw = parseJson(text);
  } catch (cause) {
    if (!(cause instanceof JsonError)) throw cause;
    throw new UsageError('cluster-json', `${where} ${cause.message}`, {
      fields: { file: where, ...cause.twice },
      remedy: cause.remedy('a cluster file is JSON, without comments and trailing commas'),
      cause,
    });
  }
  const { devices: kinds, links, groups } = parse(clusterSchema, raw, where);
  const count = typeof kinds === 'number' ? kinds : kinds.reduce((sum, kind) => sum + kind.count, 0);
  if (count > MOST_DEVICES) throw clusterError(where, 'devices', `${MOST_DEVICES} devices at most`, `${count}`);
  const devices = (typeof kinds === 'number' ? [{ count: kinds, backend: 'wasm' as const, speed: 1 }] : kinds).flatMap(
    (kind) => {
      const model = 'flopsPerSecond' in kind ? rooflineOf(kind) : undefined;
      const { backend, speed } = kind;
      const memory = ('memory' in kind ? kind.memory : undefined) ?? null;
      return Array.from({ length: kind.count }, () => ({ backend, speed, memory, ...(model ? { model } : {}) }));
    },
  );
  if (groups) {
    refuseUnorderedGroups(groups, where);
    return { devices, link: linkByGroups(groups), media: mediaOfGroups(groups, devices.length) };
  }
  if (!Array.isArray(links)) return { devices, link: links && sameLink(linkModel(links)), media: [] };
  const [problem] = linkProblems(links, devices.length);
  if (problem) throw clusterError(where, `links.${problem.entry}`, problem.expected, problem.got);
  return { devices, link: listedLinks(links, devices.length), media: [] };
}

interface Link {
  readonly bandwidth: number;
  readonly latency: number;
}
const linkModel = (l: Link): LinkModel => ({ bytesPerSecond: l.bandwidth, secondsLatency: l.latency });

function rooflineOf(kind: Infer<typeof deviceSchema>): DeviceModel | undefined {
  const { flopsPerSecond, bytesPerSecond, secondsPerKernel = defaultDevice.secondsPerKernel } = kind;
  return flopsPerSecond === undefined
    ? undefined
    : { flopsPerSecond, bytesPerSecond: bytesPerSecond!, secondsPerKernel, speed: 1 };
}

/** Each block a whole number of the one before, and the last the whole cluster. */
function refuseUnorderedGroups(groups: readonly Group[], where: string): void {
  groups.forEach(({ devices, uplink }, i) => {
    const key = `groups.${i}.devices`;
    const isLast = i === groups.length - 1;
    const before = groups[i - 1]?.devices;
    if (isLast && devices !== undefined) {
      throw clusterError(where, key, 'nothing: the last entry is the whole cluster', `${devices}`);
    }
    if (isLast && uplink !== undefined) {
      throw clusterError(where, `groups.${i}.uplink`, 'nothing: no way leads out of the whole cluster', `${uplink}`);
    }
    if (isLast) return;
    if (devices === undefined) throw clusterError(where, key, 'the size of a block', 'nothing');
    if (before !== undefined && (devices <= before || devices % before !== 0)) {
      throw clusterError(where, key, `a larger multiple of the ${before} of the block within`, `${devices}`);
    }
  });
}

function clusterError(where: string, key: string, expected: string, got: string): UsageError {
  return new UsageError('cluster-invalid', `${where}: ${key}: expected ${expected}, got ${got}`, {
    fields: { file: where, problems: [{ key, expected, got }] },
    remedy: 'correct the file; docs/simulator.md describes it',
  });
}

/** The block of a device at a level; the whole cluster is one. */
const blockOf = ({ devices }: Group, device: number): number =>
  devices === undefined ? 0 : Math.floor(device / devices);

const levelOf = (groups: readonly Group[], from: number, to: number): number =>
  groups.findIndex((g) => blockOf(g, from) === blockOf(g, to));

function linkByGroups(groups: readonly Group[]): CostModel['link'] {
  const models = groups.map((group, level) => {
    // On the way between blocks lie the uplinks of all that are within this one.
    const uplinks = groups.slice(0, level).map((g) => g.uplink);
    const limits = [group.bus, ...uplinks].filter((limit) => limit !== undefined);
    return linkModel({ ...group, bandwidth: Math.min(group.bandwidth, ...limits) });
  });
  return (from, to) => models[levelOf(groups, from, to)]!;
}

function mediaOfGroups(groups: readonly Group[], devices: number): Medium[] {
  return groups.flatMap((group, level) => {
    const blocks = blockOf(group, devices - 1) + 1;
    const name = (what: string, block: number) => `${what} of block ${block} of level ${level}`;
    const isIn = (device: number, block: number) => blockOf(group, device) === block;
    return Array.from({ length: blocks }, (_, block): Medium[] => {
      const { bus, uplink } = group;
      const media: Medium[] = [];
      if (bus !== undefined) {
        media.push({
          name: name('bus', block),
          bytesPerSecond: bus,
          carries: (from, to) => isIn(from, block) && levelOf(groups, from, to) === level,
        });
      }
      if (uplink !== undefined) {
        media.push(
          {
            name: name('way out', block),
            bytesPerSecond: uplink,
            carries: (from, to) => isIn(from, block) && !isIn(to, block),
          },
          {
            name: name('way in', block),
            bytesPerSecond: uplink,
            carries: (from, to) => isIn(to, block) && !isIn(from, block),
          },
        );
      }
      return media;
    }).flat();
  });
}
