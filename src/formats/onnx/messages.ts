/**
 * ONNX's message definitions and protobuf, loaded with the first file that is read or written: they take 11 MiB, which
 * programs without such a file need not have. By `require`, so that reading and writing wait for nothing.
 */
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { packageRoot } from '../../core/package-root.ts';
import type * as Messages from './protobuf.ts';

let loaded: typeof Messages | undefined;

export function messages(): typeof Messages {
  loaded ??= createRequire(import.meta.url)(
    join(packageRoot(), 'dist', 'formats', 'onnx', 'protobuf.cjs'),
  ) as typeof Messages;
  return loaded;
}
