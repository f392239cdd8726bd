import { joinProblems, UsageError } from '../core/errors.ts';
import { defaultLink, type LinkModel } from './analytic.ts';
import type { CostModel } from './model.ts';

/** A link between two devices, as an experiment lists it. */
export interface ListedLink {
  readonly from: number;
  readonly to: number;
  /** Bytes/s. */
  readonly bandwidth: number;
  /** Seconds until a value arrives. */
  readonly latency: number;
}

/** What is wrong with a list, by its entries: devices that are not there, or the same link again. */
export function linkProblems(
  links: readonly ListedLink[],
  devices: number,
): { readonly entry: number; readonly expected: string; readonly got: string; readonly remedy?: string }[] {
  const seen = new Set<string>();
  return links.flatMap(({ from, to }, entry) => {
    const got = `${from} to ${to}`;
    if (devices < 2) return [{ entry, expected: 'two devices to lie between', got, remedy: 'leave links out' }];
    const outside = [from, to].some((d) => !Number.isInteger(d) || d < 0 || d >= devices);
    const remedy = `give links.${entry} two of devices 0 to ${devices - 1}`;
    if (outside) return [{ entry, expected: `devices 0 to ${devices - 1}`, got, remedy }];
    if (from === to) return [{ entry, expected: 'two different devices', got, remedy }];
    if (seen.has(got)) {
      return [{ entry, expected: 'each link once', got: `${got} again`, remedy: `leave links.${entry} out` }];
    }
    seen.add(got);
    return [];
  });
}

/**
 * Links by pairs of devices. One that is listed in one direction only is the same in both (full duplex, as cables and
 * shared memory are); pairs that are not listed have the default.
 */
export function listedLinks(
  links: readonly ListedLink[],
  devices: number,
  fallback: LinkModel | CostModel['link'] = defaultLink,
): CostModel['link'] {
  const problems = linkProblems(links, devices);
  if (problems.length > 0) {
    const lines = problems.map(({ entry, expected, got }) => `links.${entry}: expected ${expected}, got ${got}`);
    throw new UsageError('links-invalid', joinProblems(lines), {
      fields: { problems },
      remedy:
        devices < 2
          ? 'leave links out: there are no two devices'
          : `each link once, between two of devices 0 to ${devices - 1}`,
    });
  }
  const known = new Map(
    links.map((l) => [`${l.from}>${l.to}`, { bytesPerSecond: l.bandwidth, secondsLatency: l.latency }]),
  );
  return (from, to) =>
    known.get(`${from}>${to}`) ??
    known.get(`${to}>${from}`) ??
    (typeof fallback === 'function' ? fallback(from, to) : fallback);
}
