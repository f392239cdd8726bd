/**
 * Views: values that are bytes of another value, and are not copied.
 *
 *     slice      base  ▒▒▒▒████▒▒▒▒        a slice along leading axes is a run of its base's bytes: it reads them there
 *     join       p0 ███ p1 ██              what is joined along a leading axis is written by its producers where the
 *                y  ███████                joined value has it
 *
 * A view's bytes stay where they are for as long as it is read, so all of the base does: a view is taken where the bytes
 * alive do not rise above the device's peak by it, and so never costs memory. It saves the copy and, at the peak, its bytes.
 *
 * [1] nobody writes over the base while a view of it is read. [2] An output that has taken over a slice's bytes is written
 * into the base, where nothing reads those bytes any more, neither through the base nor through another view.
 * [3] A base whose own bytes are taken over is taken over behind its views' lives. [4] A joined value is complete when its
 * last producer has run, and lives from the first one's write.
 */
import { copiesOf } from '../lower/kernel-call.ts';
import { type Buffer, type ComputeInstruction, type DeviceProgram, touches } from './instruction.ts';
import { liveBytes, mostAlive, takeovers } from './lifetimes.ts';

/** Word by word is how memory is filled, sent and counted; rows of bools may begin elsewhere, and are copied. */
const VIEW_ALIGNMENT = 4;

export function shareBytes(program: DeviceProgram): DeviceProgram {
  const moves = program.instructions.flatMap((instruction, at) =>
    instruction.kind === 'compute' ? (moveOf(instruction, at, program.buffers) ?? []) : [],
  );
  return moves.length === 0 ? program : new Sharing(program).share(moves);
}

/** An instruction that does nothing but put runs of bytes one behind the other. */
interface Move {
  readonly at: number;
  readonly output: number;
  readonly parts: readonly {
    readonly buffer: number;
    readonly from: number;
    readonly to: number;
    readonly bytes: number;
  }[];
}

function moveOf({ parts, outputs, overwrites }: ComputeInstruction, at: number, buffers: readonly Buffer[]) {
  const part = parts[0]!;
  if (parts.length !== 1 || part.repeat !== 1 || outputs.length !== 1 || overwrites !== null) return undefined;
  const copies = copiesOf(part.calls);
  if (!copies?.length) return undefined;
  const [output] = outputs as [number];
  const moved: Move['parts'][number][] = [];
  let filled = 0;
  for (const { bytes, from, to } of copies) {
    if (!('input' in from) || !('output' in to) || (to.plus ?? 0) !== filled) return undefined;
    const place = part.inputs[from.input]!;
    moved.push({ buffer: place.buffer, from: place.plus + (from.plus ?? 0), to: filled, bytes });
    filled += bytes;
  }
  const isWhole = filled === buffers[output]!.bytes && part.outputs[0]!.plus === 0;
  const isAligned = moved.every(({ from, to }) => from % VIEW_ALIGNMENT === 0 && to % VIEW_ALIGNMENT === 0);
  return isWhole && isAligned ? ({ at, output, parts: moved } satisfies Move) : undefined;
}

/** Buffers one behind the other in the same bytes, alive from `first` to `last`. */
interface Chain {
  readonly members: number[];
  readonly first: number;
  readonly last: number;
  /** Where the second member writes over the first. */
  readonly overwritten: number;
}

/** A slice that may become a view: it and what takes over its bytes, at `plus` of the owner. */
interface Slice {
  readonly at: number;
  readonly owner: number;
  readonly plus: number;
  readonly bytes: number;
  readonly chain: Chain;
}

/** Lists of instructions, one a buffer, in one array: first all are counted, then added. */
class InstructionRows {
  readonly #start: Int32Array;
  #next = new Int32Array(0);
  #items = new Int32Array(0);

  constructor(buffers: number) {
    this.#start = new Int32Array(buffers + 1);
  }

  count(id: number): void {
    this.#start[id + 1]!++;
  }

  allCounted(): void {
    const start = this.#start;
    for (let id = 1; id < start.length; id++) start[id]! += start[id - 1]!;
    this.#next = start.slice();
    this.#items = new Int32Array(start.at(-1)!);
  }

  add(id: number, at: number): void {
    this.#items[this.#next[id]!++] = at;
  }

  of(id: number): Int32Array {
    return this.#items.subarray(this.#start[id], this.#start[id + 1]);
  }
}

/** Instructions that touch each buffer, once each, and that write it, in order. */
function instructionsOf({ buffers, instructions }: DeviceProgram) {
  const [touched, written] = [new InstructionRows(buffers.length), new InstructionRows(buffers.length)];
  const last = new Int32Array(buffers.length);
  const visit = (touch: (id: number, at: number) => void, write: (id: number, at: number) => void): void => {
    last.fill(-1);
    instructions.forEach((instruction, at) => {
      const { reads, writes } = touches(instruction);
      for (const ids of [reads, writes]) {
        for (const id of ids) {
          if (last[id] !== at) touch(id, at);
          last[id] = at;
        }
      }
      for (const id of writes) write(id, at);
    });
  };
  visit(
    (id) => touched.count(id),
    (id) => written.count(id),
  );
  for (const rows of [touched, written]) rows.allCounted();
  visit(
    (id, at) => touched.add(id, at),
    (id, at) => written.add(id, at),
  );
  return { touched, written };
}

