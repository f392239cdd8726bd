// Builds dist/: the kernels (AssemblyScript → one .wasm), the library (TypeScript → ES modules with types), the command
// and the workers (bundled). Runs after `npm ci` as `prepare`, so that `npx partita` works at once.
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const bin = (name) => join(root, 'node_modules', '.bin', name);
const run = (command, args) => {
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: 'inherit' });
  if (error) throw error;
  if (status !== 0) process.exit(status ?? 1); // the tool has said why
};
const only = process.argv[2]; // 'kernels' | 'library' | 'workers': one part, for development

// In a clone, the first `npx partita` links this very package and so runs `prepare` again: what is built stays.
if (!only && process.env.npm_command === 'exec' && existsSync(join(root, 'dist', 'workers', 'device.node.js')))
  process.exit(0);

mkdirSync(join(root, 'dist'), { recursive: true });

if (!only || only === 'kernels') {
  // No allocator, no static data, no stack: a kernel touches only the offsets it is given (see workers/kernels/README.md).
  run(bin('asc'), [
    'workers/kernels/index.ts',
    '--outFile',
    'dist/kernels.wasm',
    '--enable',
    'simd,threads',
    '--importMemory',
    '--noExportMemory',
    '--sharedMemory',
    '--maximumMemory',
    '65536',
    '--runtime',
    'stub',
    '--noAssert',
    '--uncheckedBehavior',
    'always',
    '-O3',
    '--converge',
  ]);
}
if (!only || only === 'library') {
  run(bin('tsc'), ['-p', 'tsconfig.build.json']);
  // Loading hundreds of modules takes longer than most plans: what starts as a process or thread of its own is a few files,
  // those of other commands are not read, and the library's modules stay as they are.
  rmSync(join(root, 'dist', 'chunks'), { recursive: true, force: true });
  run(bin('esbuild'), [
    'src/cli/main.ts',
    'src/study/worker.ts',
    '--bundle',
    '--splitting',
    '--platform=node',
    '--format=esm',
    '--target=node20',
    '--packages=external',
    '--outbase=src',
    '--outdir=dist',
    '--chunk-names=chunks/[name]-[hash]',
    '--allow-overwrite',
    '--log-level=warning',
  ]);
  chmodSync(join(root, 'dist', 'cli', 'main.js'), 0o755);
}
if (!only || only === 'workers') {
  run(bin('esbuild'), [
    'workers/device.node.ts',
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
}
