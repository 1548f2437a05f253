// The picture: a bar chart for each row of the table, with the same colour for the same peer everywhere. A thin line shows the range.
import { escape, headOf, PANEL, sheet, short } from './svg.mjs';

const LABEL = 118;
const BAR = 16;
const colors = { fanmesh: '#d9480f', floor: '#868e96' };
const others = ['#3366cc', '#2b8a3e', '#9c36b5', '#b08900', '#0b7285', '#c2255c', '#5c677d', '#364fc7'];

function bar(peer, figure, row, y, scale, color) {
  const label = `<text x="${LABEL - 6}" y="${y + 12}" text-anchor="end"${peer.name === 'fanmesh' ? ' font-weight="bold"' : ''}>${escape(peer.title)}</text>`;
  if (figure.error) return `${label}<text x="${LABEL + 4}" y="${y + 12}" class="small" fill="#c92a2a">failed</text>`;
  const [low, high, width] = [figure.low, figure.high, figure.median].map((value) => Math.max(0, value) * scale);
  const ratio = figure.fanmesh === undefined ? '' : `  x${figure.fanmesh.toFixed(2)}`;
  const [middle, from, to] = [figure.median, figure.low, figure.high].map((value) => short(value, row.digits));
  const title = `${peer.title} ${peer.versionText}: ${middle} ${row.unit}, ${from} to ${to}`;
  return `<g><title>${escape(title)}</title>${label}
<rect x="${LABEL}" y="${y + 1}" width="${width.toFixed(1)}" height="${BAR - 3}" fill="${color}" rx="1"/>
<path d="M${(LABEL + low).toFixed(1)} ${y + 7.5}H${(LABEL + high).toFixed(1)}" stroke="#000" stroke-opacity="0.55"/>
<text x="${(LABEL + Math.max(width, high) + 5).toFixed(1)}" y="${y + 12}" class="small">${middle}${escape(ratio)}</text></g>`;
}

function panel(row, index, { peers, figures }, colorOf) {
  const bars = peers.map((peer) => [peer, figures[peer.name][index]]).filter(([, figure]) => figure);
  const longest = Math.max(...bars.map(([, figure]) => (figure.error ? 0 : figure.high)), 1e-9);
  const scale = (PANEL - LABEL - 100) / longest;
  const parts = headOf(`${row.group}, ${row.unit}`, `${row.title} (${row.more ? 'more' : 'less'} is better)`);
  bars.forEach(([peer, figure], i) => parts.push(bar(peer, figure, row, 36 + i * BAR, scale, colorOf(peer.name))));
  return { height: 36 + bars.length * BAR + 24, text: parts.join('\n') };
}

export function picture(report) {
  const plain = report.peers.map(({ name }) => name).filter((name) => !colors[name]);
  const colorOf = (name) => colors[name] ?? others[plain.indexOf(name) % others.length];
  const panels = report.rows.map((row, i) => panel(row, i, report, colorOf));
  const versions = report.peers.map(({ title, versionText }) => `${title} ${versionText}`).join(' · ');
  const title = `fanmesh beside others: bars are medians, lines ranges of ${report.rounds} round${report.rounds > 1 ? 's' : ''}, x the ratio to fanmesh`;
  return sheet(title, [report.machine, versions], panels);
}
