// Reads what `node --test` said (TAP, on standard input) and says which files may be run again: prints them, and to standard error one
// line for each test that failed. Ends with 1 where nothing may be. docs/decisions/0025 says why there is a second chance, and for what.
import fs from 'node:fs';

const mostTests = 3; // more than this is no accident
const outOfTime = /^(waited \d+ ms in vain|not within \d+ ms|test timed out)/;
// What no clock explains: a node that died or ended badly, and whatever a sanitizer said.
const spoke = /Sanitizer|runtime error:|Assertion .* failed/;
const died = / (ended (with|by)|did not end|crashed) /;
// Nor is a verdict on the messages of a large load, which runs alone, a matter of when one looked.
const judges = /\/tests\/(load|package)\//;

const failures = fs
  .readFileSync(0, 'utf8')
  .split(/^(?=(?:not )?ok \d+ - |# Subtest: )/m)
  .filter((part) => part.startsWith('not ok '))
  .map((part) => ({
    part,
    name: part.match(/^not ok \d+ - (.*)/)[1],
    file: part.match(/^ +location: '(.*?):\d+:\d+'$/m)?.[1],
    error: part.match(/^ +error: (?:\|-\n +)?['"]?(.*?)['"]?$/m)?.[1] ?? '',
  }));

const accident = ({ part, file, error }) =>
  file && !spoke.test(part) && !died.test(error)
  && (outOfTime.test(error) || !judges.test(file));

if (failures.length === 0 || failures.length > mostTests || !failures.every(accident)) process.exit(1);
for (const { name, error } of failures) console.error(`# again ${name}: ${error}`);
for (const file of new Set(failures.map(({ file }) => file))) console.log(file);
