// The picture of a run: faults as bars over time, and below them what clients, mesh and memory did, as one SVG.
import { unaccounted } from './memory.mjs';

const WIDTH = 1400;
const LEFT = 150;
const RIGHT = 24;
const BAR = 17;
const PANEL = 120;
const colors = ['#3366cc', '#d9480f', '#2b8a3e', '#9c36b5', '#b08900', '#0b7285', '#c2255c', '#5c677d', '#364fc7'];
const fills = {
  network: '#e8590c',
  links: '#1971c2',
  kill: '#c92a2a',
  freeze: '#4dabf7',
  restart: '#2f9e44',
  rolling: '#2f9e44',
  clock: '#9c36b5',
  burst: '#b08900',
};

const escape = (text) => String(text).replace(/[&<>"]/g, (c) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[c]);
const short = (n) => (n >= 1e6 ? `${+(n / 1e6).toFixed(1)}M` : n >= 1e3 ? `${+(n / 1e3).toFixed(1)}k` : `${+n.toFixed(1)}`);

// A round step of which about `n` fit.
function stepOf(range, n) {
  const raw = range / n || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  return [1, 2, 5, 10].map((k) => k * power).find((step) => step >= raw);
}

class Drawing {
  parts = [];
  y = 0;

  constructor(from, to) {
    Object.assign(this, { from, to });
  }

  x(ms) {
    return LEFT + ((ms - this.from) / (this.to - this.from)) * (WIDTH - LEFT - RIGHT);
  }

  text(x, y, text, more = '') {
    this.parts.push(`<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" ${more}>${escape(text)}</text>`);
  }

  line(x1, y1, x2, y2, stroke, more = '') {
    this.parts.push(`<line x1="${x1.toFixed(1)}" y1="${y1.toFixed(1)}" x2="${x2.toFixed(1)}" y2="${y2.toFixed(1)}" stroke="${stroke}" ${more}/>`);
  }

  rect(x, y, width, height, fill, more = '') {
    this.parts.push(`<rect x="${x.toFixed(1)}" y="${y.toFixed(1)}" width="${width.toFixed(1)}" height="${height.toFixed(1)}" fill="${fill}" ${more}/>`);
  }

  // Bars of one row; those that overlap lie under one another.
  bars(label, faults) {
    const lanes = [];
    const top = this.y;
    for (const { began, ended, text, fill } of faults) {
      const [x1, x2] = [this.x(began), Math.max(this.x(ended), this.x(began) + 3)];
      let lane = lanes.findIndex((end) => end <= x1);
      if (lane < 0) lane = lanes.length;
      const room = x2 - x1;
      const inside = text.length * 5.9 + 6 < room;
      lanes[lane] = inside ? x2 + 2 : x2 + text.length * 5.9 + 8;
      const y = top + lane * (BAR + 2);
      this.parts.push(`<g><title>${escape(`${text}: ${(began / 1000).toFixed(1)} to ${(ended / 1000).toFixed(1)} s`)}</title>`);
      this.rect(x1, y, room, BAR, fill, 'rx="2" fill-opacity="0.85"');
      this.text(inside ? x1 + 4 : x2 + 3, y + 12.5, text, `class="small" fill="${inside ? '#fff' : '#333'}"`);
      this.parts.push('</g>');
    }
    const height = Math.max(1, lanes.length) * (BAR + 2);
    this.text(LEFT - 10, top + 13, label, 'text-anchor="end"');
    this.y += height + 3;
    this.line(LEFT, this.y - 2, WIDTH - RIGHT, this.y - 2, '#e9ecef');
    this.y += 3;
  }

  // lines: [{ name, color, points: [[ms, value]] }]
  chart(title, unit, lines) {
    const top = this.y + 20;
    const bottom = top + PANEL;
    const high = Math.max(1, ...lines.flatMap(({ points }) => points.map(([, value]) => value ?? 0)));
    const step = stepOf(high, 4);
    const max = Math.ceil(high / step) * step;
    const y = (value) => bottom - (value / max) * PANEL;
    this.text(LEFT, top - 7, title, 'class="head"');
    let x = LEFT + title.length * 7.4 + 22;
    for (const { name, color } of lines) {
      this.rect(x, top - 15, 10, 10, color);
      this.text(x + 14, top - 6.5, name, 'class="small"');
      x += 30 + name.length * 6.2;
    }
    for (let value = 0; value <= max + step / 2; value += step) {
      this.line(LEFT, y(value), WIDTH - RIGHT, y(value), '#e9ecef');
      this.text(LEFT - 8, y(value) + 4, `${short(value)}${unit}`, 'text-anchor="end" class="small"');
    }
    for (const { color, points } of lines) {
      let pen = 'M';
      let path = '';
      for (const [ms, value] of points) {
        if (value === null || value === undefined) pen = 'M';
        else {
          path += `${pen}${this.x(ms).toFixed(1)} ${y(value).toFixed(1)}`;
          pen = 'L';
        }
      }
      this.parts.push(`<path d="${path}" fill="none" stroke="${color}" stroke-width="1.5" stroke-linejoin="round"/>`);
    }
    this.y = bottom + 12;
  }

  axis(top) {
    const step = [1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 3600].find((s) => (this.to - this.from) / 1000 / s <= 24) ?? 7200;
    const behind = [];
    for (let s = Math.ceil(this.from / 1000 / step) * step; s * 1000 <= this.to; s += step) {
      const x = this.x(s * 1000).toFixed(1);
      behind.push(`<line x1="${x}" y1="${top}" x2="${x}" y2="${this.y}" stroke="#f1f3f5"/>`);
      const label = step >= 60 || this.to > 600_000 ? `${Math.floor(s / 60)}:${String(s % 60).padStart(2, '0')}` : `${s} s`;
      this.text(Number(x), this.y + 14, label, 'text-anchor="middle" class="small"');
    }
    this.y += 26;
    return behind;
  }
}

// A total a second as a rate; what a series counts in all.
const rates = (rows, name) => rows.slice(1).map((row, i) => [row.at, Math.max(0, (row[name] - rows[i][name]) / ((row.at - rows[i].at) / 1000))]);

function faultRows(drawing, report) {
  const list = report.faults.list.map((fault) => ({ ...fault, fill: fills[fault.kind] ?? fills[fault.row], ended: fault.ended ?? report.moments.heal_ms }));
  drawing.bars('network', list.filter(({ row }) => row === 'network'));
  drawing.bars('links', list.filter(({ row }) => row === 'links'));
  for (let node = 1; node <= report.options.nodes; node++) {
    drawing.bars(`node ${node}`, list.filter(({ row, args }) => row === 'node' && args.node === node));
  }
}

function charts(drawing, report) {
  const series = report.series.map((row) => ({ ...row, at: row.t_ms - report.moments.epoch_ms })).filter((row, i, all) => i === 0 || row.at > all[i - 1].at);
  const told = series.map((row) => ({ ...row, told: row.gaps + row.unrecovered }));
  drawing.chart('Delivered to clients', '/s', [
    { name: 'deliveries a second', color: colors[0], points: rates(series, 'deliveries') },
    { name: 'of them replayed after a reconnect', color: colors[1], points: rates(series, 'replayed') },
  ]);
  drawing.chart('Published', '/s', [
    { name: 'acknowledged a second', color: colors[2], points: rates(series, 'acked') },
    { name: 'refused or unanswered', color: colors[6], points: rates(series.map((row) => ({ ...row, bad: row.refused + row.unanswered })), 'bad') },
  ]);
  drawing.chart('Told as lost, and clients cut off', '', [
    { name: 'gap events and recovered:false a second', color: '#c92a2a', points: rates(told, 'told') },
    { name: 'reconnects a second', color: colors[5], points: rates(series, 'reconnects') },
  ]);
  const samples = report.samples.map(({ t_ms: at, sums }) => ({ at, repaired: sums.fanmesh_repaired_messages_total ?? 0, dropped: sums.fanmesh_mesh_dropped_total ?? 0 }));
  drawing.chart('Mesh', '/s', [
    { name: 'messages repaired a second', color: colors[3], points: rates(samples, 'repaired') },
    { name: 'envelopes dropped by full queues a second', color: '#c92a2a', points: rates(samples, 'dropped') },
  ]);
  const memory = (title, of) =>
    drawing.chart(
      title,
      ' MiB',
      report.lives.map(({ name }, i) => ({ name, color: colors[i % colors.length], points: report.samples.map(({ t_ms, nodes }) => [t_ms, nodes[i] && of(nodes[i]) / 2 ** 20 || null]) })),
    );
  memory('Memory (RSS)', ({ rss }) => rss);
  memory('Allocated, and not accounted for in /metrics', unaccounted);
}

export function timeline(report) {
  const { heal_ms: heal, ended_ms: end, publishing_stopped_ms: stopped } = report.moments;
  const drawing = new Drawing(Math.min(0, report.samples[0]?.t_ms ?? 0), end);
  const { options, checks } = report;
  const bad = checks.filter(({ ok }) => ok === false).map(({ name }) => name);
  drawing.text(LEFT, 28, `fanmesh: ${options.minutes} minutes of faults, seed ${report.seed}, ${options.nodes} nodes${options.spare ? ` (${options.spare} neither killed nor restarted)` : ''}, ${options.clients} clients on ${options.topics} topics`, 'class="title"');
  drawing.text(LEFT, 48, bad.length ? `broken: ${bad.join(', ')}` : 'every check good', `fill="${bad.length ? '#c92a2a' : '#2b8a3e'}"`);
  drawing.y = 66;
  const top = drawing.y;
  faultRows(drawing, report);
  charts(drawing, report);
  const behind = drawing.axis(top);
  const marks = [
    [heal, 'last heal'],
    [stopped, 'publishing stops'],
  ];
  for (const [i, [at, text]] of marks.entries()) {
    if (at === undefined) continue;
    drawing.line(drawing.x(at), top - 6, drawing.x(at), drawing.y - 26, '#2b8a3e', 'stroke-dasharray="4 3"');
    drawing.text(drawing.x(at) - 3, top - 10 - i * 12, text, 'text-anchor="end" class="small" fill="#2b8a3e"');
  }
  const height = drawing.y + 6;
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" font-family="DejaVu Sans, Helvetica, Arial, sans-serif" font-size="12">
<style>.small{font-size:10.5px}.head{font-size:12.5px;font-weight:bold}.title{font-size:16px;font-weight:bold}</style>
<rect width="100%" height="100%" fill="#fff"/>
${behind.join('\n')}
${drawing.parts.join('\n')}
</svg>
`;
}