class Sharing {
  readonly #program: DeviceProgram;
  readonly #live: Float64Array;
  readonly #peak: number;
  /** Instructions that touch a buffer, and those of them that write it, in order. */
  readonly #touched: InstructionRows;
  readonly #written: InstructionRows;
  readonly #over: ReadonlyMap<number, number>;
  readonly #under: ReadonlyMap<number, number>;
  readonly #views = new Map<number, { readonly of: number; readonly plus: number }>();
  readonly #slices = new Map<number, Slice[]>();
  /** Of owners of views: the last instruction by which they are alive. */
  readonly #ends = new Map<number, number>();
  readonly #removed = new Set<number>();

  constructor(program: DeviceProgram) {
    this.#program = program;
    this.#live = liveBytes(program);
    this.#peak = mostAlive(program);
    const { touched, written } = instructionsOf(program);
    this.#touched = touched;
    this.#written = written;
    this.#over = takeovers(program);
    this.#under = new Map([...this.#over].map(([output, input]) => [input, output]));
  }

  share(moves: readonly Move[]): DeviceProgram {
    const slices = new Map<number, Move[]>();
    for (const move of moves) {
      if (move.parts.length > 1) continue;
      const { buffer } = move.parts[0]!;
      const list = slices.get(buffer);
      if (list) list.push(move);
      else slices.set(buffer, [move]);
    }
    for (const move of moves) {
      if (move.parts.length > 1) this.#join(move);
      else {
        const { buffer } = move.parts[0]!;
        this.#cut(slices.get(buffer) ?? []);
        slices.delete(buffer);
      }
    }
    return this.#removed.size === 0 ? this.#program : this.#result();
  }

  /** All slices of one value, or those of them whose views fit: the ones that are read longest stay copies. */
  #cut(moves: readonly Move[]): void {
    let list = moves.flatMap((move) => this.#sliceOf(move) ?? []).sort((a, b) => a.chain.last - b.chain.last);
    while (list.length > 0) {
      const change = this.#changeOf(list);
      if (change) {
        this.#accept(change);
        const [{ owner }] = list as [Slice];
        for (const { at, chain, plus } of list) {
          this.#removed.add(at);
          for (const id of chain.members) this.#views.set(id, { of: owner, plus });
        }
        this.#slices.set(owner, [...(this.#slices.get(owner) ?? []), ...list]);
        this.#ends.set(owner, this.#endOf(owner));
        return;
      }
      list = list.slice(0, list.length - Math.ceil(list.length / 8));
    }
  }

  #sliceOf({ at, output, parts: [part] }: Move): Slice | undefined {
    const chain = this.#chainFrom(output);
    const view = this.#views.get(part!.buffer);
    const owner = view?.of ?? part!.buffer;
    const isParameter = this.#program.buffers[owner]!.persistent !== null;
    if (!chain || (isParameter && chain.members.length > 1)) return undefined;
    // [1]
    if (this.#written.of(owner).some((w) => w > at && w <= chain.last)) return undefined;
    return { at, owner, plus: part!.from + (view?.plus ?? 0), bytes: part!.bytes, chain };
  }

  /** undefined where one of its values is written more than once, or is a view or an owner of views already. */
  #chainFrom(first: number): Chain | undefined {
    const members = [first];
    for (let id = this.#under.get(first); id !== undefined; id = this.#under.get(id)) members.push(id);
    const isPlain = members.every(
      (id) =>
        this.#written.of(id).length === 1 &&
        this.#program.buffers[id]!.persistent === null &&
        !this.#views.has(id) &&
        !this.#ends.has(id),
    );
    if (!isPlain) return undefined;
    const overwritten = members.length > 1 ? this.#written.of(members[1]!)[0]! : Number.POSITIVE_INFINITY;
    return {
      members,
      first: this.#touched.of(first)[0]!,
      last: this.#touched.of(members.at(-1)!).at(-1)!,
      overwritten,
    };
  }

