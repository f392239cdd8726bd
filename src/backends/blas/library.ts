/**
 * Native BLAS libraries, called through koffi (an optional package). Node only.
 *
 * A library is found and set to one thread once; each thread of this process opens it for itself, by the same name.
 */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { nearest, PartitaError, UsageError } from '../../core/errors.ts';
import { requireArgument } from '../../core/options.ts';
import type { BlasLibrary } from '../../lower/blas/index.ts';
import { probeBlas } from './probe.ts';
import { isOfMacSystem } from './proofs.ts';

/**
 * C [m, n] = A·B + beta·C of row-major f32 matrices by their addresses; `transA`, `transB` 1: stored transposed. `ld…`:
 * elements from one stored row to the next.
 */
export type Sgemm = (
  transA: number,
  transB: number,
  m: number,
  n: number,
  k: number,
  a: number,
  lda: number,
  b: number,
  ldb: number,
  beta: number,
  c: number,
  ldc: number,
) => void;

/** An opened library. */
export interface Blas extends BlasLibrary {
  readonly sgemm: Sgemm;
  /** Where a view of memory lies in the process. */
  readonly addressOf: (view: Uint8Array) => number;
}

type Koffi = typeof import('koffi');
type Library = ReturnType<Koffi['load']>;

/** Per thread, by interface and what the loader was given. */
const opened = new Map<string, Blas>();

/**
 * `choice`: `auto`, or a library's path, or a name that the loader looks for. Throws UsageError where there is none, it has no
 * sgemm, or it does not stand its trial (`probe.ts`).
 */
export function findBlas(choice: string): BlasLibrary {
  requireArgument(
    'findBlas',
    typeof choice === 'string',
    "'auto' or the path of a library",
    choice,
    "findBlas('auto')",
  );
  if (choice !== 'auto' && isBareWord(choice) && !existsSync(choice)) refuseWord(choice);
  const { file, version } = choice === 'auto' ? findInstalled() : openProven(choice);
  return { file, version };
}

/** Without a folder: where no such file lies in the current one, the loader looks for it in its own. */
export const isBareName = (choice: string): boolean => !/[/\\]/.test(choice);

/** Neither folder nor extension: a word meant for `auto` or `off` rather than the name of a library. */
const isBareWord = (choice: string): boolean => isBareName(choice) && !choice.includes('.');

function refuseWord(choice: string): never {
  const meant = choice === '' ? undefined : nearest(choice, ['auto', 'off']);
  const got = choice === '' ? 'it is empty' : `there is no file ${choice}`;
  throw new UsageError('blas-not-found', `blas: ${got}${meant === undefined ? '' : `; did you mean "${meant}"?`}`, {
    fields: { file: choice },
    remedy: '--blas auto, --blas off or --blas PATH, that of a shared library',
  });
}

/** Native code that crashes takes the whole process with it: a process of its own loads and calls a library first. */
function openProven(file: string): Blas {
  loadKoffi();
  probeBlas(file);
  return openBlas(file);
}

/** Opens a library in this thread, as it is. `face`: C's where it has one, or Fortran's, which every BLAS has. */
export function openBlas(file: string, face: 'c' | 'fortran' = 'c'): Blas {
  const key = `${face} ${file}`;
  const known = opened.get(key);
  if (known) return known;
  const koffi = loadKoffi();
  askForOneThread();
  let library: Library;
  try {
    library = koffi.load(file);
  } catch (cause) {
    const why =
      isBareName(file) || !existsSync(file)
        ? ''
        : ' (the file is there: it, or what it needs, is of another kind or processor)';
    throw new UsageError('blas-not-found', `blas: cannot load ${file}: ${lineOf(cause)}${why}`, {
      fields: { file },
      remedy: `give the path of a shared library, or --blas auto; ${howToInstall()}`,
      cause,
    });
  }
  setOneThread(library);
  const blas: Blas = {
    file,
    version: versionOf(library, koffi),
    sgemm: sgemmOf(library, koffi, file, face),
    addressOf: (view) => Number(koffi.address(view)),
  };
  opened.set(key, blas);
  return blas;
}

function findInstalled(): Blas {
  const tried = candidates();
  let broken: PartitaError | undefined;
  for (const file of tried) {
    if (!isBareName(file) && !existsSync(file) && !isOfMacSystem(file)) continue;
    try {
      return openProven(file);
    } catch (error) {
      // Neither says anything about the library, nor would it of another.
      if (!(error instanceof PartitaError) || ['blas-koffi', 'blas-probe'].includes(error.code)) throw error;
      if (!error.code.startsWith('blas-no')) broken ??= error;
    }
  }
  if (broken) throw broken;
  throw new UsageError('blas-not-found', `blas: no BLAS library is installed; looked for ${tried.join(', ')}`, {
    fields: { tried },
    remedy: `${howToInstall()}; or give its path: --blas PATH`,
  });
}

