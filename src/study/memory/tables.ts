import type { PeakCategory } from '../../memory/categories.ts';
import { type MemoryCategory, memoryCategories } from '../../program/instruction.ts';
import type { Value } from '../table-file.ts';

/** `training`: a step with its update. `prediction`: the model's outputs alone, planned by itself. */
export const purposes = ['training', 'prediction'] as const;
export type Purpose = (typeof purposes)[number];

/** The swept keys' values, a column each: `sweep.microbatches`, `sweep.model.layers`. */
export type SweptValues = Readonly<Record<`sweep.${string}`, Value>>;

/** What tells one layout of this study from another. */
export type MemoryKey = SweptValues & {
  /** `microbatches 4, schedule gpipe`; empty where nothing is swept. */
  readonly layout: string;
  readonly purpose: Purpose;
};

/** One layout as a whole. */
export type MemoryLayoutRow = MemoryKey & {
  readonly batch: number;
  readonly microbatches: number;
  readonly devices: number;
  readonly stages: number;
  readonly schedule: string;
  readonly partition: string;
  /** The experiment's mode; null where there is no backward pass. */
  readonly recompute: string | null;
  /** FLOPs of a step that are computed again. */
  readonly flopsAgain: number;
  /** null where nothing is updated. */
  readonly optimizer: string | null;
  /** Scalars of the model's parameters. */
  readonly parameterCount: number;
  readonly fits: boolean;
  readonly stepSecondsPredicted: number;
  /** Of the fullest device. */
  readonly peakBytes: number;
  readonly peakBytesMeasured: number | null;
  /** Over all devices. */
  readonly sumOfPeakBytes: number;
  readonly naiveSumBytes: number;
  /** Each device's most saved activations at any time, summed. */
  readonly savedBytes: number;
  /** Largest of the devices' layout heights over their most live bytes. */
  readonly heightOverMaxLive: number;
  /** Formulas that people use elsewhere (`formulas.ts`), in bytes; null where one does not apply. */
  readonly statesFormulaBytes: number;
  readonly korthikanti16Bytes: number | null;
  readonly korthikantiF32Bytes: number | null;
  readonly textbookBytes: number | null;
};

/** One device of one layout. */
export type MemoryDeviceRow = MemoryKey &
  Readonly<Record<PeakCategory, number>> & {
    readonly device: number;
    /** `0`, or `0 3`. */
    readonly stages: string;
    readonly peakBytes: number;
    readonly peakBytesMeasured: number | null;
    readonly capacityBytes: number | null;
    readonly maxLiveBytes: number;
    readonly heightOverMaxLive: number;
    readonly layoutWasteBytes: number;
    readonly naiveSumBytes: number;
    /** When the live bytes are most, and at which instruction. */
    readonly peakSeconds: number;
    readonly peakInstruction: number;
    readonly peakAt: string;
  };

/** The live bytes of a device from a time on. */
export type MemoryTimeRow = MemoryKey &
  Readonly<Record<MemoryCategory, number>> & {
    readonly device: number;
    readonly seconds: number;
    readonly instruction: number;
    readonly liveBytes: number;
    /** End of the highest value alive. */
    readonly reachBytes: number;
  };

/** A tensor that holds a device's peak. */
export type MemoryHolderRow = MemoryKey & {
  readonly device: number;
  readonly tensor: string;
  /** `f32[16, 64]`; null for workspaces and for what several smaller ones sum to. */
  readonly type: string | null;
  readonly bytes: number;
  readonly category: string;
  /** Instructions between which it lives. */
  readonly first: number | null;
  readonly last: number | null;
  readonly from: string | null;
  readonly to: string | null;
  readonly why: string;
};

export interface MemoryTables {
  readonly layouts: readonly MemoryLayoutRow[];
  readonly devices: readonly MemoryDeviceRow[];
  readonly holders: readonly MemoryHolderRow[];
  readonly overTime: readonly MemoryTimeRow[];
}

export type MemoryColumns = { readonly [name in keyof MemoryTables]: readonly (keyof MemoryTables[name][number])[] };

/** Columns of all tables; the swept keys have one each. */
export function memoryColumns(swept: readonly string[]): MemoryColumns {
  const key = ['layout', 'purpose', ...swept.map((k) => `sweep.${k}` as const)] as const;
  return {
    layouts: [
      ...key,
      ...(['batch', 'microbatches', 'devices', 'stages', 'schedule', 'partition'] as const),
      ...(['recompute', 'flopsAgain', 'optimizer'] as const),
      ...(['parameterCount', 'fits', 'stepSecondsPredicted', 'peakBytes', 'peakBytesMeasured'] as const),
      ...(['sumOfPeakBytes', 'naiveSumBytes', 'savedBytes', 'heightOverMaxLive'] as const),
      ...(['statesFormulaBytes', 'korthikanti16Bytes', 'korthikantiF32Bytes', 'textbookBytes'] as const),
    ],
    devices: [
      ...key,
      ...(['device', 'stages', 'peakBytes', 'peakBytesMeasured', 'capacityBytes'] as const),
      ...memoryCategories,
      ...(['padding', 'maxLiveBytes', 'heightOverMaxLive', 'layoutWasteBytes', 'naiveSumBytes'] as const),
      ...(['peakSeconds', 'peakInstruction', 'peakAt'] as const),
    ],
    holders: [
      ...key,
      ...(['device', 'tensor', 'type', 'bytes', 'category', 'first', 'last', 'from', 'to', 'why'] as const),
    ],
    overTime: [
      ...key,
      ...(['device', 'seconds', 'instruction'] as const),
      ...memoryCategories,
      ...(['liveBytes', 'reachBytes'] as const),
    ],
  };
}
