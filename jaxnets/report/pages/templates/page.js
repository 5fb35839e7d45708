// Charts without a library: hover, zoom by dragging, buttons or keys, and lines that can be switched off.
(() => {
  "use strict";
  const SVG = "http://www.w3.org/2000/svg";
  const MARGIN = { left: 62, right: 14, top: 10, bottom: 36 };
  const MOST_LINES = 14; // of a tooltip
  const MOST_MARKERS = 40;
  const SHAPES = [
    "M-3,0a3,3 0 1,0 6,0a3,3 0 1,0 -6,0", "M-3,-3h6v6h-6z", "M0,-4l4,4l-4,4l-4,-4z", "M0,-4l4,7h-8z",
    "M0,4l4,-7h-8z", "M-4,-1h3v-3h2v3h3v2h-3v3h-2v-3h-3z", "M-3,-3l6,6M3,-3l-6,6", "M-3,-3h6v6h-6z",
  ];
  const DASHES = ["", "7 3", "2 3", "9 3 2 3", "5 2", "1 2", "12 4", "3 3 7 3"];
  let number = 0;

  function make(parent, name, attributes = {}) {
    const node = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    parent.append(node);
    return node;
  }

  function element(parent, name, words = "", attributes = {}) {
    const node = document.createElement(name);
    node.textContent = words;
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    parent.append(node);
    return node;
  }

  function format(value) {
    if (value === null || value === undefined) return "not finite";
    if (value === 0) return "0";
    const size = Math.abs(value);
    if (size >= 1e7 || size < 1e-3) return value.toExponential(3);
    return String(Number(value.toPrecision(5)));
  }

  function short(value) { // for the axes
    if (value === 0) return "0";
    const size = Math.abs(value);
    if (size >= 1e6 || size < 1e-4) return value.toExponential().replace("e+", "e");
    return String(Number(value.toPrecision(6)));
  }

  function ticks(low, high, most, whole) {
    const rough = (high - low) / most || 1;
    const power = 10 ** Math.floor(Math.log10(rough));
    let step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough * (1 - 1e-9));
    if (whole && high - low >= 1) step = Math.max(1, Math.round(step));
    const found = [];
    for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i += 1) found.push(i * step);
    return found;
  }

  function logTicks(low, high) {
    const first = Math.floor(Math.log10(low)), last = Math.ceil(Math.log10(high));
    const factors = last - first > 3 ? [1] : last - first > 1 ? [1, 3] : [1, 2, 5];
    const skip = Math.max(1, Math.ceil((last - first) / 7));
    const found = [];
    for (let power = first; power <= last; power += skip) {
      for (const factor of factors) {
        const value = factor * 10 ** power;
        if (value >= low * 0.999 && value <= high * 1.001) found.push(value);
      }
    }
    return found.length > 1 ? found : [low, high];
  }

  class Chart {
    constructor(figure, data) {
      Object.assign(this, { figure, data, hidden: new Set(), cursor: null, drag: null });
      this.clip = `clip${(number += 1)}`;
      const values = data.series.flatMap((series) => series.points.map((point) => point[2])).filter((value) => value !== null);
      const xs = data.series.flatMap((series) => series.points.map((point) => point[0]));
      this.full = [Math.min(...xs), Math.max(...xs)];
      if (this.full[0] === this.full[1]) this.full = [this.full[0] - 0.5, this.full[1] + 0.5];
      this.view = this.full;
      this.positive = values.length > 0 && Math.min(...values) > 0;
      this.log = this.positive && Math.max(...values) > 10 * Math.min(...values);
      this.build();
      new ResizeObserver(() => this.draw()).observe(this.svg);
    }

    build() {
      const bar = element(this.figure, "div", "", { class: "bar" });
      const caption = this.figure.querySelector("figcaption");
      bar.append(caption);
      const button = (words, says, act) => {
        const made = element(bar, "button", words, { type: "button", title: says, "aria-label": `${says}: ${this.data.title}` });
        made.addEventListener("click", act);
        return made;
      };
      this.out = button("−", "Zoom out", () => this.zoom(2));
      button("+", "Zoom in", () => this.zoom(0.5));
      this.all = button("All", "Show all", () => this.look(this.full));
      if (this.positive) {
        this.logButton = button("Log", "Logarithmic axis", () => this.toggleLog());
        this.logButton.classList.add("toggle");
      }
      const lines = this.data.series.map((series) => series.label).join(", ");
      this.svg = make(this.figure, "svg", {
        tabindex: 0, role: "application", "aria-roledescription": "chart",
        "aria-label": `${this.data.title} over the epochs: ${lines}. Arrow keys read values, + and - zoom, 0 shows all, L changes the axis.`,
      });
      this.legend = element(this.figure, "div", "", { class: "legend" });
      this.data.series.forEach((series, index) => this.legendButton(series, index));
      this.tip = element(this.figure, "div", "", { class: "tip", hidden: "" });
      this.said = element(this.figure, "div", "", { class: "said", role: "status" });
      const thinned = this.data.series.filter((series) => series.thinned);
      if (thinned.length) {
        const points = thinned.map((series) => series.thinned).reduce((a, b) => Math.max(a, b));
        element(this.figure, "p", `Of up to ${points.toLocaleString("en")} points of a line, the smallest and the largest of each stretch are drawn.`, { class: "quiet small" });
      }
      this.svg.addEventListener("pointermove", (event) => this.move(event));
      this.svg.addEventListener("pointerdown", (event) => this.press(event));
      this.svg.addEventListener("pointerup", (event) => this.release(event));
      this.svg.addEventListener("pointercancel", () => { this.drag = null; this.draw(); });
      this.svg.addEventListener("pointerleave", () => { if (!this.drag) this.point(null); });
      this.svg.addEventListener("blur", () => this.point(null));
      this.svg.addEventListener("dblclick", () => this.look(this.full));
      this.svg.addEventListener("keydown", (event) => this.key(event));
    }

    legendButton(series, index) {
      if (series.kind === "thin") return; // goes with the mean of its group
      const button = element(this.legend, "button", "", { type: "button", "aria-pressed": "true" });
      const picture = make(button, "svg", { viewBox: "-13 -6 26 12", "aria-hidden": "true" });
      if (series.points.length > 1) make(picture, "path", { d: "M-12,0H12", ...this.stroke(series) });
      if (series.kind === "line") make(picture, "path", { d: SHAPES[series.color % SHAPES.length], fill: this.color(series), stroke: this.color(series) });
      const finite = series.points.filter((point) => point[2] !== null);
      element(button, "span", finite.length ? `${series.label} ${format(finite[finite.length - 1][2])}` : `${series.label} (no finite value)`);
      button.title = "The last value; click to hide or show the line";
      button.addEventListener("click", () => {
        const hide = !this.hidden.has(index);
        this.data.series.forEach((other, i) => {
          if (i !== index && !(series.kind === "mean" && other.kind === "thin" && other.color === series.color)) return;
          if (hide) this.hidden.add(i); else this.hidden.delete(i);
        });
        button.setAttribute("aria-pressed", String(!hide));
        this.draw();
      });
    }

    color(series) { return `var(--c${series.color % 8})`; }

    stroke(series) {
      const width = series.kind === "thin" ? 1 : series.kind === "mean" ? 2.5 : 1.8;
      const dash = series.kind === "thin" ? "" : DASHES[series.color % DASHES.length];
      return { fill: "none", stroke: this.color(series), "stroke-width": width, "stroke-dasharray": dash, "stroke-linejoin": "round", opacity: series.kind === "thin" ? 0.45 : 1 };
    }

    shown() { return this.data.series.filter((_, index) => !this.hidden.has(index)); }

    inView(x) { return x >= this.view[0] && x <= this.view[1]; }

    range() {
      const values = [];
      for (const series of this.shown()) {
        for (const [x, , y] of series.points) if (y !== null && this.inView(x) && (!this.log || y > 0)) values.push(y);
        for (const [x, low, high] of series.band || []) {
          if (this.inView(x) && (!this.log || low > 0)) values.push(low, high);
        }
      }
      if (!values.length) return [this.log ? 0.1 : 0, 1];
      let low = values.reduce((a, b) => Math.min(a, b)), high = values.reduce((a, b) => Math.max(a, b));
      if (this.log) return low === high ? [low / 2, high * 2] : [low / (high / low) ** 0.05, high * (high / low) ** 0.05];
      const pad = (high - low) * 0.06 || Math.abs(high) * 0.1 || 1;
      return [low - pad, high + pad];
    }

    draw() {
      const { width, height } = this.svg.getBoundingClientRect();
      if (!width) return; // inside of what is closed
      Object.assign(this, { width, height, limits: this.range() });
      this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
      this.svg.replaceChildren();
      this.axes();
      const clip = make(make(this.svg, "clipPath", { id: this.clip }), "rect", {
        x: MARGIN.left - 5, y: MARGIN.top - 5, width: Math.max(0, width - MARGIN.left - MARGIN.right + 10), height: height - MARGIN.top - MARGIN.bottom + 10,
      });
      const group = make(this.svg, "g", { "clip-path": `url(#${clip.parentNode.id})` });
      for (const series of this.shown()) this.line(group, series);
      this.front = make(this.svg, "g");
      this.all.disabled = this.out.disabled = this.view === this.full;
      if (this.logButton) this.logButton.setAttribute("aria-pressed", String(this.log));
      this.point(this.cursor);
    }

    left(x) { return MARGIN.left + ((x - this.view[0]) / (this.view[1] - this.view[0])) * (this.width - MARGIN.left - MARGIN.right); }

    top(y) {
      const [low, high] = this.limits;
      const share = this.log ? Math.log(y / low) / Math.log(high / low) : (y - low) / (high - low);
      return this.height - MARGIN.bottom - share * (this.height - MARGIN.top - MARGIN.bottom);
    }

    axes() {
      const bottom = this.height - MARGIN.bottom, right = this.width - MARGIN.right;
      for (const y of this.log ? logTicks(...this.limits) : ticks(...this.limits, 5, false)) {
        make(this.svg, "line", { class: "grid", x1: MARGIN.left, x2: right, y1: this.top(y), y2: this.top(y) });
        make(this.svg, "text", { x: MARGIN.left - 8, y: this.top(y) + 4, "text-anchor": "end" }).textContent = short(y);
      }
      for (const x of ticks(...this.view, Math.max(2, Math.min(8, this.width / 70)), true)) {
        make(this.svg, "line", { class: "grid", x1: this.left(x), x2: this.left(x), y1: MARGIN.top, y2: bottom });
        make(this.svg, "text", { x: this.left(x), y: bottom + 16, "text-anchor": "middle" }).textContent = short(x);
      }
      make(this.svg, "line", { class: "axis", x1: MARGIN.left, x2: right, y1: bottom, y2: bottom });
      make(this.svg, "text", { x: (MARGIN.left + right) / 2, y: this.height - 4, "text-anchor": "middle" }).textContent = "epoch";
      if (this.log) make(this.svg, "text", { x: 4, y: this.height - 4 }).textContent = "log scale";
    }

    drawable(y) { return y !== null && (!this.log || y > 0); }

    line(group, series) {
      if (series.band && series.band.length > 1) {
        const floor = this.limits[0];
        const upper = series.band.map(([x, , high]) => `${this.left(x)},${this.top(this.log ? Math.max(high, floor) : high)}`);
        const lower = series.band.map(([x, low]) => `${this.left(x)},${this.top(this.log ? Math.max(low, floor) : low)}`).reverse();
        make(group, "polygon", { points: [...upper, ...lower].join(" "), fill: this.color(series), opacity: 0.14 });
      }
      let path = "", open = false;
      for (const [x, , y] of series.points) {
        if (this.drawable(y)) path += `${open ? "L" : "M"}${this.left(x).toFixed(1)},${this.top(y).toFixed(1)}`;
        open = this.drawable(y);
      }
      make(group, "path", { d: path, ...this.stroke(series) });
      const seen = series.points.filter(([x, , y]) => this.inView(x) && this.drawable(y));
      if (series.kind === "line" && seen.length <= MOST_MARKERS) {
        for (const [x, , y] of seen) this.marker(group, series, x, y, series.points.length === 1 ? 1.7 : 1);
      }
    }

    marker(group, series, x, y, size) {
      make(group, "path", {
        d: SHAPES[series.kind === "line" ? series.color % SHAPES.length : 0], fill: this.color(series), stroke: this.color(series),
        transform: `translate(${this.left(x).toFixed(1)},${this.top(y).toFixed(1)}) scale(${size})`,
      });
    }

    places() { // where there is something to read
      return [...new Set(this.shown().flatMap((series) => series.points.map((point) => point[0])))].filter((x) => this.inView(x)).sort((a, b) => a - b);
    }

    at(event) { // the epoch below the pointer
      const share = (event.clientX - this.svg.getBoundingClientRect().left - MARGIN.left) / (this.width - MARGIN.left - MARGIN.right);
      return this.view[0] + Math.min(1, Math.max(0, share)) * (this.view[1] - this.view[0]);
    }

    nearest(x) {
      return this.places().reduce((best, place) => (best === null || Math.abs(place - x) < Math.abs(best - x) ? place : best), null);
    }

    move(event) {
      const x = this.at(event);
      if (this.drag) {
        this.drag.to = x;
        if (Math.abs(this.left(x) - this.left(this.drag.from)) > 5) this.drag.moved = true;
      }
      this.point(this.nearest(x));
    }

    press(event) {
      if (event.button) return;
      this.svg.setPointerCapture(event.pointerId);
      this.drag = { from: this.at(event), to: this.at(event), moved: false };
      this.point(this.nearest(this.drag.from));
    }

    release() {
      const drag = this.drag;
      this.drag = null;
      if (drag && drag.moved) this.look([Math.min(drag.from, drag.to), Math.max(drag.from, drag.to)]);
    }

    look([low, high]) {
      const smallest = (this.full[1] - this.full[0]) / 1e4;
      const middle = (low + high) / 2, half = Math.max((high - low) / 2, smallest);
      const inside = [Math.max(this.full[0], middle - half), Math.min(this.full[1], middle + half)];
      this.view = inside[0] <= this.full[0] && inside[1] >= this.full[1] ? this.full : inside;
      if (this.cursor !== null && !this.inView(this.cursor)) this.cursor = null;
      this.draw();
    }

    zoom(factor) {
      const middle = this.cursor === null ? (this.view[0] + this.view[1]) / 2 : this.cursor;
      this.look([middle - (middle - this.view[0]) * factor, middle + (this.view[1] - middle) * factor]);
    }

    toggleLog() {
      if (!this.positive) return;
      this.log = !this.log;
      this.draw();
    }

    key(event) {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const places = this.places();
      const here = this.cursor === null ? -1 : places.indexOf(this.cursor);
      const acts = {
        ArrowRight: () => this.say(places[here < 0 ? 0 : Math.min(here + 1, places.length - 1)]),
        ArrowLeft: () => this.say(places[here < 0 ? places.length - 1 : Math.max(here - 1, 0)]),
        Home: () => this.say(places[0]),
        End: () => this.say(places[places.length - 1]),
        "+": () => this.zoom(0.5), "=": () => this.zoom(0.5), "-": () => this.zoom(2),
        0: () => this.look(this.full), Escape: () => this.look(this.full),
        l: () => this.toggleLog(), L: () => this.toggleLog(),
      };
      if (!acts[event.key]) return;
      event.preventDefault();
      acts[event.key]();
    }

    say(x) {
      if (x === undefined) return;
      this.point(x);
      this.said.textContent = [...this.tip.children].map((line) => [...line.children].map((part) => part.textContent).join(" ")).join(", ");
    }

    point(x) {
      this.cursor = x;
      if (!this.front) return;
      this.front.replaceChildren();
      this.tip.hidden = true;
      if (this.drag && this.drag.moved) {
        const [from, to] = [this.left(this.drag.from), this.left(this.drag.to)];
        make(this.front, "rect", { class: "selection", x: Math.min(from, to), y: MARGIN.top, width: Math.abs(to - from), height: this.height - MARGIN.top - MARGIN.bottom });
      }
      if (x === null) return;
      make(this.front, "line", { class: "cursor", x1: this.left(x), x2: this.left(x), y1: MARGIN.top, y2: this.height - MARGIN.bottom });
      const here = [];
      for (const series of this.shown()) {
        const point = series.points.find((candidate) => candidate[0] === x);
        if (point) here.push([series, point]);
        if (point && this.drawable(point[2])) this.marker(this.front, series, x, point[2], 1.5);
      }
      this.tell(x, here);
    }

    tell(x, here) {
      this.tip.replaceChildren();
      const where = element(this.tip, "div", "", { class: "where" });
      const steps = here.length ? Math.round(here[0][1][1]).toLocaleString("en") : "";
      element(where, "span", `epoch ${format(x)}`);
      element(where, "span", `step ${steps}`);
      for (const [series, point] of here.slice(0, MOST_LINES)) {
        const line = element(this.tip, "div");
        const name = element(line, "span");
        element(name, "span", "", { class: "key" }).style.background = this.color(series);
        name.append(series.label);
        element(line, "span", format(point[2]));
      }
      if (here.length > MOST_LINES) element(this.tip, "div", `and ${here.length - MOST_LINES} more`);
      this.tip.hidden = false;
      const top = this.svg.getBoundingClientRect().top - this.figure.getBoundingClientRect().top + MARGIN.top + 4;
      const at = this.left(x), wide = this.tip.offsetWidth;
      const beside = at + 14 + wide < this.width ? at + 14 : at - 14 - wide;
      this.tip.style.left = `${Math.max(0, Math.min(beside, this.width - wide))}px`;
      this.tip.style.top = `${top}px`;
    }
  }

  const data = document.getElementById("charts");
  if (data) {
    const charts = JSON.parse(data.textContent);
    for (const figure of document.querySelectorAll("figure.chart")) new Chart(figure, charts[Number(figure.dataset.chart)]);
  }

  for (const button of document.querySelectorAll("button.copy")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      const source = document.getElementById(button.dataset.of);
      try {
        await navigator.clipboard.writeText(source.textContent);
        button.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(source); // to be copied by hand
        button.textContent = "Selected";
      }
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
    });
  }

  for (const button of document.querySelectorAll("button.actual-size")) {
    button.hidden = false;
    button.addEventListener("click", () => {
      const actual = button.closest("figure").classList.toggle("actual");
      button.setAttribute("aria-pressed", String(actual));
      button.textContent = actual ? "Fit to page" : "Full size";
    });
  }
})();
