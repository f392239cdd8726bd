/**
 * What was measured of this machine, kept between runs: a file for its constants, and one for the kernels that were timed
 * with so many devices busy. Their names hold a hash of the machine's identity, so that another processor, Node or build of
 * the kernels never sees them; kernels timed with a native BLAS have files of their own, by what the library says of
 * itself. A file that cannot be read is told and taken for missing; it is never an error.
 */

import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { FormatError } from '../core/errors.ts';
import { versionText } from '../core/json.ts';
import { requireKinds } from '../core/options.ts';
import { choice, integer, object, parse } from '../core/schema.ts';
import { type MachineCosts, machineSchema } from '../cost/machine.ts';
import { type Profile, readProfile, writeProfile } from '../cost/profile.ts';
import { writeFileAtomic } from '../formats/atomic.ts';
import { makeFolder } from '../formats/make-folder.ts';
import type { BlasLibrary } from '../lower/blas/index.ts';
import type { SimdVariant } from '../lower/kernel-call.ts';
import { machineIdentity } from './identity.ts';

const VERSION = 1;

const shortHash = (text: string): string => createHash('sha256').update(text).digest('hex').slice(0, 16);

const machineFile = object({
  format: choice(['partita-machine']),
  version: integer({ min: 1 }),
  machine: machineSchema,
});

export class MeasurementCache {
  readonly folder: string | undefined;
  readonly warn: (message: string) => void;
  /** The kernels whose times these are. */
  readonly simd: SimdVariant;
  readonly #id: string;
  /** Warnings that need no second time. */
  readonly #told = new Set<string>();

  /** `folder` undefined: nothing is found, nothing kept. */
  constructor(folder: string | undefined, warn: (message: string) => void, simd: SimdVariant = 'strict') {
    requireKinds('MeasurementCache', { warn: ['function', warn] });
    if (folder !== undefined) requireKinds('MeasurementCache', { folder: ['text', folder] });
    this.folder = folder;
    this.warn = warn;
    this.simd = simd;
    this.#id = shortHash(JSON.stringify(machineIdentity(simd)));
  }

  machine(): MachineCosts | undefined {
    return this.#read(this.#machineFile, (text, file) => {
      const json: unknown = JSON.parse(text);
      const { version } = (json ?? {}) as { version?: unknown };
      if (version !== VERSION) throw new FormatError('machine-file', `${file}: of ${versionText(version)}`);
      return parse(machineFile, json, file).machine;
    });
  }

  async keepMachine(machine: MachineCosts): Promise<void> {
    const json = { format: 'partita-machine', version: VERSION, machine };
    await this.#write(this.#machineFile, `${JSON.stringify(json, null, 1)}\n`);
  }

  /** The kernels that were timed while so many devices were busy. */
  profile(busyDevices: number, blas?: BlasLibrary): Profile | undefined {
    return this.#read(this.#profileFile(busyDevices, blas), readProfile);
  }

  async keepProfile(profile: Profile, blas?: BlasLibrary): Promise<void> {
    await this.#write(this.#profileFile(profile.busyDevices, blas), writeProfile(profile));
  }

  get #machineFile(): string {
    return `machine-${this.#id}.json`;
  }

  #profileFile(busyDevices: number, blas: BlasLibrary | undefined): string {
    return `kernels-${this.#id}-${busyDevices}${blas ? `-blas-${shortHash(blas.version)}` : ''}.json`;
  }

  #read<T>(name: string, read: (text: string, file: string) => T): T | undefined {
    if (this.folder === undefined) return undefined;
    const file = join(this.folder, name);
    let text: string;
    try {
      text = readFileSync(file, 'utf8');
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      if (code !== 'ENOENT' && code !== 'ENOTDIR') this.warn(`cannot read the cache ${file}: ${message}`);
      return undefined;
    }
    try {
      return read(text, file);
    } catch (error) {
      const reason = (error as Error).message.replace(`${file}: `, '').replace(/\s+/g, ' ');
      const message = `the cache ${file} is damaged and not used: ${reason}`;
      if (!this.#told.has(message)) this.warn(message);
      this.#told.add(message);
      return undefined;
    }
  }

  async #write(name: string, text: string): Promise<void> {
    if (this.folder === undefined) return;
    try {
      makeFolder(this.folder);
      await writeFileAtomic(join(this.folder, name), text);
    } catch (error) {
      this.warn(`cannot keep the measurement: ${(error as Error).message}`);
    }
  }
}
