// What all three pages need: elements, the theme, colors of numbers, and words for screen readers.

export const byId = (id) => document.getElementById(id);

export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name in made && typeof value !== "string") made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

export const SVG = "http://www.w3.org/2000/svg";
export function shape(tag, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

const variables = new Map(); // until the theme changes
export function variable(name) {
  if (!variables.has(name)) variables.set(name, getComputedStyle(document.documentElement).getPropertyValue(name).trim());
  return variables.get(name);
}
export const reducedMotion = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

// Theme: that of the system, until the button chooses the other one.
const dark = matchMedia("(prefers-color-scheme: dark)");
const listeners = [];
export const onTheme = (listener) => listeners.push(listener);
let chosen = localStorage.getItem("theme");

function applyTheme() {
  const theme = chosen ?? (dark.matches ? "dark" : "light");
  document.documentElement.dataset.theme = theme;
  byId("theme").textContent = theme === "dark" ? "Light" : "Dark";
  byId("theme").setAttribute("aria-label", theme === "dark" ? "Switch to light colors" : "Switch to dark colors");
  variables.clear();
  palette = makePalette();
  for (const listener of listeners) listener();
}

export function startTheme() {
  byId("theme").addEventListener("click", () => {
    chosen = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    localStorage.setItem("theme", chosen);
    applyTheme();
  });
  dark.addEventListener("change", applyTheme);
  applyTheme();
}

// Colors of numbers from -1 to 1, which arrive as bytes from 0 to 254.
const channels = (color) => [1, 3, 5].map((place) => parseInt(color.slice(place, place + 2), 16));
let palette = null;

function makePalette() {
  const [negative, neutral, positive] = ["--negative", "--neutral", "--positive"].map((name) => channels(variable(name)));
  const pack = ([red, green, blue]) => ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
  const between = (a, b, share) => a.map((value, place) => Math.round(value + (b[place] - value) * share));
  const smooth = new Uint32Array(256), split = new Uint32Array(256);
  for (let level = 0; level < 256; level++) {
    const value = Math.min(1, (level - 127) / 127);
    smooth[level] = pack(between(neutral, value < 0 ? negative : positive, Math.abs(value)));
    split[level] = pack(between(neutral, value < 0 ? negative : positive, value === 0 ? 0 : 0.75));
  }
  return { smooth, split };
}

export function drawBytes(canvas, bytes, side, discrete = false) {
  if (canvas.width !== side) canvas.width = canvas.height = side;
  canvas.pixels ??= new ImageData(side, side);
  if (canvas.pixels.width !== side) canvas.pixels = new ImageData(side, side);
  const colors = discrete ? palette.split : palette.smooth;
  const pixels = new Uint32Array(canvas.pixels.data.buffer);
  for (let place = 0; place < pixels.length; place++) pixels[place] = colors[bytes[place]];
  canvas.getContext("2d").putImageData(canvas.pixels, 0, 0);
}

export const fromBase64 = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

// A canvas as sharp as the screen; returns its context, in units of CSS pixels.
export function sharp(canvas) {
  const ratio = window.devicePixelRatio || 1, { clientWidth: width, clientHeight: height } = canvas;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return { context, width, height };
}

export const whole = (number) => number.toLocaleString("en-US");
export function shown(number, digits = 3) {
  if (number === null || number === undefined) return "not finite";
  const size = Math.abs(number);
  if (size !== 0 && (size < 1e-3 || size >= 1e5)) return number.toExponential(1).replaceAll("-", "−");
  return (size >= 100 ? number.toFixed(1) : number.toFixed(digits)).replace("-", "−");
}

export function announce(words) {
  byId("live").textContent = words;
}

export function showError(words) {
  byId("error").hidden = !words;
  byId("error").textContent = words ?? "";
}

export async function copy(text, button) {
  const before = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
    announce("Copied.");
  } catch {
    button.textContent = "Select and copy it";
  }
  setTimeout(() => { button.textContent = before; }, 1500);
}

export async function ask(lesson, settings) {
  const headers = { "Content-Type": "application/json" };
  let answer, found;
  try {
    answer = await fetch(`/lesson/${lesson}`, { method: "POST", headers, body: JSON.stringify(settings) });
    found = await answer.json();
  } catch {
    showError("The server does not answer. Start it again by: jaxnets playground");
    return null;
  }
  showError(answer.ok ? null : found.error);
  return answer.ok ? found : null;
}
