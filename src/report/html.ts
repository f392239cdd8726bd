/**
 * The shell of a report: one HTML file that opens from disk, reads well on screen and paper, and loads nothing. Its content
 * security policy forbids every script and every request.
 */
import { escapeHtml, fontStack } from './chart.ts';

export interface HtmlPage {
  readonly title: string;
  /** Below the title: what was studied, as text. */
  readonly subtitle: string;
  /** HTML, in order. */
  readonly body: readonly string[];
}

export function htmlPage({ title, subtitle, body }: HtmlPage): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>${escapeHtml(title)}</title>
<style>${css}</style>
</head>
<body>
<main>
<h1>${escapeHtml(title)}</h1>
<p class="subtitle">${escapeHtml(subtitle)}</p>
${body.join('\n')}
</main>
</body>
</html>
`;
}

export interface Column {
  readonly title: string;
  /** `ms`, `KiB`; stands below the title. */
  readonly unit?: string;
}

/** Cells as text; numbers are on the right by the style where `numeric` says so. */
export function htmlTable(columns: readonly Column[], rows: readonly (readonly (string | null)[])[]): string {
  const numeric = columns.map((_, c) => rows.every((row) => row[c] === null || /^[-+]?[\d.,]/.test(row[c]!)));
  const cell = (tag: 'td' | 'th', c: number, html: string) =>
    `<${tag}${numeric[c] ? ' class="n"' : ''}>${html}</${tag}>`;
  const head = columns.map(({ title, unit }, c) =>
    cell('th', c, `${escapeHtml(title)}${unit ? `<br><span class="unit">${escapeHtml(unit)}</span>` : ''}`),
  );
  const body = rows.map(
    (row) => `<tr>${columns.map((_, c) => cell('td', c, escapeHtml(row[c] ?? '–'))).join('')}</tr>`,
  );
  return `<div class="scroll"><table><thead><tr>${head.join('')}</tr></thead><tbody>\n${body.join('\n')}\n</tbody></table></div>`;
}

/** A picture with what to see in it above, and its figures folded below. */
export function figure(title: string, text: string, picture: string, tables = ''): string {
  return `<section>
<h2>${escapeHtml(title)}</h2>
<p>${escapeHtml(text)}</p>
<figure>${picture}</figure>
${tables}
</section>`;
}

/** Closed until it is asked for; printed closed too. */
export const details = (summary: string, html: string): string =>
  `<details><summary>${escapeHtml(summary)}</summary>${html}</details>`;

const css = `
:root { color-scheme: light; }
body { margin: 0; background: #fff; color: #1a1a1a; font: 16px/1.5 ${fontStack}; }
main { max-width: 1080px; margin: 0 auto; padding: 24px 24px 64px; }
h1 { font-size: 28px; line-height: 1.2; margin: 8px 0 4px; }
h2 { font-size: 20px; margin: 44px 0 6px; border-top: 1px solid #ddd; padding-top: 20px; }
h3 { font-size: 16px; margin: 20px 0 4px; }
p { max-width: 78ch; margin: 6px 0 12px; }
.subtitle { color: #555; margin-bottom: 20px; }
.summary { background: #f4f7fa; border-left: 4px solid #0072B2; padding: 10px 22px 14px; }
.summary dt { font-weight: 600; margin-top: 12px; }
.summary dd { margin: 2px 0 0; max-width: 84ch; }
.summary .short { font-size: 18px; font-weight: 600; margin: 8px 0; }
.summary .caveat { color: #555; font-size: 14px; }
figure { margin: 8px 0; }
figure svg { max-width: 100%; height: auto; display: block; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; margin: 8px 0; }
th, td { padding: 3px 12px 3px 0; text-align: left; vertical-align: bottom; white-space: nowrap; }
thead th { border-bottom: 1px solid #888; }
tbody tr:nth-child(even) { background: #f6f6f6; }
.n { text-align: right; }
.unit { font-weight: 400; color: #555; }
details { margin: 8px 0; }
summary { cursor: pointer; color: #0059a0; font-size: 14px; }
@media print { main { padding: 0; max-width: none; } section { break-inside: avoid; } .scroll { overflow: visible; } }
`;
