// Builds dist/: the kernels (AssemblyScript → one .wasm), the library (TypeScript → ES modules with types), the command
// and the workers (bundled). Runs after `npm ci` as `prepare`, so that `npx partita` works at once.
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createRequire, Module } from 'node:module';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Script } from 'node:vm';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('..', import.meta.url));
const bin = (name) => join(root, 'node_modules', '.bin', name);
const run = (command, args) => {
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: 'inherit' });
  if (error) throw error;
  if (status !== 0) process.exit(status ?? 1); // the tool has said why
};
/** Resolves when the command has ended well; ends the build where it has not. */
const runBeside = (command, args) =>
  new Promise((done) => {
    const child = spawn(command, args, { cwd: root, stdio: 'inherit' });
    child.on('error', (error) => {
      throw error;
    });
    child.on('exit', (status) => (status === 0 ? done() : process.exit(status ?? 1)));
  });
const only = process.argv[2]; // 'kernels' | 'library' | 'workers': one part, for development

// In a clone, the first `npx partita` links this very package and so runs `prepare` again: what is built stays.
if (!only && process.env.npm_command === 'exec' && existsSync(join(root, 'dist', 'workers', 'device.node.cjs')))
  process.exit(0);

mkdirSync(join(root, 'dist'), { recursive: true });

/** Whether a file is newer than what it is made of: the kernels take longest and change least. */
function isFresh(file, sources) {
  const time = (name) => statSync(join(root, name), { throwIfNoEntry: false })?.mtimeMs ?? Number.POSITIVE_INFINITY;
  return existsSync(join(root, file)) && sources.every((source) => time(source) < time(file));
}
const kernelSources = [
  ...readdirSync(join(root, 'workers', 'kernels')).map((name) => `workers/kernels/${name}`),
  'scripts/build.mjs',
  'package-lock.json',
];

/** Adds a custom section (WebAssembly core specification, 5.5.3) at a module's end. */
function appendSection(file, name, content) {
  const size = (n) => (n < 128 ? [n] : [(n % 128) + 128, ...size(Math.floor(n / 128))]);
  const body = Buffer.concat([Buffer.from([...size(name.length)]), Buffer.from(name), content]);
  writeFileSync(file, Buffer.concat([readFileSync(file), Buffer.from([0, ...size(body.length)]), body]));
}

if (!only || only === 'kernels') {
  // No allocator, no static data, no stack: a kernel touches only the offsets it is given (see workers/kernels/README.md).
  // Two builds of the same sources; where they differ, workers/kernels/fused.ts says.
  const variants = {
    'dist/kernels.wasm': ['--enable', 'simd,threads'],
    'dist/kernels-relaxed.wasm': ['--enable', 'simd,threads,relaxed-simd', '--use', 'RELAXED_SIMD=1'],
  };
  const stale = Object.entries(variants).filter(([file]) => !isFresh(file, kernelSources));
  const compile = (source, file, options) =>
    runBeside(bin('asc'), [
      source,
      '--outFile',
      file,
      ...options,
      '--runtime',
      'stub',
      '--noAssert',
      '--uncheckedBehavior',
      'always',
      '-O3',
      '--converge',
    ]);
  const memory = ['--importMemory', '--noExportMemory', '--sharedMemory', '--maximumMemory', '65536'];
  const built = stale.map(([file, features]) => compile('workers/kernels/index.ts', file, [...features, ...memory]));
  // What fused kernels are put together from travels with the kernels (src/backends/wasm/vectors.ts), the same in both. Values
  // of v128 do not leave WebAssembly (AS112), and these need not.
  const vectors = join(root, 'dist', 'vectors.wasm');
  if (stale.length > 0) {
    built.push(
      compile('workers/kernels/vectors.ts', vectors, [
        '--enable',
        'simd',
        '--noExportMemory',
        '--disableWarning',
        '112',
      ]),
    );
  }
  await Promise.all(built); // a core each
  for (const [file] of stale) appendSection(join(root, file), 'vectors', readFileSync(vectors));
  rmSync(vectors, { force: true });
}
/** A bundle that `require` loads: Node starts it sooner than an ES module. */
const commonJs = {
  bundle: true,
  platform: 'node',
  format: 'cjs',
  target: 'node20',
  define: { 'import.meta.url': 'ownUrl' },
  banner: { js: "'use strict'; const ownUrl = require('node:url').pathToFileURL(__filename).href;" },
  logLevel: 'warning',
};

