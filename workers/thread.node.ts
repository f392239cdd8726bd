// What a device's thread loads: the bundle of device.node.ts beside this file, by V8's code cache where one was made by this very
// V8 under these flags (scripts/build.mjs). To read the bundle, compile it and import it as an ES module takes as much as all the
// rest of a thread's start. V8 refuses a cache of another V8 or of other flags, and then compiles; of the source it looks at the length
// alone, so the build takes an old cache away before it makes a bundle.
import { readFileSync } from 'node:fs';
import { createRequire, Module } from 'node:module';
import { basename, dirname, join } from 'node:path';
import { Script } from 'node:vm';

type Exports = typeof import('./device.node.ts');

const bundle = join(__dirname, 'device.node.cjs');
const script = new Script(Module.wrap(readFileSync(bundle, 'utf8')), {
  filename: basename(bundle), // as the cache has it: no folder of who built it
  cachedData: cacheOf(bundle),
});
const module: { exports: Partial<Exports> } = { exports: {} };
script.runInThisContext()(module.exports, createRequire(bundle), module, bundle, dirname(bundle));

function cacheOf(file: string): Buffer | undefined {
  try {
    return readFileSync(`${file}.cache`);
  } catch {
    return undefined;
  }
}

export default (module.exports as Exports).default;
