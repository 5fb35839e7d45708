// The network as one sees it: features, neurons with their pictures, and weights as lines.
import { drawBytes, element, fromBase64, shape, shown } from "./common.js";

const NAMES = {
  x1: "x₁", x2: "x₂", "x1^2": "x₁²", "x2^2": "x₂²", "x1*x2": "x₁x₂", "sin(x1)": "sin x₁", "sin(x2)": "sin x₂",
};
export const featureName = (name) => NAMES[name] ?? name;
const thickness = (weight) => 0.5 + Math.min(Math.abs(weight ?? 0), 5) * 1.8;

export class NetworkView {
  // handlers: onFeature(name, on), onLayers(hidden), onShow(what or null), onDetail(words)
  constructor(root, welcome, handlers) {
    Object.assign(this, { root, welcome, ...handlers, pinned: null, frame: null });
    this.features = Object.fromEntries(Object.entries(welcome.features).map(([name, text]) => [name, fromBase64(text)]));
    new ResizeObserver(() => this.place()).observe(root);
  }

  build(settings) {
    const focused = document.activeElement?.id;
    Object.assign(this, { settings, pinned: null, links: [], nodes: [] });
    this.svg = shape("svg", { class: "links", "aria-hidden": "true" });
    const hidden = settings.hidden.map((size, layer) => this.layerColumn(size, layer));
    this.root.replaceChildren(this.svg, this.featureColumn(), ...hidden, this.outputColumn());
    this.connect();
    this.place();
    this.redraw();
    if (focused) document.getElementById(focused)?.focus();
  }

  featureColumn() {
    const column = element("div", { class: "column", role: "group", "aria-label": "Features" });
    column.append(element("div", { class: "head" }, "Features"));
    this.inputs = {};
    for (const name of Object.keys(this.welcome.features)) {
      const on = this.settings.features.includes(name);
      const box = element("input", { type: "checkbox", id: `feature-${name}`, checked: on, "aria-label": `Feature ${featureName(name)}` });
      const picture = element("span", { class: "picture" }, element("canvas", { "aria-hidden": "true" }));
      const label = element("label", { class: "feature" }, box, element("span", { class: "name", "aria-hidden": "true" }, featureName(name)), picture);
      box.addEventListener("change", () => this.onFeature(name, box.checked));
      this.listen(label, box, { kind: "feature", name }, () => `${featureName(name)} as an input${on ? "" : ", switched off"}.`);
      this.inputs[name] = picture;
      column.append(label);
    }
    return column;
  }

  layerColumn(size, layer) {
    const { hidden } = this.settings, most = this.welcome.limits.neurons;
    const button = (sign, change, words) => {
      const made = element("button", { type: "button", class: "small", id: `layer-${layer}-${words}`, "aria-label": `${words} a neuron, layer ${layer + 1}` }, sign);
      made.disabled = size + change < 1 || size + change > most;
      made.addEventListener("click", () => this.onLayers(hidden.map((other, place) => (place === layer ? size + change : other))));
      return made;
    };
    const head = element("div", { class: "head" },
      element("div", { class: "row" }, button("−", -1, "Remove"), button("+", 1, "Add")),
      element("span", {}, `${size} ${size === 1 ? "neuron" : "neurons"}`));
    const column = element("div", { class: "column", role: "group", "aria-label": `Hidden layer ${layer + 1}` }, head);
    for (let number = 0; number < size; number++) column.append(this.neuron(layer, number));
    return column;
  }

  neuron(layer, number) {
    const index = this.nodes.length, words = `Layer ${layer + 1}, neuron ${number + 1}`;
    const node = element("button", { type: "button", class: "node", id: `neuron-${layer}-${number}`, "aria-pressed": "false", "aria-label": `${words}: show it large` },
      element("canvas", { "aria-hidden": "true" }), element("span", { class: "bias" }));
    this.nodes.push({ node, layer, number });
    const what = { kind: "neuron", index, words };
    node.addEventListener("click", () => {
      this.pinned = this.pinned?.index === index ? null : what;
      for (const other of this.nodes) other.node.setAttribute("aria-pressed", String(this.pinned?.index === other.index));
      this.onShow(this.pinned ?? what);
    });
    this.nodes[index].index = index;
    this.listen(node, node, what, () => this.neuronWords(layer, number));
    return node;
  }

  outputColumn() {
    const node = element("div", { class: "node", role: "img", "aria-label": "The output neuron; its picture is large in the next part" },
      element("canvas", { "aria-hidden": "true" }), element("span", { class: "bias" }));
    this.output = node;
    node.addEventListener("pointerenter", () => this.onDetail(this.neuronWords(this.settings.hidden.length, 0)));
    return element("div", { class: "column" }, element("div", { class: "head" }, "Output"), node);
  }

