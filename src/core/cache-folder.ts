/** Where what was measured, planned and tried is kept between runs. Node only. */
import { homedir } from 'node:os';
import { isAbsolute, join, resolve } from 'node:path';

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Folder of the cache: PARTITA_CACHE, or partita in XDG_CACHE_HOME, or ~/.cache/partita. undefined: none is used, where
 * PARTITA_CACHE is `off`. A relative XDG_CACHE_HOME is ignored, as its specification asks.
 */
export function cacheFolder(environment: Environment = process.env): string | undefined {
  const { PARTITA_CACHE: own, XDG_CACHE_HOME: shared } = environment;
  if (own === 'off') return undefined;
  if (own !== undefined && own !== '') return resolve(own);
  if (shared !== undefined && isAbsolute(shared)) return join(shared, 'partita');
  return join(homedir(), '.cache', 'partita');
}
