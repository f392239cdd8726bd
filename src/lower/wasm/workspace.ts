/**
 * Exact scratch bytes of the matrix kernels. The same formulas as the exports of the WebAssembly module
 * (`workers/kernels/gemm.ts`), written again because lowering is pure: a test holds them to the exports.
 */
const rowBlock = 128;
/** Products are summed in blocks of so many; with no more of them there is one sum, which is then stored or added. */
export const depthBlock = 256;
const columnBlock = 1024;
const panel = 16;
/** One 2 × 16 tile of f32 for ragged edges. */
const edgeBytes = 128;

const roundUp = (n: number, to: number): number => Math.ceil(n / to) * to;

/** `[edge tile][packed B][packed A]`, for gemm and gemmBatched. */
export function gemmWorkspace(m: number, n: number, k: number): number {
  // Few rows: B is packed one panel at a time.
  const columns = roundUp(Math.min(n, m <= rowBlock ? panel : columnBlock), 8);
  const rows = roundUp(Math.min(m, rowBlock), 2);
  return edgeBytes + 4 * Math.min(k, depthBlock) * (columns + rows);
}

/** The same of products that share an A, of which a block of rows is packed at a time. */
export const packedWorkspace = (m: number, n: number, k: number): number => gemmWorkspace(Math.min(m, rowBlock), n, k);
