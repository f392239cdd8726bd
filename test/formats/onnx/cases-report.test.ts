import { it } from 'vitest';
import { caseNames, differs, readCase, runCase } from './operator-case.ts';

const only = process.env.ONNX_CASES;
it.runIf(only)(
  'report of operator cases',
  () => {
    const tally = new Map<string, string[]>();
    for (const name of caseNames()) {
      if (!new RegExp(only!).test(name)) continue;
      let key: string;
      try {
        const c = readCase(name);
        key = differs(runCase(c), c) ?? 'ok';
        if (key !== 'ok') key = `WRONG ${name}: ${key}`;
      } catch (error) {
        const e = error as Error & { code?: string };
        key = `${e.code ?? `CRASH ${e.constructor.name} ${e.stack?.split('\n')[1]}`} ${e.message
          .replace(/"[^"]*"/g, '"…"')
          .replace(/\/usr\S*/, '')
          .slice(0, 130)}`;
      }
      tally.set(key, [...(tally.get(key) ?? []), name.replace(/^.*\//, '')]);
    }
    for (const [k, v] of [...tally].sort((a, b) => b[1].length - a[1].length))
      console.log(v.length, k, k === 'ok' ? '' : v.slice(0, 4).join(' '));
  },
  600_000,
);