/** Builds for threads first: where several are installed, the loader's own choice may be one that is not. */
function candidates(platform = process.platform, arch = process.arch): string[] {
  if (platform === 'darwin') {
    return [
      '/System/Library/Frameworks/Accelerate.framework/Accelerate',
      '/opt/homebrew/opt/openblas/lib/libopenblas.dylib',
      '/usr/local/opt/openblas/lib/libopenblas.dylib',
    ];
  }
  if (platform === 'win32') return ['libopenblas.dll', 'mkl_rt.2.dll'];
  const triplet = `/usr/lib/${arch === 'x64' ? 'x86_64' : arch === 'arm64' ? 'aarch64' : arch}-linux-gnu`;
  return [
    `${triplet}/openblas-pthread/libopenblas.so.0`,
    `${triplet}/openblas-openmp/libopenblas.so.0`,
    '/usr/lib64/libopenblasp.so.0',
    'libopenblas.so.0',
    'libopenblas.so',
    'libblis.so.4',
    'libblis.so',
    'libmkl_rt.so.2',
    'libmkl_rt.so',
  ];
}

const howToInstall = (): string =>
  process.platform === 'darwin'
    ? 'brew install openblas'
    : process.platform === 'win32'
      ? 'put libopenblas.dll on the PATH'
      : 'apt-get install libopenblas0-pthread';

function loadKoffi(): Koffi {
  try {
    return createRequire(import.meta.url)('koffi') as Koffi;
  } catch (cause) {
    throw new UsageError(
      'blas-koffi',
      `blas: native libraries are called by the optional package koffi, which does not load: ${lineOf(cause)}`,
      {
        remedy: 'npm install koffi, or --blas off',
        cause,
      },
    );
  }
}

const lineOf = (error: unknown): string => (error as Error).message.split('\n')[0]!;

/** Before a library starts threads of its own, which it may do while it loads. */
function askForOneThread(): void {
  for (const name of ['OPENBLAS_NUM_THREADS', 'BLIS_NUM_THREADS', 'MKL_NUM_THREADS', 'VECLIB_MAXIMUM_THREADS']) {
    process.env[name] = '1';
  }
}

/** Whatever the environment said when it was loaded, perhaps by others. */
function setOneThread(library: Library): void {
  for (const set of ['openblas_set_num_threads', 'bli_thread_set_num_threads', 'MKL_Set_Num_Threads']) {
    functionOf(library, `void ${set}(intptr_t)`)?.(1);
  }
}

function versionOf(library: Library, koffi: Koffi): string {
  const openblas = functionOf(library, 'str openblas_get_config()');
  if (openblas) return String(openblas()).trim();
  const blis = functionOf(library, 'str bli_info_get_version_str()');
  if (blis) return `BLIS ${String(blis()).trim()}`;
  const mkl = functionOf(library, 'void mkl_get_version_string(uintptr_t, int)');
  if (mkl) {
    const text = Buffer.alloc(200);
    mkl(Number(koffi.address(text)), text.length);
    return text.toString('latin1').replace(/\0.*$/s, '').trim();
  }
  return 'a BLAS that does not tell its version';
}

type Native = (...args: unknown[]) => unknown;

/** undefined where the library has no such symbol. */
function functionOf(library: Library, prototype: string): Native | undefined {
  try {
    return library.func(prototype) as Native;
  } catch {
    return undefined;
  }
}

// Of cblas.h.
const ROW_MAJOR = 101;
const NO_TRANSPOSE = 111;

/** By the C interface, or by Fortran's, whose matrices are by column: there ours are transposed, and so is their product. */
function sgemmOf(library: Library, koffi: Koffi, file: string, face: 'c' | 'fortran'): Sgemm {
  const c =
    face === 'c' &&
    functionOf(
      library,
      'void cblas_sgemm(int, int, int, int, int, int, float, uintptr_t, int, uintptr_t, int, float, uintptr_t, int)',
    );
  if (c) {
    return (transA, transB, m, n, k, a, lda, b, ldb, beta, at, ldc) => {
      c(ROW_MAJOR, NO_TRANSPOSE + transA, NO_TRANSPOSE + transB, m, n, k, 1, a, lda, b, ldb, beta, at, ldc);
    };
  }
  const fortran = functionOf(library, `void sgemm_(${Array<string>(13).fill('uintptr_t').join(', ')})`);
  if (!fortran) {
    throw new UsageError('blas-no-sgemm', `blas: ${file} has neither cblas_sgemm nor sgemm_`, {
      fields: { file },
      remedy: `give the path of a BLAS library; ${howToInstall()}`,
    });
  }
  // [m, n, k, lda, ldb, ldc, alpha, beta, 'N', 'T'], each by its address.
  const ints = new Int32Array(10);
  const floats = new Float32Array(ints.buffer);
  floats[6] = 1;
  ints[8] = 'N'.charCodeAt(0);
  ints[9] = 'T'.charCodeAt(0);
  const at = Array.from({ length: 10 }, (_, i) => Number(koffi.address(ints)) + 4 * i) as FortranArguments;
  const [M, N, K, LDA, LDB, LDC, ALPHA, BETA] = at;
  return (transA, transB, m, n, k, a, lda, b, ldb, beta, c, ldc) => {
    ints[0] = n;
    ints[1] = m;
    ints[2] = k;
    ints[3] = ldb;
    ints[4] = lda;
    ints[5] = ldc;
    floats[7] = beta;
    fortran(at[8 + transB], at[8 + transA], M, N, K, ALPHA, b, LDA, a, LDB, BETA, c, LDC);
  };
}

type FortranArguments = [number, number, number, number, number, number, number, number, ...number[]];
