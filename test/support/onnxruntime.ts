/** onnxruntime as an outside reader of our files. It is native code: where it does not load, `skipped` says why. */
import type { DType, HostTensor } from '../../src/core/types.ts';

type Runtime = typeof import('onnxruntime-node');

const loaded: { readonly runtime: Runtime } | { readonly why: string } = await import('onnxruntime-node').then(
  (module) => ({ runtime: ((module as { default?: Runtime }).default ?? module) as Runtime }),
  (error: Error) => ({ why: `onnxruntime-node does not load here: ${error.message.split('\n')[0]}` }),
);

/** Why tests with onnxruntime do not run; undefined: they do. */
export const skipped: string | undefined = 'why' in loaded ? loaded.why : undefined;
if (skipped) console.warn(skipped);

export interface RuntimeTensor {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data: Float64Array;
}

/** Runs a file. Integers are fed as the file declares them. */
export async function runOnnx(
  file: Uint8Array,
  feeds: Readonly<Record<string, HostTensor>>,
  integers: 'int64' | 'int32' = 'int64',
): Promise<Map<string, RuntimeTensor>> {
  if ('why' in loaded) throw new Error(loaded.why);
  const { InferenceSession, Tensor } = loaded.runtime;
  // One thread: nothing here is large enough for more. Errors come as exceptions.
  const session = await InferenceSession.create(file, { logSeverityLevel: 4, intraOpNumThreads: 1 });
  const names: Readonly<Record<DType, string>> = { f32: 'float32', i32: integers, bool: 'bool' };
  const given = Object.entries(feeds)
    .filter(([name]) => session.inputNames.includes(name))
    .map(([name, { type, data }]) => {
      const wide = type.dtype === 'i32' && integers === 'int64';
      const values = wide ? BigInt64Array.from(data as Int32Array, BigInt) : data;
      return [name, new Tensor(names[type.dtype] as 'float32', values as Float32Array, type.shape)] as const;
    });
  const results = await session.run(Object.fromEntries(given));
  return new Map(
    session.outputNames.map((name: string) => {
      const { type, dims, data } = results[name]!;
      return [name, { dtype: type, shape: dims, data: Float64Array.from(data as ArrayLike<number>, Number) }];
    }),
  );
}
