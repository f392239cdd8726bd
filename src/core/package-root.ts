/** Where this package lies, from sources and from dist alike. Node only. */
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { PartitaError } from './errors.ts';

let found: string | undefined;

/** The folder whose package.json is Partita's: walks up from this module. */
export function packageRoot(): string {
  if (found !== undefined) return found;
  const start = dirname(fileURLToPath(import.meta.url));
  for (let folder = start; ; folder = dirname(folder)) {
    if (packageName(folder) === 'partita') return (found = folder);
    if (folder === dirname(folder)) {
      throw new PartitaError('package-root', `no package.json of "partita" in ${start} or above`, {
        fields: { start },
        remedy: 'npm install partita',
      });
    }
  }
}

function packageName(folder: string): unknown {
  try {
    return (JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as { name?: unknown }).name;
  } catch {
    return undefined;
  }
}
