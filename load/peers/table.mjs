// The one table: a row for each thing that is measured, a column for each peer; as text for a terminal and as Markdown.
const number = (value, digits) => (value >= 1000 ? Math.round(value).toLocaleString('en-US') : value.toFixed(digits));

// The lines of one place: median, range, ratios to fanmesh and to the floor.
function linesOf(figure, row) {
  if (!figure) return ['-'];
  if (figure.error) return [`failed (${figure.failed} of ${figure.of})`];
  const lines = [number(figure.median, row.digits)];
  if (figure.values.length > 1) lines.push(`${number(figure.low, row.digits)} to ${number(figure.high, row.digits)}`);
  const { fanmesh, floor } = figure;
  const ratios = [fanmesh && `x${fanmesh.toFixed(2)}`, floor && `(x${floor.toFixed(2)})`].filter(Boolean);
  if (ratios.length) lines.push(ratios.join(' '));
  return lines;
}

const heading = ({ title, versionText }) => [title, ...versionText.split(', ')];
const explanation = (rounds) =>
  `${rounds > 1 ? `Median and range of ${rounds} rounds in turns` : 'One round'}; below, the ratio to fanmesh and (in brackets) to the floor.`;

// What was not measured, and why.
function notesOf({ peers, absent, failures }) {
  return [
    ...peers.map(({ title, versionText, settings }) => `${title} ${versionText}: ${settings}`),
    ...absent.map(({ title, reason }) => `${title} was left out: ${reason}`),
    ...failures.map(({ title, cell, round, error }) => `${title}, ${cell}, round ${round + 1}: ${error}`),
  ];
}

export function markdown({ rows, peers, figures, rounds, machine, ...rest }) {
  const line = (cells) => `| ${cells.join(' | ')} |`;
  const body = rows.map((row, i) => line([`${row.group}, ${row.unit}: ${row.title}`, ...peers.map(({ name }) => linesOf(figures[name][i], row).join('<br>'))]));
  return [
    `${machine}. ${explanation(rounds)}`, '',
    line(['', ...peers.map((peer) => heading(peer).join('<br>'))]), line(['---', ...peers.map(() => '---')]), ...body, '',
    ...notesOf({ peers, ...rest }).map((note) => `- ${note.replaceAll('\n', ' ')}`), '',
  ].join('\n');
}

export function text({ rows, peers, figures, rounds, machine, width = 120, ...rest }) {
  const labels = rows.map(({ title, unit }) => `  ${title}, ${unit}`);
  const first = Math.min(46, Math.max(...labels.map(({ length }) => length)));
  const columns = peers.map((peer) => [heading(peer), ...rows.map((row, i) => linesOf(figures[peer.name][i], row))]);
  const widths = columns.map((column) => Math.max(...column.flat().map(({ length }) => length)) + 2);
  const out = [machine, explanation(rounds)];
  for (let from = 0, to; from < peers.length; from = to) {
    let used = first;
    for (to = from; to < peers.length && (to === from || used + widths[to] <= width); to++) used += widths[to];
    const lines = (label, index) => {
      const wrapped = wrap(label, first);
      const cells = columns.slice(from, to).map((column) => column[index]);
      const height = Math.max(wrapped.length, ...cells.map(({ length }) => length));
      for (let k = 0; k < height; k++) {
        out.push(((wrapped[k] ?? '').padEnd(first) + cells.map((cell, c) => (cell[k] ?? '').padStart(widths[from + c])).join('')).trimEnd());
      }
    };
    out.push('');
    lines('', 0);
    rows.forEach((row, i) => {
      if (row.group !== rows[i - 1]?.group) out.push('', row.group);
      lines(labels[i], i + 1);
    });
  }
  return [...out, '', ...notesOf({ peers, ...rest }).map((note) => `- ${note}`), ''].join('\n');
}

// A label in lines of at most `width`, indented, those after the first more.
function wrap(label, width) {
  const lines = [];
  for (const word of label.trim().split(' ')) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= width) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(`${lines.length ? '    ' : '  '}${word}`);
  }
  return lines;
}
