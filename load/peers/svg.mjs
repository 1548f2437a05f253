// What pictures of load/compare and load/scale have in common: panels side by side under a title.
const COLUMNS = 3;
const GAP = 30;
const HEAD = 84;
export const PANEL = 430; // the width of a panel

export const escape = (text) => String(text).replace(/[&<>"]/g, (c) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[c]);
export const short = (value, digits) => (value >= 1000 ? Math.round(value).toLocaleString('en-US') : value.toFixed(digits));

export const headOf = (title, below) => [
  `<text y="14" class="head">${escape(title)}</text>`,
  `<text y="29" class="small">${escape(below)}</text>`,
];

// panels: { height, text } each; lines: two, below the title.
export function sheet(title, lines, panels) {
  const out = [];
  let y = HEAD;
  for (let i = 0; i < panels.length; i += COLUMNS) {
    const line = panels.slice(i, i + COLUMNS);
    line.forEach(({ text }, k) => out.push(`<g transform="translate(${GAP + k * (PANEL + GAP)} ${y})">${text}</g>`));
    y += Math.max(...line.map(({ height }) => height));
  }
  const width = COLUMNS * (PANEL + GAP) + GAP;
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${y}" viewBox="0 0 ${width} ${y}">
<style>svg{font:11.5px "DejaVu Sans",Helvetica,Arial,sans-serif}.small{font-size:10.5px}.head{font-weight:bold;font-size:12.5px}</style>
<rect width="100%" height="100%" fill="#fff"/>
<text x="${GAP}" y="28" font-size="16" font-weight="bold">${escape(title)}</text>
${lines.map((line, i) => `<text x="${GAP}" y="${46 + i * 16}" class="small">${escape(line)}</text>`).join('\n')}
${out.join('\n')}
</svg>
`;
}