  listen(area, focusable, what, words) {
    const show = () => { this.onShow(what); this.onDetail(words()); };
    const leave = () => { this.onShow(this.pinned); this.onDetail(""); };
    area.addEventListener("pointerenter", show);
    area.addEventListener("pointerleave", leave);
    focusable.addEventListener("focus", show);
    focusable.addEventListener("blur", leave);
  }

  sourceNames(layer) {
    if (layer === 0) return this.settings.features.map(featureName);
    return Array.from({ length: this.settings.hidden[layer - 1] }, (_, number) => `neuron ${number + 1}`);
  }

  neuronWords(layer, number) {
    const found = this.frame?.layers[layer], last = layer === this.settings.hidden.length;
    if (!found) return "";
    const weights = this.sourceNames(layer).map((name, source) => `${name} ${shown(found.kernel[source][number], 2)}`);
    return `${last ? "Output" : `Layer ${layer + 1}, neuron ${number + 1}`}: bias ${shown(found.bias[number], 2)}; weights ${weights.join(", ")}.`;
  }

  // One line for every weight, from the middle of one side to the middle of the other.
  connect() {
    const columns = [
      this.settings.features.map((name) => this.inputs[name]),
      ...this.settings.hidden.map((_, layer) => this.nodes.filter((one) => one.layer === layer).map((one) => one.node)),
      [this.output],
    ];
    for (let layer = 0; layer + 1 < columns.length; layer++) {
      columns[layer].forEach((from, source) => columns[layer + 1].forEach((to, target) => {
        const path = shape("path");
        const words = () => {
          const last = layer === this.settings.hidden.length;
          const end = last ? "the output" : `layer ${layer + 1}, neuron ${target + 1}`;
          return `From ${this.sourceNames(layer)[source]} to ${end}: weight ${shown(this.frame?.layers[layer].kernel[source][target], 3)}.`;
        };
        path.addEventListener("pointerenter", () => this.onDetail(words()));
        path.addEventListener("pointerleave", () => this.onDetail(""));
        this.svg.append(path);
        this.links.push({ path, from, to, layer, source, target });
      }));
    }
  }

  place() {
    if (!this.links) return;
    const base = this.root.getBoundingClientRect();
    for (const { path, from, to } of this.links) {
      const [a, b] = [from.getBoundingClientRect(), to.getBoundingClientRect()];
      const [x1, y1, x2, y2] = [a.right - base.left, a.top + a.height / 2 - base.top, b.left - base.left, b.top + b.height / 2 - base.top];
      const middle = (x1 + x2) / 2;
      path.setAttribute("d", `M${x1},${y1} C${middle},${y1} ${middle},${y2} ${x2},${y2}`);
    }
  }

  redraw() {
    for (const [name, picture] of Object.entries(this.inputs ?? {})) {
      drawBytes(picture.firstChild, this.features[name], this.welcome.small);
    }
    if (this.frame) this.update(this.frame);
  }

  update(frame) {
    this.frame = frame;
    const { small, pixels } = this.welcome;
    for (const { node, layer, number, index } of this.nodes) {
      drawBytes(node.firstChild, frame.neuron(index), small, this.discrete);
      this.bias(node, frame.layers[layer]?.bias[number]);
    }
    drawBytes(this.output.firstChild, frame.output, pixels, this.discrete);
    this.bias(this.output, frame.layers[this.settings.hidden.length]?.bias[0]);
    for (const link of this.links) {
      const weight = frame.layers[link.layer]?.kernel[link.source]?.[link.target];
      link.path.setAttribute("stroke-width", thickness(weight).toFixed(2));
      link.path.classList.toggle("negative", weight < 0);
    }
  }

  bias(node, value) {
    node.lastChild.classList.toggle("negative", value < 0);
    node.lastChild.style.opacity = String(0.25 + 0.75 * Math.min(Math.abs(value ?? 0), 1));
  }

  // All weights, for those who read them.
  table() {
    const made = element("table", {}, element("caption", {}, "Weights and biases of every neuron"));
    const head = element("tr", {}, element("th", { scope: "col" }, "neuron"), element("th", { scope: "col" }, "bias"), element("th", { scope: "col" }, "weights"));
    made.append(element("thead", {}, head));
    const body = element("tbody");
    (this.frame?.layers ?? []).forEach((layer, place) => layer.bias.forEach((bias, number) => {
      const name = place === this.settings.hidden.length ? "output" : `layer ${place + 1}, ${number + 1}`;
      const weights = this.sourceNames(place).map((source, row) => `${source} ${shown(layer.kernel[row][number])}`).join(", ");
      body.append(element("tr", {}, element("th", { scope: "row" }, name), element("td", {}, shown(bias)), element("td", {}, weights)));
    }));
    made.append(body);
    return made;
  }
}