/** Leaves what a module imports when it is needed where it is, as a module of its own. */
const loadedOnDemand = {
  name: 'loaded-on-demand',
  setup: ({ onResolve }) =>
    onResolve({ filter: /^\.\// }, ({ path, kind }) =>
      kind === 'dynamic-import' ? { path: path.replace(/\.ts$/, '.js'), external: true } : undefined,
    ),
};

if (!only || only === 'library') {
  run(bin('tsc'), ['-p', 'tsconfig.build.json']);
  // Loading hundreds of modules takes longer than most plans, and a third of a process's memory: what starts as a process or
  // thread of its own and what a program imports is a few files, those of other commands are not read. All share one set of
  // chunks, so that a class is one class wherever it comes from. Scripts may still import a single module of the library.
  rmSync(join(root, 'dist', 'chunks'), { recursive: true, force: true });
  run(bin('esbuild'), [
    'src/index.ts',
    'src/cli/command-line.ts',
    'src/cli/command.ts',
    'src/cli/flags.ts',
    'src/study/worker.ts',
    '--bundle',
    '--splitting',
    '--platform=node',
    '--format=esm',
    '--target=node20',
    // Finding and reading a hundred files of other packages takes longer than running them. Not those that find files of
    // their own beside them, nor what few commands want.
    ...['piscina', 'highs', 'vega', 'vega-lite', '@dagrejs/dagre'].map((name) => `--external:${name}`),
    // What is CommonJS among them asks for Node's modules by `require`.
    "--banner:js=import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);",
    '--metafile=dist/bundled.json',
    '--outbase=src',
    '--outdir=dist',
    '--chunk-names=chunks/[name]-[hash]',
    '--sourcemap',
    '--sources-content=false',
    '--allow-overwrite',
    '--log-level=warning',
  ]);
  // The command itself: one file of CommonJS, since Node takes 6 to 10 ms longer to start an ES module and 2 ms more for each that
  // it imports. Help of commands that take no experiment, and refusals, are answered within it; what it loads
  // for the rest are the ES modules above.
  await build({
    entryPoints: [join(root, 'src/cli/main.ts')],
    ...commonJs,
    plugins: [loadedOnDemand],
    outfile: join(root, 'dist/cli/main.cjs'),
  });
  // Loaded by the first ONNX file alone (src/formats/onnx/messages.ts), and by `require`: its callers do not wait.
  run(bin('esbuild'), [
    'src/formats/onnx/protobuf.ts',
    '--bundle',
    '--platform=node',
    '--format=cjs',
    '--target=node20',
    '--metafile=dist/bundled-onnx.json',
    '--outfile=dist/formats/onnx/protobuf.cjs',
    '--log-level=warning',
  ]);
  chmodSync(join(root, 'dist', 'cli', 'main.cjs'), 0o755);
  writeLicences(['dist/bundled.json', 'dist/bundled-onnx.json']);
  writeSourcesHash();
}
if (!only || only === 'workers') {
  // Before there is another bundle: V8 would take a cache of an older one (workers/thread.node.ts).
  rmSync(join(root, 'dist', 'workers'), { recursive: true, force: true });
  run(bin('esbuild'), [
    'workers/milp.node.ts',
    'workers/pack.node.ts',
    'workers/blas.node.ts',
    '--bundle',
    '--platform=node',
    '--format=esm',
    '--target=node20',
    '--external:highs', // optional: found at run time, or not
    '--external:koffi',
    '--outdir=dist/workers',
    '--sourcemap',
    '--log-level=warning',
  ]);
  await build({
    ...commonJs,
    entryPoints: ['workers/device.node.ts', 'workers/thread.node.ts', 'workers/blas-probe.node.ts'].map((name) =>
      join(root, name),
    ),
    external: ['koffi'],
    outdir: join(root, 'dist/workers'),
    outExtension: { '.js': '.cjs' },
    sourcemap: true,
  });
  writeCodeCache(join(root, 'dist/workers/device.node.cjs'));
}

/** V8's code cache of a CommonJS bundle as it is once it has run, functions that it has called included (workers/thread.node.ts). */
function writeCodeCache(file) {
  const script = new Script(Module.wrap(readFileSync(file, 'utf8')), { filename: basename(file) });
  const module = { exports: {} };
  script.runInThisContext()(module.exports, createRequire(file), module, file, dirname(file));
  // At once or not at all: V8 does not look for what is missing.
  writeFileSync(`${file}.cache.new`, script.createCachedData());
  renameSync(`${file}.cache.new`, `${file}.cache`);
}

/** By which plans of other sources are told apart (src/profile/identity.ts). */
function writeSourcesHash() {
  const hash = createHash('sha256');
  const files = readdirSync(join(root, 'src'), { recursive: true }).filter((name) => name.endsWith('.ts'));
  for (const name of files.sort()) hash.update(`${name}\n`).update(readFileSync(join(root, 'src', name)));
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  writeFileSync(join(root, 'dist', 'sources.txt'), `${version} ${hash.digest('hex').slice(0, 32)}\n`);
}

/** What was bundled is passed on with dist/, and so are its licences. */
function writeLicences(metafiles) {
  const inputs = metafiles.flatMap((file) => Object.keys(JSON.parse(readFileSync(join(root, file), 'utf8')).inputs));
  for (const file of metafiles) rmSync(join(root, file));
  const folders = inputs.flatMap((file) => file.match(/^.*node_modules\/(?:@[^/]+\/)?[^/]+/)?.[0] ?? []);
  const texts = [...new Set(folders)].sort().map((folder) => {
    const { name, version, license } = JSON.parse(readFileSync(join(root, folder, 'package.json'), 'utf8'));
    const files = readdirSync(join(root, folder)).filter((file) => /^(licen[cs]e|notice)/i.test(file));
    const own = files.map((file) => readFileSync(join(root, folder, file), 'utf8').trim());
    return [`${name} ${version}: ${license}`, ...own].join('\n\n');
  });
  writeFileSync(join(root, 'dist', 'THIRD-PARTY-LICENSES.txt'), `${texts.join(`\n\n${'-'.repeat(80)}\n\n`)}\n`);
}
