// Command lines of the scripts in this folder: `--help` prints the comment that a script begins with, and an argument that it
// does not know ends it with a sentence and exit code 2. Scripts import the library behind their flags: what is wrong with those is
// told at once.
import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { nearest } from '../dist/core/errors.js';

/** The comment on top of a script, without its marks. */
export function headOf(source) {
  const block = /^\/\*\*\n([\s\S]*?)^ \*\//m.exec(source);
  if (block && source.startsWith('/**')) return block[1].replaceAll(/^ \* ?/gm, '').trimEnd();
  const lines = source.split('\n');
  const end = lines.findIndex((line) => !line.startsWith('//'));
  return lines
    .slice(0, end)
    .map((line) => line.replace(/^\/\/ ?/, ''))
    .join('\n')
    .trimEnd();
}

/** Ends the script: what is wrong, and how to see what there is. */
export function refuse(script, problem) {
  const name = basename(fileURLToPath(script));
  console.error(`bench/${name}: ${problem}\n  remedy: node bench/${name} --help`);
  process.exit(2);
}

/** `options` as parseArgs has them; `positionals` is how many other words a script reads at most. */
export function flagsOf(script, options = {}, { positionals: most = 0 } = {}) {
  const known = { ...options, help: { type: 'boolean', short: 'h', default: false } };
  let parsed;
  try {
    parsed = parseArgs({ options: known, allowPositionals: true });
  } catch (error) {
    refuse(script, whatIsWrong(error, Object.keys(known)));
  }
  if (parsed.values.help) {
    console.log(headOf(readFileSync(fileURLToPath(script), 'utf8')));
    process.exit(0);
  }
  const surplus = parsed.positionals[most];
  if (surplus !== undefined) refuse(script, `"${surplus}" is one word too many`);
  return parsed;
}

function whatIsWrong({ code, message }, names) {
  const flag = /'(--?[^' ]+)/.exec(message)?.[1] ?? '';
  if (code !== 'ERR_PARSE_ARGS_UNKNOWN_OPTION') return message.split('. ')[0];
  const near = nearest(flag.replace(/^-+/, ''), names);
  return `there is no ${flag}${near ? `; did you mean --${near}?` : ` (there are ${names.map((n) => `--${n}`).join(', ')})`}`;
}

/** A number that a flag gives, or the end. */
export function numberOf(script, name, text, { atLeast = 0, whole = false } = {}) {
  const value = Number(text);
  if (text.trim() !== '' && value >= atLeast && (whole ? Number.isInteger(value) : Number.isFinite(value)))
    return value;
  refuse(script, `--${name} ${text}: a ${whole ? 'whole ' : ''}number from ${atLeast} on was expected`);
}

/** The whole numbers from 1 on in a list with commas, or the end where one is none. */
export function wholesOf(script, name, text) {
  const parts = text.split(',');
  if (parts.every((part) => part.trim() !== '' && Number.isInteger(Number(part)) && Number(part) >= 1))
    return parts.map(Number);
  refuse(script, `--${name} ${text}: whole numbers from 1 on were expected, with commas between them`);
}

/** The names in a list with commas, or the end where one is unknown. */
export function namesOf(script, name, text, known) {
  const names = text.split(',').filter(Boolean);
  const strange = names.find((n) => !known.includes(n));
  if (strange !== undefined) refuse(script, `--${name}: there is no ${strange}; there are ${known.join(', ')}`);
  if (names.length === 0) refuse(script, `--${name} names nothing; there are ${known.join(', ')}`);
  return names;
}
