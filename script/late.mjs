// Reads what `node --test` said (TAP, on standard input). Where all that failed are a few waits that ran out of time, prints their files
// and, to standard error, one line for each test; ends with 1 where anything else failed: a wrong result gets no second chance.
import fs from 'node:fs';

const mostTests = 3; // more than this is no accident
const outOfTime = /^(waited \d+ ms in vain|not within \d+ ms|test timed out)/;

const failures = fs
  .readFileSync(0, 'utf8')
  .split(/^(?=(?:not )?ok \d+ - |# Subtest: )/m)
  .filter((part) => part.startsWith('not ok '))
  .map((part) => ({
    name: part.match(/^not ok \d+ - (.*)/)[1],
    file: part.match(/^ +location: '(.*?):\d+:\d+'$/m)?.[1],
    error: part.match(/^ +error: (?:'|\|-\n +)(.*?)'?$/m)?.[1] ?? '',
  }));

if (failures.length === 0 || failures.length > mostTests) process.exit(1);
if (!failures.every(({ file, error }) => file && outOfTime.test(error))) process.exit(1);
for (const { name, error } of failures) console.error(`# late ${name}: ${error}`);
for (const file of new Set(failures.map(({ file }) => file))) console.log(file);
