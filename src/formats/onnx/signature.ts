/**
 * What a node may say: the inputs, outputs and attributes that its operator has in the file's version of the operators. What
 * stands anywhere else is refused, as a rule would not look at it and the graph would compute something else than the file
 * says.
 *
 * Source: https://github.com/onnx/onnx/blob/main/docs/Changelog.md
 */
import { type FormatError, nearest } from '../../core/errors.ts';
import type { OnnxAttribute, OnnxNode } from './model.ts';
import { nodeError } from './problems.ts';

export type AttributeKind = Exclude<OnnxAttribute['kind'], 'reference' | 'other'>;

/** Versions of the operators in which something is there. */
interface Span {
  readonly since: number;
  /** undefined: still */
  readonly until?: number;
}

/** An attribute that the rules read, or that has no effect here. */
export interface AttributeRule extends Partial<Span> {
  readonly kind: AttributeKind;
  /** An integer that is 0 or 1. */
  readonly flag?: boolean;
  /** In the other versions a file may state this value, or a list of nothing else: it is what the operator does there anyway. */
  readonly plain?: number | string;
  /** The input that takes its place behind `until`. */
  readonly input?: number;
  /** Why no rule reads it. */
  readonly noEffect?: string;
}

/** An input or output by the schema's name. */
interface Place extends Span {
  readonly name: string;
  /** The last one: any number of them. */
  readonly variadic: boolean;
}

export interface Signature extends Span {
  readonly inputs: readonly Place[];
  readonly outputs: readonly Place[];
  readonly attributes: Readonly<Record<string, AttributeRule>>;
  /** What took its place behind `until`. */
  readonly successor?: string;
}

/** `X pads@11 saved@-13 rest…`: names, each with the first version or (behind a −) the last one that has it. */
export function places(text: string): readonly Place[] {
  return text.split(' ').flatMap((word) => {
    if (word === '') return [];
    const [, name, last, version, more] = /^(\w+)(?:@(-?)(\d+))?(…?)$/.exec(word)!;
    const span = last ? { since: 1, until: Number(version) } : { since: Number(version ?? 1) };
    return [{ name: name!, variadic: more === '…', ...span }];
  });
}

const isIn = ({ since = 1, until = Number.POSITIVE_INFINITY }: Partial<Span>, version: number): boolean =>
  version >= since && version <= until;

/** Before version 6 an attribute that was a hint to reuse memory, of many operators. */
const consumedInputs = 'consumed_inputs';
const lastConsuming = 5;

/**
 * Throws FormatError where a node has what its operator does not have in this version of the operators. `attributes`: its
 * own, references to those of a function resolved.
 */
export function checkSignature(
  node: OnnxNode,
  signature: Signature,
  attributes: ReadonlyMap<string, OnnxAttribute>,
  opset: number,
): void {
  checkVersion(node, signature, opset);
  for (const [name, attribute] of attributes) checkAttribute(node, signature, name, attribute, opset);
  const moved = Object.entries(signature.attributes).filter(([, { input }]) => input !== undefined);
  const attributeFor = new Map(moved.map(([name, { input }]) => [input!, name]));
  checkPlaces(node, node.inputs, signature.inputs, opset, 'input', attributeFor);
  checkPlaces(node, node.outputs, signature.outputs, opset, 'output', new Map());
}

function checkVersion(node: OnnxNode, { since, until, successor }: Signature, opset: number): void {
  if (opset < since) {
    throw nodeError(node, `the operator came with version ${since} of the operators, and the file uses ${opset}`, {
      fields: { opset, since },
      remedy: `onnx.version_converter.convert_version(model, ${since})`,
    });
  }
  if (until !== undefined && opset > until) {
    throw nodeError(node, `the operator was last in version ${until} of the operators, and the file uses ${opset}`, {
      fields: { opset, until },
      remedy: `${successor} takes its place`,
    });
  }
}

/** An attribute that is none of those that its operator or function, `whose`, has. */
export function unknownAttribute(
  node: OnnxNode,
  name: string,
  attribute: OnnxAttribute,
  known: readonly string[],
  whose: string,
): FormatError {
  const value = textOf(attribute);
  const near = nearest(name, known);
  const hint = near ? `; did you mean "${near}"?` : '';
  return nodeError(node, `attribute ${name} (${value}) is none of ${whose}'s, and would be ignored${hint}`, {
    fields: { attribute: name, value, attributes: known, nearest: near ?? null },
    remedy: near ? `call it ${near}` : 'leave it out, if the model is right without it',
  });
}

