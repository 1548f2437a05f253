// What the command lines of load/compare and load/scale have in common: options, refusals, and where the results go.
import fs from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { root } from './host.mjs';

export class Command {
  constructor(name, usage, defaults) {
    this.name = name;
    const option = (value) => ({ type: typeof value, default: value });
    const options = Object.fromEntries(Object.entries({ ...defaults, help: false }).map(([key, value]) => [key, option(value)]));
    try {
      this.values = parseArgs({ options }).values;
    } catch (error) {
      this.fail(error.message);
    }
    if (!this.values.help) return;
    process.stdout.write(usage);
    process.exit(0);
  }

  fail(sentence) {
    console.error(`${this.name}: ${sentence}`);
    process.exit(2);
  }

  whole(text, option) {
    const value = Number(text);
    if (!Number.isInteger(value) || value < 1) this.fail(`${option} takes a whole number from 1, not ${text}`);
    return value;
  }

  // A list of names, each of which there must be.
  chosen(text, all, option) {
    const list = text.split(',');
    const wrong = list.find((name) => !all.includes(name));
    if (wrong !== undefined) this.fail(`${option}: there is no ${wrong}; there are ${all.join(', ')}`);
    return list;
  }
}

// files: { suffix: content }, as NAME.SUFFIX. Returns the folder.
export function write(folder, name, files) {
  const output = path.resolve(root, folder);
  fs.mkdirSync(output, { recursive: true });
  for (const [suffix, content] of Object.entries(files)) fs.writeFileSync(path.join(output, `${name}.${suffix}`), content);
  return output;
}
