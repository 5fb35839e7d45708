// Backpropagation line by line: the lines come from the server, which computes them.
import { ask, byId, element, shape, startTheme } from "./common.js";

const PARTS = { forward: "Forward: the prediction", backward: "Backward: the gradient, from the end", update: "The step against the gradient", again: "Forward once more" };
const WEIGHTS = ["w1", "w2", "w3", "w4", "w5", "w6"];
const GIVEN = ["x1", "x2", "target", ...WEIGHTS, "rate"];
const subscript = (name) => name.replace(/([xwh])(\d)/g, (_, letter, digit) => letter + "₀₁₂₃₄₅₆"[digit]);
const title = (name) => subscript(name.replace("gradient ", "∂E/∂").replace("error", "E").replace("delta", "δ").replace("next y", "next ŷ").replace(/^y$/, "ŷ"));
const words = (text) => subscript(text.replace(/gradient (w\d)/g, "∂E/∂$1").replaceAll("delta", "δ").replace(/\by\b/g, "ŷ"));
const shown = (value) => Number(value.toPrecision(4)).toString().replace("-", "−");

let found = null, place = 0, rounds = 0;
const fields = {}; // for the numbers that are given

function readNumbers() {
  const value = (name) => fields[name].valueAsNumber;
  return { inputs: [value("x1"), value("x2")], target: value("target"), weights: WEIGHTS.map(value), learning_rate: value("rate") };
}

function makeField(name) {
  fields[name] = element("input", { type: "number", step: "any", id: `number-${name}` });
  fields[name].addEventListener("change", () => load());
  byId("numbers").append(element("div", { class: "field" }, element("label", { for: `number-${name}` }, subscript(name)), fields[name]));
}

// Without numbers the server takes the course's.
async function load({ numbers = readNumbers(), next = 0, round = 0 } = {}) {
  const answer = await ask("backprop", numbers);
  if (!answer) return;
  [found, rounds] = [answer, round];
  byId("again").disabled = false;
  for (const name of GIVEN) fields[name].value = Number(found.values[name].toPrecision(8));
  fillTable();
  byId("rounds").textContent = rounds ? `Step ${rounds + 1}` : "The first step";
  move(next);
}

function move(next) {
  place = Math.min(Math.max(next, 0), found.steps.length);
  byId("back").disabled = byId("start").disabled = place === 0;
  byId("next").disabled = byId("all").disabled = place === found.steps.length;
  fillLines();
  drawDiagram();
  const step = found.steps[place - 1];
  byId("line").replaceChildren(...(step ? lineOf(step) : ["Inputs, weights and target are given. What does the network say?"]));
}

function lineOf({ name, formula, numbers, value }) {
  return [`${title(name)} = ${words(formula)}`, numbers ? ` = ${numbers}` : "", " = ", element("span", { class: "result" }, shown(value))];
}

function fillLines() {
  const items = [];
  found.steps.slice(0, place).forEach((step, number) => {
    if (!number || found.steps[number - 1].part !== step.part) items.push(element("li", { class: "head" }, PARTS[step.part]));
    const line = element("li", {}, element("b", {}, title(step.name)), element("span", {}, `${words(step.formula)} `, element("span", { class: "numbers" }, step.numbers ? `= ${step.numbers} ` : ""), "= ", element("b", {}, shown(step.value))));
    if (number === place - 1) line.setAttribute("aria-current", "step");
    items.push(line);
  });
  if (!items.length) items.push(element("li", { class: "head" }, "Press “Next line”."));
  byId("lines").replaceChildren(...items);
}

function fillTable() {
  const { values } = found;
  const head = element("tr", {}, ...["name", "weight", "by hand", "jax.grad", "new weight"].map((name) => element("th", { scope: "col" }, name)));
  const rows = WEIGHTS.map((name, number) => element("tr", {}, element("th", { scope: "row" }, subscript(name)),
    ...[values[name], found.by_hand[number], found.by_jax[number], values[`new ${name}`]].map((value) => element("td", {}, value.toFixed(5).replace("-", "−")))));
  const last = element("tr", {}, element("th", { scope: "row" }, "ŷ"), element("td", {}, shown(values.y)), element("td", {}), element("td", {}), element("td", {}, shown(values["next y"])));
  byId("table").replaceChildren(element("thead", {}, head), element("tbody", {}, ...rows, last));
}

