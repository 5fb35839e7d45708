// Colors for a program in Python.
import { element } from "./common.js";

const TOKENS = /("""[\s\S]*?"""|f?"[^"\n]*")|(#[^\n]*)|\b(import|from|def|return|for|in|as|lambda|None|True|False)\b|\b(\d[\d.e+-]*)\b/g;
const CLASSES = ["code-string", "code-comment", "code-keyword", "code-number"];

export function highlight(program) {
  const parts = [];
  let last = 0;
  for (const match of program.matchAll(TOKENS)) {
    parts.push(program.slice(last, match.index));
    const kind = match.slice(1).findIndex((group) => group !== undefined);
    parts.push(element("span", { class: CLASSES[kind] }, match[0]));
    last = match.index + match[0].length;
  }
  return [...parts, program.slice(last)];
}
