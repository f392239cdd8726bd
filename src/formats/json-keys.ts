/**
 * The first key that occurs twice in one object of a JSON text, or undefined.
 *
 * JSON.parse keeps the last of two equal keys without a word. The text must already have been parsed successfully: this
 * walks its strings and brackets only. No regular expression: their stack is no match for a hostile text.
 */
export function duplicateKey(json: string): string | undefined {
  const open: (Set<string> | undefined)[] = []; // one entry an open bracket; undefined for arrays
  for (let at = 0; at < json.length; at++) {
    const char = json[at];
    if (char === '{') open.push(new Set());
    else if (char === '[') open.push(undefined);
    else if (char === '}' || char === ']') open.pop();
    else if (char === '"') {
      const start = at;
      for (at++; json[at] !== '"'; at++) if (json[at] === '\\') at++;
      if (!isKey(json, at + 1)) continue;
      const key = JSON.parse(json.slice(start, at + 1)) as string;
      const keys = open.at(-1);
      if (keys?.has(key)) return key;
      keys?.add(key);
    }
  }
  return undefined;
}

/** Whether the string that ended before `at` is a key: a colon follows. */
function isKey(json: string, at: number): boolean {
  while (' \t\n\r'.includes(json[at] ?? 'end')) at++;
  return json[at] === ':';
}
