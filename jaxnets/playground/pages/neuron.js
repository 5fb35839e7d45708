// One neuron: its threshold, and two rules by which it learns.
import { ask, byId, element, fromBase64, onTheme, startTheme } from "./common.js";
import { startLearning } from "./learn.js";
import { drawSquare } from "./square.js";

const SLIDERS = ["w1", "w2", "w3", "bias"];
const number = (value) => String(Math.round(value * 100) / 100).replace("-", "−");
let answer = null;

const values = () => SLIDERS.map((id) => byId(id).valueAsNumber);

function term(weight, name, first) {
  const sign = weight < 0 ? "− " : first ? "" : "+ ";
  return `${sign}${number(Math.abs(weight))}${name ? ` ${name}` : ""} `;
}

function formula([w1, w2, w3, bias], gate) {
  if (gate === "xor_layers") return "[ OR − AND − ½ > 0 ],  OR = [ x₁ + x₂ − ½ > 0 ],  AND = [ x₁ + x₂ − 1½ > 0 ]";
  const terms = [[w1, "x₁"], [w2, "x₂"], ...(gate === "xor_product" ? [[w3, "x₁x₂"]] : [])].filter(([weight]) => weight !== 0);
  return `[ ${terms.map(([weight, name], place) => term(weight, name, place === 0)).join("")}${term(bias, "", terms.length === 0)}> 0 ]`;
}

// Ask the server; without weights it takes the lecture's.
async function update(lecture = false) {
  const gate = byId("gate").value, [w1, w2, w3, bias] = values();
  const found = await ask("threshold", lecture ? { gate } : { gate, weights: [w1, w2, gate === "xor_product" ? w3 : 0], bias });
  if (!found) return;
  answer = found;
  const numbers = [...found.weights, found.bias];
  SLIDERS.forEach((id, place) => {
    if (lecture) byId(id).value = numbers[place];
    byId(`${id}-shown`).textContent = number(numbers[place]);
  });
  byId("threshold-sliders").hidden = gate === "xor_layers";
  byId("product-field").hidden = gate !== "xor_product";
  byId("threshold-formula").textContent = formula(numbers, gate);
  fillTruth(gate);
  draw();
}

function fillTruth(gate) {
  const layered = gate === "xor_layers";
  const names = ["x₁", "x₂", ...(layered ? ["OR", "AND"] : []), "sum", "it says", "should be", "verdict"];
  const head = element("tr", {}, ...names.map((name) => element("th", { scope: "col" }, name)));
  const rows = answer.rows.map(({ inputs, hidden, sum, output, right }) => {
    const good = output === right;
    const cells = [...inputs, ...(hidden ?? []), number(sum), output, right].map((value) => element("td", {}, String(value)));
    return element("tr", {}, ...cells, element("td", { class: good ? "right" : "wrong" }, good ? "✓ right" : "✗ wrong"));
  });
  byId("truth").replaceChildren(element("thead", {}, head), element("tbody", {}, ...rows));
  const wrong = answer.rows.filter(({ output, right }) => output !== right).length;
  byId("verdict").className = wrong ? "wrong" : "right";
  byId("verdict").textContent = wrong
    ? `${wrong} of 4 are wrong.${gate === "xor" ? " Try: no line separates XOR. A third input or a second layer does." : ""}`
    : "All four are right.";
}

function draw() {
  if (!answer || byId("panel-threshold").hidden) return;
  const points = answer.rows.map(({ inputs, right }) => [...inputs, right]);
  drawSquare(byId("threshold-plane"), { extent: answer.extent, region: fromBase64(answer.region), pixels: answer.pixels, points });
  const says = answer.rows.map(({ inputs, output }) => `${inputs.join(" ")} gives ${output}`).join(", ");
  byId("threshold-plane").setAttribute("aria-label", `Where the neuron fires: ${says}.`);
}

// Tabs as the pattern for them says: one in the tab order, arrows move between them.
const tabs = [...document.querySelectorAll('[role="tab"]')];

function select(tab, focus = false) {
  for (const other of tabs) {
    other.setAttribute("aria-selected", String(other === tab));
    other.tabIndex = other === tab ? 0 : -1;
  }
  if (focus) tab.focus();
  const lesson = tab.id.slice(4);
  byId("panel-threshold").hidden = lesson !== "threshold";
  byId("panel-learn").hidden = lesson === "threshold";
  byId("panel-learn").setAttribute("aria-labelledby", tab.id);
  history.replaceState(null, "", `#${lesson}`);
  if (lesson === "threshold") draw();
  else learning.choose(lesson);
}

startTheme();
const learning = startLearning();
tabs.forEach((tab, place) => {
  tab.addEventListener("click", () => select(tab));
  tab.addEventListener("keydown", ({ key }) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[key];
    if (step) select(tabs[(place + step + tabs.length) % tabs.length], true);
  });
});
for (const id of SLIDERS) byId(id).addEventListener("input", () => update());
byId("gate").addEventListener("change", () => update(true));
byId("lecture").addEventListener("click", () => update(true));
addEventListener("resize", () => { draw(); learning.draw(); });
onTheme(() => { draw(); learning.draw(); });
update(true);
select(tabs.find((tab) => tab.id === `tab-${location.hash.slice(1)}`) ?? tabs[0]);
