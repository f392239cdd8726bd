import { measureMachine } from '../dist/profile/machine.js';

const t = performance.now();
console.log(JSON.stringify(await measureMachine(), null, 1), (performance.now() - t) / 1e3);
