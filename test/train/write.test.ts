import { describe, expect, it } from 'vitest';
import { Session } from '../../src/train/session.ts';
import { planOf, threeLayers } from '../support/models.ts';

describe('values written into a session', () => {
  it('have the shape of what they are written over, or nothing is written', async () => {
    await using session = await Session.open(planOf(threeLayers, { batch: 4 }), { transport: 'local' });
    const before = await session.parameters();
    const [name, { type, data }] = [...before].find(
      ([, p]) => p.type.shape.length === 2 && p.type.shape[0] !== p.type.shape[1],
    )!;
    const other = { type: { ...type, shape: type.shape.toReversed() }, data: data.map((x) => x + 1) as Float32Array };
    const first = [...before.keys()].find((n) => n !== name)!;
    const changed = { ...before.get(first)!, data: before.get(first)!.data.map((x) => x + 1) as Float32Array };
    await expect(
      session.write(
        new Map([
          [first, changed],
          [name, other],
        ]),
      ),
    ).rejects.toMatchObject({
      code: 'parameter-type',
      fields: { name, expected: `f32[${type.shape.join(', ')}]`, got: `f32[${other.type.shape.join(', ')}]` },
    });
    expect(await session.parameters()).toEqual(before);
  });
});
