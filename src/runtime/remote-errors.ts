import * as Comlink from 'comlink';
import { DeviceError, FormatError, GraphError, PartitaError, PlanError, UsageError } from '../core/errors.ts';
import { StepAborted } from './control.ts';

/**
 * Comlink carries only name, message and stack of an error. This transfer handler keeps class, code, fields, remedy and
 * cause. Import it on both sides.
 */
interface Wire {
  readonly isError: boolean;
  readonly value?: unknown;
  readonly name?: string;
  readonly message?: string;
  readonly stack?: string;
  readonly own?: Record<string, unknown>;
  readonly cause?: Wire;
}

const classes: Record<string, { prototype: Error }> = {
  PartitaError,
  UsageError,
  GraphError,
  FormatError,
  PlanError,
  DeviceError,
  StepAborted,
};

function serialize(value: unknown): Wire {
  if (!(value instanceof Error)) return { isError: false, value };
  return {
    isError: true,
    name: value.name,
    message: value.message,
    stack: value.stack,
    own: { ...value } as Record<string, unknown>,
    cause: value.cause === undefined ? undefined : serialize(value.cause),
  };
}

function deserialize(wire: Wire): unknown {
  if (!wire.isError) return wire.value;
  const known = classes[wire.name ?? ''];
  const error: Error = known ? Object.create(known.prototype) : new Error(wire.message);
  const define = (key: string, value: unknown) =>
    Object.defineProperty(error, key, { value, configurable: true, writable: true, enumerable: false });
  define('message', wire.message);
  define('stack', wire.stack);
  define('name', wire.name);
  if (wire.cause) define('cause', deserialize(wire.cause));
  const { name: _, ...own } = wire.own ?? {};
  return Object.assign(error, own);
}

interface Thrown {
  readonly value: unknown;
}
const standard = Comlink.transferHandlers.get('throw')!;
Comlink.transferHandlers.set('throw', {
  canHandle: standard.canHandle as (value: unknown) => value is Thrown,
  serialize: (thrown: Thrown): [Wire, Transferable[]] => [serialize(thrown.value), []],
  deserialize: (wire: Wire): never => {
    throw deserialize(wire);
  },
} as Comlink.TransferHandler<Thrown, Wire>);
