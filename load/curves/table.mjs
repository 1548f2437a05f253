// One table for each series, in Markdown: a line for each figure, a column for each point, and how much the last is of the first.
const number = (value, digits) => (Math.abs(value) >= 1000 ? Math.round(value).toLocaleString('en-US') : value.toFixed(digits));
export const count = (n) => n.toLocaleString('en-US');

export const ratioOf = (values) => {
  const there = values.filter(Number.isFinite);
  return there.length > 1 && there[0] > 0 ? there.at(-1) / there[0] : undefined;
};

function cell(value, spread, digits) {
  if (value === undefined) return '';
  const [low, high] = spread.map((end) => number(end, digits));
  return low === high ? number(value, digits) : `${number(value, digits)} (${low} to ${high})`;
}

function seriesText(series) {
  const line = (cells) => `| ${cells.join(' | ')} |`;
  const body = series.figures.map(({ id, title, unit, digits }) => {
    const values = series.points.map((point) => point.values[id]);
    const ratio = ratioOf(values);
    const cells = series.points.map((point) => (point.error ? 'failed' : cell(point.values[id], point.spread[id] ?? [], digits)));
    return line([unit ? `${title}, ${unit}` : title, ...cells, ratio === undefined ? '' : `x${ratio.toFixed(2)}`]);
  });
  return [
    `**${series.title}**`, '',
    line([series.unit, ...series.points.map(({ at }) => count(at)), 'last to first']), line(['---', ...series.points.map(() => '---'), '---']), ...body, '',
    ...series.points.filter(({ error }) => error).map(({ at, error }) => `- ${count(at)} ${series.unit}: ${error.replaceAll('\n', ' ')}`),
  ].join('\n');
}

export const markdown = ({ machine, rounds, series }) =>
  [`${machine}. ${rounds > 1 ? `Medians and ranges of ${rounds} rounds` : 'One round'}.`, '', ...series.map(seriesText)].join('\n');
