/**
 * Widths of text without a font at hand: advance widths of Helvetica (Adobe's font metrics, thousandths of the size),
 * which Arial and Liberation Sans share, by classes of characters. An estimate from above, so that boxes hold their text.
 */
const classes: readonly (readonly [characters: RegExp, width: number])[] = [
  [/[ijl'|]/, 0.24],
  [/[ .,:;!ft/\\[\]I]/, 0.29],
  [/[()r{}\-`]/, 0.345],
  [/[sckvxyzJ]/, 0.51],
  [/[A-HK-LN-PR-VX-Z&]/, 0.72],
  [/[Q~+<>=]/, 0.78],
  [/[mM]/, 0.84],
  [/[wW%@—…→]/, 0.98],
];
const usual = 0.57;
/** Bold letters are wider. */
const boldness = 1.07;
/** Room for fonts that are a little wider. */
const reserve = 1.03;

export function textWidth(text: string, size: number, bold = false): number {
  let width = 0;
  for (const c of text) width += classes.find(([characters]) => characters.test(c))?.[1] ?? usual;
  return width * size * reserve * (bold ? boldness : 1);
}
