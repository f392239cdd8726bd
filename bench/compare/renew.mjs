// docs/performance.md, renewed as a whole from all that is kept: what one script measures may move a sentence of another's.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { renderPage } from './page.mjs';
import {
  emptyCurves,
  emptyOverheads,
  keptCurves,
  keptOverheads,
  keptResults,
  readResults,
  writeWhole,
} from './results.mjs';

export const keptFigures = () => ({
  results: readResults(keptResults),
  overhead: readResults(keptOverheads, emptyOverheads()),
  curves: readResults(keptCurves, emptyCurves()).curves,
});

export function renewPage() {
  const page = fileURLToPath(new URL('../../docs/performance.md', import.meta.url));
  writeWhole(page, renderPage(readFileSync(page, 'utf8'), keptFigures()));
}