function checkAttribute(
  node: OnnxNode,
  signature: Signature,
  name: string,
  attribute: OnnxAttribute,
  opset: number,
): void {
  const value = textOf(attribute);
  const fields = { attribute: name, value, opset };
  const rule = Object.hasOwn(signature.attributes, name) ? signature.attributes[name]! : undefined;
  if (!rule) {
    if (name === consumedInputs && opset <= lastConsuming) return;
    throw unknownAttribute(node, name, attribute, Object.keys(signature.attributes), 'the operator');
  }
  if (attribute.kind !== rule.kind) {
    throw nodeError(node, `attribute ${name} is of kind ${attribute.kind}, and ${rule.kind} belongs there`, {
      fields: { ...fields, kind: attribute.kind, expected: rule.kind },
      remedy: `write it as ${rule.kind}`,
    });
  }
  if (rule.flag && attribute.value !== 0 && attribute.value !== 1) {
    throw nodeError(node, `attribute ${name} is ${value}, and 0 or 1 belongs there`, {
      fields: { ...fields, expected: [0, 1] },
      remedy: `${name} = 1, if that is meant`,
    });
  }
  if (isIn(rule, opset) || isPlain(attribute, rule)) return;
  const { since = 1, until, input } = rule;
  if (opset < since) {
    throw nodeError(
      node,
      `attribute ${name} came with version ${since} of the operators, and the file uses ${opset}: ${value} would be ignored`,
      {
        fields: { ...fields, since },
        remedy: `onnx.version_converter.convert_version(model, ${since}), or leave it out`,
      },
    );
  }
  const instead =
    input === undefined
      ? `attribute ${name} (${value}) was last in version ${until} of the operators, and the file uses ${opset}`
      : `in version ${opset} of the operators ${name} is input ${input}, and it is given as an attribute`;
  throw nodeError(node, instead, {
    fields: { ...fields, until },
    remedy: input === undefined ? 'leave it out' : `give it as input ${input}, or state version ${until}`,
  });
}

const isPlain = ({ value }: OnnxAttribute, { plain }: AttributeRule): boolean =>
  plain !== undefined && (Array.isArray(value) ? value.every((v) => v === plain) : value === plain);

function checkPlaces(
  node: OnnxNode,
  given: readonly string[],
  known: readonly Place[],
  opset: number,
  kind: 'input' | 'output',
  attributeFor: ReadonlyMap<number, string>,
): void {
  const last = known.at(-1);
  given.forEach((value, i) => {
    if (value === '') {
      if (kind === 'output' || !last?.variadic || i < known.length - 1) return;
      throw nodeError(node, `input ${i} is left out, and none of ${last.name} may be`, {
        fields: { input: i, opset },
        remedy: 'list those that there are',
      });
    }
    const place = known[i] ?? (last?.variadic ? last : undefined);
    if (place && isIn(place, opset)) return;
    const fields = { [kind]: i, value, opset };
    const attribute = attributeFor.get(i);
    if (place && attribute !== undefined) {
      throw nodeError(
        node,
        `in version ${opset} of the operators ${attribute} is an attribute, and it is given as input ${i}`,
        { fields, remedy: `give it as an attribute, or state version ${place.since}` },
      );
    }
    const what = !place
      ? `the operator has no ${kind} ${i} ("${value}")`
      : place.until === undefined
        ? `${place.name} (${kind} ${i}) came with version ${place.since} of the operators, and the file uses ${opset}`
        : `${place.name} (${kind} ${i}) was last in version ${place.until} of the operators, and the file uses ${opset}`;
    throw nodeError(node, what, { fields, remedy: `leave ${kind} ${i} out` });
  });
}

/** An attribute's value in an error: files may hold any. */
function textOf(attribute: OnnxAttribute): string {
  switch (attribute.kind) {
    case 'float':
    case 'int':
      return String(attribute.value);
    case 'string':
      return JSON.stringify(short(attribute.value));
    case 'ints':
    case 'floats':
    case 'strings': {
      const shown = attribute.value.slice(0, 8).map((v) => (typeof v === 'string' ? JSON.stringify(short(v)) : v));
      return `[${shown.join(', ')}${attribute.value.length > shown.length ? ', …' : ''}]`;
    }
    case 'tensor':
      return `a tensor ${attribute.value.dtype}[${attribute.value.dims.join(', ')}]`;
    case 'graph':
      return 'a graph';
    default:
      return `a ${attribute.kind} ${short(attribute.value)}`;
  }
}

const short = (text: string): string => (text.length > 80 ? `${text.slice(0, 80)}…` : text);
