// Numbers and tables as the page has them.
export const table = (head, rows) =>
  [head, head.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n');

export const two = (value) => value.toFixed(2);

/** Enough digits to tell, no more than were measured. */
export const digits = (value) => value.toFixed(value >= 20 ? 0 : value >= 5 ? 1 : value >= 0.1 || value <= 0 ? 2 : 3);

/** A median and its quartiles. */
export const spread = ([middle, low, high]) =>
  `${digits(middle)}${low === undefined ? '' : ` [${digits(low)}–${digits(high)}]`}`;