// ---- The diagram ----

const PLACES = { x1: [60, 90], x2: [60, 250], h1: [290, 90], h2: [290, 250], y: [500, 170] };
const EDGES = { w1: ["x1", "h1"], w2: ["x2", "h1"], w3: ["x1", "h2"], w4: ["x2", "h2"], w5: ["h1", "y"], w6: ["h2", "y"] };

function drawDiagram() {
  const done = new Set(["x1", "x2", ...WEIGHTS, ...found.steps.slice(0, place).map(({ name }) => name)]);
  const step = found.steps[place - 1];
  const used = new Set(step ? [step.name, ...step.uses] : []);
  const svg = shape("svg", { class: "diagram", viewBox: "10 44 580 250", role: "img", "aria-label": describe(done) });
  for (const [name, ends] of Object.entries(EDGES)) svg.append(...edge(name, ends, done, used));
  for (const [name, [x, y]] of Object.entries(PLACES)) svg.append(...node(name, x, y, done, used));
  const line = (text, y) => shape("text", { x: 500, y, "text-anchor": "middle", class: "soft" }, text);
  svg.append(line(`target ${shown(found.values.target)}`, 226));
  if (done.has("error")) svg.append(line(`E ${shown(found.values.error)}`, 246));
  if (done.has("delta")) svg.append(line(`δ ${shown(found.values.delta)}`, 266));
  if (done.has("next y")) svg.append(line(`next ŷ ${shown(found.values["next y"])}`, 110));
  byId("diagram").replaceChildren(svg);
}

function edge(name, [from, to], done, used) {
  const [[x1, y1], [x2, y2]] = [PLACES[from], PLACES[to]], share = name === "w2" || name === "w3" ? 0.33 : 0.5;
  const active = [...used].some((other) => other.endsWith(name));
  const line = shape("line", { x1: x1 + 30, y1, x2: x2 - 34, y2, stroke: active ? "var(--accent)" : "var(--line)", "stroke-width": active ? 4 : 2 });
  const at = [x1 + 30 + (x2 - x1 - 64) * share, y1 + (y2 - y1) * share];
  const updated = done.has(`new ${name}`), value = updated ? `${shown(found.values[name])} → ${found.values[`new ${name}`].toFixed(2)}` : shown(found.values[name]);
  const label = shape("text", { x: at[0], y: at[1] - 8, "text-anchor": "middle", class: "halo" }, `${subscript(name)} ${value}`);
  const parts = [line, label];
  if (done.has(`gradient ${name}`)) parts.push(shape("text", { x: at[0], y: at[1] + 14, "text-anchor": "middle", class: "soft halo" }, `∂ ${found.values[`gradient ${name}`].toFixed(3).replace("-", "−")}`));
  return parts;
}

function node(name, x, y, done, used) {
  const active = used.has(name);
  const circle = shape("circle", { cx: x, cy: y, r: 32, fill: "var(--panel)", stroke: active ? "var(--accent)" : "var(--text)", "stroke-width": active ? 4 : 2 });
  const words = [shape("text", { x, y: done.has(name) ? y - 3 : y + 5, "text-anchor": "middle" }, title(name))];
  if (done.has(name)) words.push(shape("text", { x, y: y + 16, "text-anchor": "middle", class: "value" }, shown(found.values[name])));
  return [circle, ...words];
}

function describe(done) {
  const known = ["x1", "x2", "h1", "h2", "y", "error", "delta", "next y"].filter((name) => done.has(name));
  return `Network of two inputs, two hidden units and one output: ${known.map((name) => `${name} ${shown(found.values[name])}`).join(", ")}.`;
}

// ---- Begin ----

GIVEN.forEach(makeField);
byId("next").addEventListener("click", () => move(place + 1));
byId("back").addEventListener("click", () => move(place - 1));
byId("all").addEventListener("click", () => move(found.steps.length));
byId("start").addEventListener("click", () => move(0));
byId("course").addEventListener("click", () => load({ numbers: {} }));
byId("again").addEventListener("click", () => {
  const weights = WEIGHTS.map((name) => found.values[`new ${name}`]);
  load({ numbers: { ...readNumbers(), weights }, next: found.steps.length, round: rounds + 1 });
});
startTheme();
load({ numbers: {} });