  /** What becomes of the bytes alive where these slices of one owner are views; undefined where they may not be. */
  #changeOf(list: readonly Slice[]): Change[] | undefined {
    const [{ owner }] = list as [Slice];
    const views = [...(this.#slices.get(owner) ?? []), ...list];
    const lastRead = views.reduce((last, { chain }) => Math.max(last, chain.last), 0);
    // [3]
    const heir = this.#under.get(owner);
    if (heir !== undefined && this.#written.of(heir)[0]! <= lastRead) return undefined;
    // [2]
    const named = this.#lastNamed(owner, list);
    for (const a of views) {
      if (named >= a.chain.overwritten) return undefined;
      for (const b of views) {
        const overlap = a !== b && a.plus < b.plus + b.bytes && b.plus < a.plus + a.bytes;
        if (overlap && b.chain.last >= a.chain.overwritten) return undefined;
      }
    }
    const changes: Change[] = list.map(({ bytes, chain }) => ({ bytes: -bytes, first: chain.first, last: chain.last }));
    const { bytes, persistent } = this.#program.buffers[owner]!;
    if (persistent === null && heir === undefined) {
      const [before, after] = [this.#ends.get(owner) ?? this.#lastOf(owner), Math.max(named, lastRead)];
      if (after > before) changes.push({ bytes, first: before + 1, last: after });
      if (after < before) changes.push({ bytes: -bytes, first: after + 1, last: before });
    }
    return this.#fits(changes) ? changes : undefined;
  }

  /** The last instruction that names a buffer itself, and stays. */
  #lastNamed(id: number, list: readonly Slice[]): number {
    const gone = new Set(list.map(({ at }) => at));
    return this.#touched.of(id).findLast((at) => !gone.has(at) && !this.#removed.has(at)) ?? -1;
  }

  /** As lifetimes have it without views. */
  #lastOf(id: number): number {
    const heir = this.#under.get(id);
    return heir === undefined ? this.#touched.of(id).at(-1)! : this.#written.of(heir)[0]! - 1;
  }

  /** With the views that it has. */
  #endOf(owner: number): number {
    const views = this.#slices.get(owner)!;
    return views.reduce((last, { chain }) => Math.max(last, chain.last), this.#lastNamed(owner, []));
  }

  #join({ at, output, parts }: Move): void {
    const { buffers, instructions } = this.#program;
    const joined = this.#chainFrom(output);
    if (!joined || new Set(parts.map((p) => p.buffer)).size < parts.length) return;
    const chains = parts.map(({ buffer, from, bytes }): Chain | undefined => {
      let first = buffer;
      for (let id = this.#over.get(first); id !== undefined; id = this.#over.get(first)) first = id;
      const chain = this.#chainFrom(first);
      // It dies here, all of it is taken, and a kernel has made it: what arrives from elsewhere has a place of its own.
      const isMade = chain && instructions[chain.first]!.kind === 'compute';
      return isMade &&
        chain.last === at &&
        chain.members.at(-1) === buffer &&
        from === 0 &&
        bytes === buffers[buffer]!.bytes
        ? chain
        : undefined;
    });
    if (chains.includes(undefined)) return;
    const made = chains as Chain[];
    const first = Math.min(...made.map((chain) => chain.first));
    const changes: Change[] = made.map((chain, i) => ({ bytes: -parts[i]!.bytes, first: chain.first, last: at }));
    changes.push({ bytes: buffers[output]!.bytes, first, last: at - 1 });
    if (!this.#fits(changes)) return;
    this.#accept(changes);
    this.#removed.add(at);
    // [4]
    made.forEach(({ members }, i) => {
      for (const id of members) this.#views.set(id, { of: output, plus: parts[i]!.to });
    });
    this.#ends.set(output, this.#lastOf(output));
  }

  /** Nowhere do more bytes live than at the device's peak, or than lived there before. */
  #fits(changes: readonly Change[]): boolean {
    const from = Math.min(...changes.map(({ first }) => first));
    const sums = differences(changes, from);
    return sums.every((more, i) => more <= 0 || this.#live[from + i]! + more <= this.#peak);
  }

  #accept(changes: readonly Change[]): void {
    const from = Math.min(...changes.map(({ first }) => first));
    differences(changes, from).forEach((more, i) => {
      this.#live[from + i]! += more;
    });
  }

  #result(): DeviceProgram {
    const saved = new Set<number>();
    for (const [id, { of }] of this.#views) {
      if (this.#program.buffers[id]!.category === 'savedActivations') saved.add(of);
    }
    const buffers = this.#program.buffers.map((buffer): Buffer => {
      const view = this.#views.get(buffer.id);
      if (view) return { ...buffer, view };
      const isKept = saved.has(buffer.id) && (buffer.category === 'temporaries' || buffer.category === 'communication');
      return isKept ? { ...buffer, category: 'savedActivations' } : buffer;
    });
    const instructions = this.#program.instructions
      .filter((_, at) => !this.#removed.has(at))
      .map((i) => (i.kind === 'compute' && this.#views.has(i.outputs[0]!) ? { ...i, overwrites: null } : i));
    return { ...this.#program, buffers, instructions };
  }
}

/** Bytes that begin or end to be alive between two instructions. */
interface Change {
  readonly bytes: number;
  readonly first: number;
  readonly last: number;
}

/** What changes make of the bytes alive at each instruction from `from` on. */
function differences(changes: readonly Change[], from: number): number[] {
  const to = Math.max(...changes.map(({ last }) => last));
  const sums = new Array<number>(to - from + 2).fill(0);
  for (const { bytes, first, last } of changes) {
    sums[first - from]! += bytes;
    sums[last + 1 - from]! -= bytes;
  }
  for (let i = 1; i < sums.length; i++) sums[i]! += sums[i - 1]!;
  return sums.slice(0, -1);
}
