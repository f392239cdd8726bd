import { expect, it } from 'vitest';
import { endedAtOnce } from '../../src/cli/measuring.ts';

it('a computation of this thread runs without handlers, which are back behind it, however it ends', async () => {
  const seen: string[] = [];
  const { signal } = new AbortController();
  const endAtOnce = () => {
    seen.push('off');
    return () => seen.push('on');
  };
  const compute = () => {
    seen.push('computes');
    return 7;
  };
  expect(await endedAtOnce({ signal, endAtOnce }, compute)).toBe(7);
  expect(seen.splice(0)).toEqual(['off', 'computes', 'on']);
  const failing = () => {
    throw new Error('no plan');
  };
  await expect(endedAtOnce({ signal, endAtOnce }, failing)).rejects.toThrow('no plan');
  expect(seen).toEqual(['off', 'on']);
  expect(await endedAtOnce({ signal }, compute)).toBe(7);
});

it('a signal that came while the thread was at work is heard before it, and nothing is computed', async () => {
  const controller = new AbortController();
  // As a handler is called: in the next turn of the event loop.
  setImmediate(() => controller.abort(new Error('SIGTERM')));
  const never = () => {
    throw new Error('must not be called');
  };
  const { signal } = controller;
  await expect(endedAtOnce({ signal, endAtOnce: never }, never)).rejects.toThrow('SIGTERM');
});
