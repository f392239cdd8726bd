// Writes the King James Bible as plain text, a verse a line: `node examples/char-transformer/text.mjs [FILE]`, by default
// kjv.txt beside this script. The text comes from Debian's packages bible-kjv and bible-kjv-text, whose program `bible`
// unpacks it: `apt-get install bible-kjv`.
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

const file = process.argv[2] ?? join(import.meta.dirname, 'kjv.txt');
const passage = 'gen1:1-rev22:21';

/** Prints why there is no text, and ends with exit code 1. */
function fail(reason) {
  console.error(`${reason}\n  try: apt-get install bible-kjv`);
  process.exit(1);
}

// Without `-f` lines are wrapped. It reads references from standard input until that ends.
const { status, stdout, stderr, error } = spawnSync('bible', ['-f', passage], {
  encoding: 'utf8',
  input: '',
  maxBuffer: 64 * 2 ** 20,
});
if (error) fail(`the program bible cannot be run: ${error.message}`);
if (status !== 0) fail(`bible ended with exit code ${status}: ${stderr.trim()}`);

// Each line begins with its reference: `1Sam17:4 And there went out a champion …`.
const verses = stdout.split('\n').flatMap((line) => {
  const text = line.replace(/^\d?[A-Za-z]+\d+:\d+ /, '');
  return text === '' ? [] : [text];
});
if (verses.length !== 31_102) fail(`bible printed ${verses.length} verses of ${passage}; the Bible has 31102`);

const text = `${verses.join('\n')}\n`;
writeFileSync(file, text);
const characters = new Set(text).size;
console.log(`${file}: ${verses.length} verses, ${text.length} characters, ${characters} different ones`);
