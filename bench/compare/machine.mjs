// Whose figures these are: the processor by its name and, where its maker's numbers say it, its kind of core.
import { existsSync, readFileSync } from 'node:fs';
import { availableParallelism, cpus } from 'node:os';

/** AMD's families (of 25, models tell Zen 3 from Zen 4), for names like "AMD EPYC" that stand for all of them. */
function zenOf(family, model) {
  if (family === 23) return model < 0x30 ? 'Zen' : 'Zen 2';
  if (family === 25) return (model >= 0x10 && model < 0x20) || model >= 0x60 ? 'Zen 4' : 'Zen 3';
  return family === 26 ? 'Zen 5' : undefined;
}

/** "AMD EPYC (Zen 3), 2 virtual cores", by a processor's name, the number of its cores and the text of /proc/cpuinfo, if any. */
export function machineName(name, cores, cpuinfo = '') {
  const field = (key) => new RegExp(`^${key}\\s*:\\s*(.*)$`, 'm').exec(cpuinfo)?.[1].trim();
  const zen = field('vendor_id') === 'AuthenticAMD' && zenOf(Number(field('cpu family')), Number(field('model')));
  const isVirtual = field('flags')?.split(' ').includes('hypervisor');
  const kind = `${isVirtual ? 'virtual ' : ''}core${cores === 1 ? '' : 's'}`;
  return `${name.trim()}${zen ? ` (${zen})` : ''}, ${cores} ${kind}`;
}

/** What every figure is kept with. */
export function conditionsHere() {
  const file = '/proc/cpuinfo';
  const cpuinfo = existsSync(file) ? readFileSync(file, 'utf8') : '';
  return {
    processor: machineName(cpus()[0]?.model ?? process.arch, availableParallelism(), cpuinfo),
    node: process.versions.node,
  };
}
