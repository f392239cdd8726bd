// What stands beside the kernels, as bench/overhead.mjs measured it: figures with their goals, the page's table and sentences.
import { digits, loopsSentence, spread, table } from './text.mjs';

const small = (seconds) => {
  const us = seconds * 1e6;
  return `${us >= 100 ? us.toFixed(0) : us >= 1 ? us.toFixed(1) : us.toFixed(3)} µs`;
};
const ms = (seconds) => `${(seconds * 1e3).toFixed(0)} ms`;
const about = (seconds) => `${digits(seconds * 1e3)} ms`;

/**
 * One row each, where `of` finds something measured: what it is, its seconds, what stands beside it, and the goal, `unit` being
 * that of goal and figure.
 */
export const overheadFigures = [
  {
    what: 'a call of an empty kernel, beyond a bare call of it in a loop',
    of: ({ call }) => call?.beyondSeconds,
    beside: ({ call }) => `the bare call ${small(call.bareSeconds)}`,
    goal: 0.2,
    unit: 'µs',
  },
  { what: 'an instruction, beside its calls', of: ({ instruction }) => instruction?.seconds, goal: 2, unit: 'µs' },
  {
    what: 'a hand-over to a device that waits: post, send, receive and a tiny sum',
    of: ({ handOver }) => handOver?.seconds,
    beside: ({ handOver }) => `two bare threads ${small(handOver.bareSeconds)}`,
    goal: 5,
    unit: 'µs',
  },
  {
    what: 'a hand-over to a device that has fallen asleep, from the end of the send',
    of: ({ handOver }) => handOver?.asleepSeconds,
    beside: ({ handOver }) => `two bare threads ${small(handOver.bareAsleepSeconds)}`,
  },
  {
    what: "a step's start and end on two devices that work 2 ms",
    of: ({ step }) => step?.hostSeconds,
    beside: ({ step }) => `bare messages there and back ${small(step.messagesSeconds)}`,
  },
  { what: 'the second device begins behind the first', of: ({ step }) => step?.lateSeconds },
  {
    what: "ten such steps with an update: wall time beyond the devices' work, each begun ahead but the first",
    of: ({ ahead }) => ahead?.aheadSeconds,
    beside: ({ ahead }) => `each asked for when the one before has ended ${small(ahead.askedSeconds)}`,
  },
  {
    what: '`partita --help`',
    of: ({ launch }) => launch?.helpSeconds,
    beside: ({ launch }) => `Node alone ${ms(launch.bareSeconds)}`,
    goal: 150,
    unit: 'ms',
  },
  {
    what: 'from launch to the first step of `examples/mlp-digits`',
    of: ({ launch }) => launch?.firstStepSeconds,
    beside: ({ launch }) => `Node alone ${ms(launch.bareSeconds)}`,
    goal: 1000,
    unit: 'ms',
  },
];

/** A step on one device over the sum of its kernels. */
export const stepGoal = 1.1;

/** All that was measured, each with the machine that it was measured on. */
export const partsOf = ({ steps = {}, version: _, ...parts }) => [...Object.values(parts), ...Object.values(steps)];

/** What the host adds to a step that is asked for when the one before has ended. */
function hostSentence(steps) {
  const told = Object.entries(steps).map(([name, { wall, step }]) => `${about(wall - step)} of ${name}`);
  return told.length > 0 ? `The host's part of a step that is asked for is ${told.join(', ')}.` : '';
}

export function overheadSection(overhead) {
  const { steps = {}, launch } = overhead;
  const rows = overheadFigures.flatMap(({ what, of, beside, goal, unit }) => {
    const seconds = of(overhead);
    if (seconds === undefined) return [];
    const figure = unit === 'ms' ? ms(seconds) : small(seconds);
    return [[what, figure, beside?.(overhead) ?? '', goal === undefined ? '' : `≤ ${goal} ${unit}`]];
  });
  const models = Object.entries(steps).map(([name, { instructions, ratio, ahead }]) => [
    `step of \`${name}\`, ${instructions} instructions, over the sum of its kernels, with the host`,
    spread(ratio),
    ahead ? `begun ahead, as a training's are, ${spread(ahead)}` : '',
    `≤ ${stepGoal}`,
  ]);
  const start =
    launch &&
    `Of the ${ms(launch.firstStepSeconds)} from launch to the first step, Node alone takes ${ms(launch.bareSeconds)}, and the command until its help is told ${ms(launch.helpSeconds - launch.bareSeconds)} more.`;
  return [
    table(['what', 'measured', 'beside it', 'goal'], [...rows, ...models]),
    loopsSentence(partsOf(overhead)),
    hostSentence(steps),
    start,
  ]
    .filter(Boolean)
    .join('\n\n');
}
