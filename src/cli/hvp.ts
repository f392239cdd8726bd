import { UsageError } from '../core/errors.ts';
import type { HostTensor } from '../core/types.ts';
import { toHostTensor } from '../formats/raw-tensor.ts';
import { readBytes } from '../formats/read-file.ts';
import { readSafetensors } from '../formats/safetensors.ts';
import { someGraph } from '../optim/model.ts';
import { directionFeeds, hessianVectorRequest } from '../train/derivatives.ts';
import { asVector, inGraphOrder, runDerivation } from './derivative.ts';
import { type Invocation, pathOf } from './invocation.ts';

export function run(invocation: Invocation): Promise<number> {
  const file = pathOf(invocation, 'direction');
  if (file === undefined) {
    throw new UsageError('command-line', 'hvp needs a direction', {
      remedy: '--direction v.safetensors, with a tensor v/PARAM for every parameter',
    });
  }
  let fed: Record<string, HostTensor> = {};
  return runDerivation(invocation, {
    request: (gradients) => {
      fed = directionFeeds(someGraph(gradients.model), readDirection(file), file, 'v/');
      return hessianVectorRequest(gradients);
    },
    compute: async ({ plan, session, data }) => {
      const { loss, results, seconds, reports } = await session.run(
        'gradients',
        { ...data, ...fed },
        { signal: invocation.signal },
      );
      const vhv = results.get('vhv')!;
      const tensors = inGraphOrder(plan, results, ['loss']).flatMap(([name, t]) =>
        name === 'gv' || name.startsWith('buffer/') ? [] : [[name, name === 'vhv' ? asVector(t) : t] as const],
      );
      return { tensors, scalars: { loss, vhv: vhv.data[0]! }, seconds, reports };
    },
  });
}

/** The tensors `v/PARAM` of a file, by parameter; others in it are no part of the direction. */
function readDirection(file: string): Map<string, HostTensor> {
  return new Map(
    [...readSafetensors(readBytes(file), file)].flatMap(([name, raw]) =>
      name.startsWith('v/') ? [[name.slice(2), toHostTensor(raw, 'f32', `${file}: "${name}"`)] as const] : [],
    ),
  );
}
