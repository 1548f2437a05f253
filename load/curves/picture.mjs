// The picture: a curve for each figure over its scale, which is logarithmic, while what is measured begins at 0: what is flat looks flat.
import { escape, headOf, PANEL, sheet, short } from '../peers/svg.mjs';
import { count, ratioOf } from './table.mjs';

const LEFT = 20;
const RIGHT = PANEL - 60;
const TOP = 52;
const BOTTOM = 190;
const colors = ['#d9480f', '#3366cc', '#2b8a3e', '#9c36b5']; // of the series

function curve(series, figure, color) {
  const points = series.points.filter(({ values }) => Number.isFinite(values[figure.id]));
  const all = points.map(({ values }) => values[figure.id]);
  const ratio = ratioOf(all);
  const unit = figure.unit ? `, ${figure.unit}` : '';
  const parts = headOf(`${figure.title}${unit}`, `over ${series.unit}${ratio === undefined ? '' : `; the last is x${ratio.toFixed(2)} of the first`}`);
  const most = Math.max(...all, 1e-9);
  const [first, last] = [series.points[0].at, series.points.at(-1).at];
  const x = (at) => LEFT + (RIGHT - LEFT) * (last > first ? Math.log(at / first) / Math.log(last / first) : 0.5);
  const y = (value) => BOTTOM - ((BOTTOM - TOP) * Math.max(0, value)) / most;
  parts.push(`<path d="M${LEFT} ${BOTTOM}H${RIGHT}" stroke="#868e96"/>`);
  const line = points.map(({ at, values }) => `${x(at).toFixed(1)},${y(values[figure.id]).toFixed(1)}`);
  parts.push(`<polyline points="${line.join(' ')}" fill="none" stroke="${color}" stroke-width="2"/>`);
  for (const { at, values, error } of series.points) {
    parts.push(`<text x="${x(at).toFixed(1)}" y="${BOTTOM + 15}" class="small" text-anchor="middle">${count(at)}</text>`);
    const value = values[figure.id];
    if (Number.isFinite(value)) {
      parts.push(`<circle cx="${x(at).toFixed(1)}" cy="${y(value).toFixed(1)}" r="3" fill="${color}"/>`);
      parts.push(`<text x="${x(at).toFixed(1)}" y="${(y(value) - 7).toFixed(1)}" class="small" text-anchor="middle">${short(value, figure.digits)}</text>`);
    } else if (error) {
      parts.push(`<text x="${x(at).toFixed(1)}" y="${BOTTOM - 6}" class="small" text-anchor="middle" fill="#c92a2a">failed</text>`);
    }
  }
  return { height: BOTTOM + 42, text: `<g><title>${escape(series.title)}</title>${parts.join('\n')}</g>` };
}

export function picture({ machine, rounds, series }) {
  const panels = series.flatMap((each, i) => each.figures.map((figure) => curve(each, figure, colors[i % colors.length])));
  return sheet(`fanmesh: cost against scale${rounds > 1 ? `, medians of ${rounds} rounds` : ''}`, [machine, 'What was done for each series stands above its table.'], panels);
}
