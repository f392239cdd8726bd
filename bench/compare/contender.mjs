// Processes that are measured: lines of words in, lines of JSON out (peers/serve.mjs).
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { median } from './statistics.mjs';

const peers = fileURLToPath(new URL('../peers/', import.meta.url));

/** Whose first steps are not done by then is ended: compiling alone may take minutes. */
const startSeconds = 400;

export class Contender {
  /** Starts a process and waits for its first steps; `info.declined` says why it does not take part. */
  static async start({ label, command, args, env = {} }) {
    const child = spawn(command, args, {
      cwd: peers,
      env: { ...process.env, ...env },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    const self = new Contender(label, child);
    const late = setTimeout(() => {
      self.errors = `no two steps within ${startSeconds} s`;
      child.kill('SIGKILL');
    }, startSeconds * 1000);
    const began = performance.now();
    self.info = await self.next();
    clearTimeout(late);
    process.stderr.write(`  … ${label}: first steps in ${((performance.now() - began) / 1000).toFixed(1)} s\n`);
    return self;
  }

  constructor(label, child) {
    this.label = label;
    this.child = child;
    this.lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    this.errors = '';
    child.stderr.on('data', (text) => (this.errors += text));
    child.on('error', (error) => (this.errors += error.message));
    child.stdin.on('error', () => {}); // told by the missing answer
  }

  /** The next line that is JSON: libraries greet. */
  async next() {
    for (;;) {
      const { value, done } = await this.lines.next();
      if (done) return { declined: this.errors.trim().split('\n').at(-1) || 'its process ended' };
      if (value.startsWith('{')) return JSON.parse(value);
    }
  }

  async ask(seconds, task = '') {
    this.child.stdin.write(`run ${seconds} ${task}`.trimEnd().concat('\n'));
    const answer = await this.next();
    if (answer.declined) throw new Error(`${this.label}: ${answer.declined}`);
    return answer;
  }

  /** Median milliseconds of the steps of a window. */
  window = async (seconds, task) => median((await this.ask(seconds, task)).milliseconds);

  async end() {
    this.child.stdin.write('end\n');
    const { peakResidentBytes = null } = await this.next();
    this.child.kill();
    return peakResidentBytes;
  }
}

/**
 * Contenders that run at the same time, as one: a window's milliseconds are those of a step at their rates added up. They
 * belong to others, who end them, but for `own`.
 */
export class Together {
  constructor(label, members, own = []) {
    this.label = label;
    this.members = members;
    this.own = own;
    this.info = { peer: members[0].info.peer, losses: members[0].info.losses, atOnce: members.length };
  }

  async window(seconds, task) {
    const times = await Promise.all(this.members.map((member) => member.window(seconds, task)));
    return 1 / times.reduce((rate, milliseconds) => rate + 1 / milliseconds, 0);
  }

  async end() {
    for (const member of this.own) await member.end();
    return null;
  }
}
