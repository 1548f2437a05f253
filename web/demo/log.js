// What happened, newest first.
const list = document.getElementById("log");
const entriesMax = 200;

const clockText = (date) => date.toLocaleTimeString([], { hour12: false });

// kind: "plain", "good", "warn" or "bad". Returns a function that adds words to the entry.
export function log(kind, ...parts) {
  const entry = document.createElement("li");
  const time = document.createElement("time");
  const text = document.createElement("span");
  const when = new Date();
  time.dateTime = when.toISOString();
  time.textContent = clockText(when);
  text.append(...parts);
  entry.className = kind;
  entry.append(time, text);
  list.prepend(entry);
  while (list.children.length > entriesMax) list.lastElementChild.remove();
  return (more) => text.append(more);
}

export function code(text) {
  const element = document.createElement("code");
  element.textContent = text;
  return element;
}
