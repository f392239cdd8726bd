/**
 * NumPy's .npy files, versions 1 and 2, little-endian, C order.
 *
 *     \x93NUMPY  major minor  header length (u16, in version 2 u32)  {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }
 */
import { FormatError } from '../core/errors.ts';
import type { HostTensor } from '../core/types.ts';
import { type RawDType, type RawTensor, rawBytesPerElement, rawOf } from './raw-tensor.ts';

const magic = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59];

const dtypes: Readonly<Record<string, RawDType>> = {
  '<f4': 'F32',
  '<f8': 'F64',
  '<f2': 'F16',
  '<i4': 'I32',
  '<i8': 'I64',
  '<i2': 'I16',
  '|i1': 'I8',
  '<u4': 'U32',
  '<u8': 'U64',
  '<u2': 'U16',
  '|u1': 'U8',
  '|b1': 'BOOL',
};

/** The array as a view of `bytes`; `toHostTensor` converts it. */
export function readNpy(bytes: Uint8Array, where: string): RawTensor {
  const fail = (code: string, what: string, remedy?: string) =>
    new FormatError(`npy-${code}`, `${where}: ${what}`, {
      fields: { file: where },
      remedy: remedy ?? "save the array again: np.save('x.npy', array)",
    });
  if (bytes.length < 12 || magic.some((byte, i) => bytes[i] !== byte)) {
    const isZip = bytes[0] === 0x50 && bytes[1] === 0x4b; // 'PK'
    throw fail('magic', 'not a .npy file', isZip ? 'an .npz holds .npy files: unzip it' : undefined);
  }
  const version = bytes[6]!;
  if (version !== 1 && version !== 2) throw fail('version', `version ${version}.${bytes[7]}; 1 and 2 are read`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const start = version === 1 ? 10 : 12;
  const end = start + (version === 1 ? view.getUint16(8, true) : view.getUint32(8, true));
  if (end > bytes.length) throw fail('header', `the header claims to end at byte ${end} of ${bytes.length}`);
  const header = new TextDecoder('latin1').decode(bytes.subarray(start, end));

  const descr = /'descr':\s*'([^']*)'/.exec(header)?.[1];
  const order = /'fortran_order':\s*(True|False)/.exec(header)?.[1];
  const sizes = /'shape':\s*\(([\d\s,]*)\)/.exec(header)?.[1];
  if (descr === undefined || order === undefined || sizes === undefined) {
    throw fail('header', `the header lacks descr, fortran_order or shape: ${header.trim().slice(0, 120)}`);
  }
  const dtype = Object.hasOwn(dtypes, descr) ? dtypes[descr]! : undefined;
  if (dtype === undefined) {
    throw fail(
      'dtype',
      `dtype '${descr}'; ${Object.keys(dtypes).join(', ')} are read`,
      `array.astype('${nativeOf(descr)}')`,
    );
  }
  const shape = sizes.split(',').flatMap((size) => (size.trim() === '' ? [] : [Number(size)]));
  if (order === 'True' && shape.length > 1) {
    throw fail('order', 'the array is in Fortran order', 'np.save(path, np.ascontiguousarray(array))');
  }
  const needed = shape.reduce((n, d) => n * d, rawBytesPerElement[dtype]);
  if (needed !== bytes.length - end) {
    throw fail('size', `'${descr}' (${shape.join(', ')}) needs ${needed} bytes, the file holds ${bytes.length - end}`);
  }
  return { dtype, shape, bytes: bytes.subarray(end) };
}

/** The type to save instead: of integers of another order of bytes, the same in this one. */
function nativeOf(descr: string): string {
  const same = `<${descr.slice(1)}`;
  if (Object.hasOwn(dtypes, same)) return same;
  return /^.[iub]/.test(descr) ? '<i4' : '<f4';
}

/** Version 1 (2 where the header is long), data aligned to 64 bytes as NumPy does. */
export function writeNpy(tensor: RawTensor | HostTensor): Uint8Array {
  const { dtype, shape, bytes } = 'type' in tensor ? rawOf(tensor) : tensor;
  const descr = Object.keys(dtypes).find((key) => dtypes[key] === dtype);
  if (descr === undefined) {
    throw new FormatError('npy-dtype', `${dtype} cannot be written as .npy`, { fields: { dtype } });
  }
  const sizes = shape.length === 1 ? `${shape[0]},` : shape.join(', ');
  const text = `{'descr': '${descr}', 'fortran_order': False, 'shape': (${sizes}), }`;
  const version = text.length < 65_000 ? 1 : 2;
  const start = version === 1 ? 10 : 12;
  const end = Math.ceil((start + text.length + 1) / 64) * 64;
  const out = new Uint8Array(end + bytes.length);
  out.set([...magic, version, 0]);
  const view = new DataView(out.buffer);
  if (version === 1) view.setUint16(8, end - start, true);
  else view.setUint32(8, end - start, true);
  out.set(new TextEncoder().encode(`${text.padEnd(end - start - 1)}\n`), start);
  out.set(bytes, end);
  return out;
}
