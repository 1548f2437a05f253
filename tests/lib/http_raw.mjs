// Answers of HTTP/1.1, read from the bytes of a Raw connection.
import { within } from './wait.mjs';

// The whole answers at the beginning of a text.
export function answersIn(text) {
  const answers = [];
  for (;;) {
    const end = text.indexOf('\r\n\r\n');
    if (end < 0) return answers;
    const [first, ...lines] = text.slice(0, end).split('\r\n');
    const headers = Object.fromEntries(lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]));
    const after = end + 4 + Number(headers['content-length'] ?? 0);
    if (text.length < after) return answers;
    answers.push({ status: Number(first.split(' ')[1]), headers, body: text.slice(end + 4, after) });
    text = text.slice(after);
  }
}

// The first `n` answers, or fewer if the connection is closed before.
export async function answersOf(raw, n = 1, limitMs = 15_000) {
  const enough = new Promise((resolve) => {
    const look = () => answersIn(raw.text).length >= n && resolve();
    raw.socket.on('data', look);
    look();
  });
  await within(limitMs, `${n} answers`, Promise.race([enough, raw.closed])).catch((error) => {
    throw new Error(`${error.message}; so far: ${JSON.stringify(raw.text.slice(0, 500))}`);
  });
  return answersIn(raw.text);
}
