// The perceptron rule and the delta rule, one example after the other.
import { announce, ask, byId, element, reducedMotion, shown, variable } from "./common.js";
import { drawChart } from "./charts.js";
import { drawSquare, halfPlane } from "./square.js";

const WORDS = {
  perceptron: "Pick an example at random. Is it right, change nothing. Should it be 1 and ⟨w, x⟩ < 0, add x to the weights; should it be 0 and ⟨w, x⟩ ≥ 0, subtract x. The threshold is the weight of a third input that is always 1.",
  delta: "Pick an example at random. The error is the target (1 or −1) minus the sum itself, not the decision: w + rate · error · x. So it goes on learning when all decisions are right, down to the least squared error.",
};
const number = (value) => String(Number(value.toFixed(2))).replace("-", "−");
const factor = (value) => (value < 0 ? `(${number(value)})` : number(value));
const vector = (values) => `(${values.map(number).join(", ")})`;

export function startLearning() {
  let rule = "perceptron", points = [], found = null, place = 0, timer = null, questions = 0;
  const sets = new Map(); // by name, the points of those that were chosen before
  const extent = () => (byId("learn-data").value === "clouds" ? [-4.5, 4.5] : [-0.6, 1.6]);
  const state = (number) => (number ? found.steps[number - 1] : found.start);

  // The points are there at once; the steps take a while when the server has not compiled the rule yet.
  async function load() {
    stop();
    const question = ++questions, data = byId("learn-data").value;
    const settings = { rule, data, seed: byId("learn-seed").valueAsNumber };
    if (rule === "delta") settings.learning_rate = Number(byId("learn-rate").value);
    [points, found, place] = [[], null, 0];
    show();
    if (!sets.has(data)) sets.set(data, ask("points", { data }));
    points = (await sets.get(data)) ?? [];
    if (question !== questions) return;
    draw();
    const waiting = setTimeout(() => explainBy(`Compiling the ${rule} rule …`), 150);
    const answer = await ask("learn", settings);
    clearTimeout(waiting);
    if (question !== questions) return;
    found = answer;
    points = found?.points ?? points;
    show();
  }

  // Where the perceptron is done: no example is wrong any more.
  const end = () => {
    if (rule === "delta") return found.steps.length;
    const done = [found.start, ...found.steps].findIndex(({ wrong }) => wrong === 0);
    return done < 0 ? found.steps.length : done;
  };

  function stop() {
    clearInterval(timer);
    timer = null;
    byId("learn-play").textContent = "Play";
  }

  function move(next) {
    place = Math.min(Math.max(next, 0), end());
    if (place === end()) stop();
    show();
  }

  function show() {
    byId("rule-words").textContent = WORDS[rule];
    byId("rate-field").hidden = rule !== "delta";
    byId("learn-back").disabled = byId("learn-again").disabled = place === 0;
    byId("learn-step").disabled = byId("learn-end").disabled = byId("learn-play").disabled = !found || place === end();
    byId("tally").replaceChildren(...Object.entries(found ? tally() : {}).map(([name, value]) => element("span", {}, `${name} `, element("b", {}, String(value)))));
    explainBy(...(found ? explain() : []));
    draw();
  }

  function tally() {
    const { weights, wrong, loss } = state(place), mistakes = found.steps.slice(0, place).filter(({ corrected }) => corrected).length;
    return { picks: place, ...(rule === "perceptron" ? { corrections: mistakes } : { "mean (target − y)² / 2": shown(loss) }), "wrong now": `${wrong} of ${points.length}`, weights: vector(weights) };
  }

  const explainBy = (...lines) => byId("explanation").replaceChildren(...lines.map((words) => element("p", {}, words)));

  function explain() {
    if (!place) return ["The weights begin at random. Which line is that?", ...(end() === 0 ? ["It happens to be right already: take another seed."] : [])];
    const step = found.steps[place - 1], [x1, x2, label] = points[step.pick], before = state(place - 1).weights;
    const x = [x1, x2, 1], sum = `⟨w, x⟩ = ${before.map((weight, part) => `${factor(weight)} · ${factor(x[part])}`).join(" + ")} = ${number(step.sum)}`;
    const lines = [`Picked x = ${vector(x)}, which should be ${label ? 1 : rule === "delta" ? -1 : 0}.`.replace("-1", "−1"), sum];
    if (rule === "delta") {
      const error = (label ? 1 : -1) - step.sum;
      lines.push(`error = ${label ? 1 : "−1"} − ${factor(step.sum)} = ${number(error)}`, `w ← w + ${byId("learn-rate").value} · ${factor(error)} · x = ${vector(step.weights)}`);
    } else if (step.corrected) {
      lines.push(label ? `Should be 1, but ⟨w, x⟩ < 0: w ← w + x = ${vector(step.weights)}` : `Should be 0, but ⟨w, x⟩ ≥ 0: w ← w − x = ${vector(step.weights)}`);
    } else lines.push("Right: nothing changes.");
    if (place === end()) {
      const { wrong } = state(place);
      lines.push(rule === "delta" ? "The last of its steps." : wrong ? "It never ends: no line separates these points." : "All are right: the rule ends.");
    }
    return lines;
  }

  function draw() {
    if (byId("panel-learn").hidden) return;
    const pixels = 160, weights = found && state(place).weights, picked = found && place ? found.steps[place - 1].pick : null;
    const region = weights ? halfPlane(weights, extent(), pixels) : new Uint8Array(pixels * pixels);
    drawSquare(byId("learn-plane"), { extent: extent(), region, pixels, points, picked, weights });
    const all = found ? [found.start, ...found.steps].slice(0, place + 1) : [];
    const curve = all.map((one, pick) => [pick, rule === "delta" ? one.loss : one.wrong]);
    drawChart(byId("learn-curve"), { series: [{ points: curve, color: variable("--accent") }], axis: "picks", linear: rule === "perceptron", span: Math.max(10, found ? end() : 0) });
    byId("curve-words").textContent = rule === "delta" ? "Mean of (target − y)² / 2 over all examples, after each pick" : "Examples that are wrong, after each pick";
    const words = found
      ? `After ${place} picks the weights are ${vector(weights)}; ${state(place).wrong} of ${points.length} examples are wrong.`
      : `${points.length} points; the line of the neuron is not there yet.`;
    for (const id of ["learn-plane", "learn-curve"]) byId(id).setAttribute("aria-label", words);
  }

  byId("learn-step").addEventListener("click", () => { stop(); move(place + 1); });
  byId("learn-back").addEventListener("click", () => { stop(); move(place - 1); });
  byId("learn-end").addEventListener("click", () => { move(end()); announce(byId("explanation").textContent); });
  byId("learn-again").addEventListener("click", () => { stop(); move(0); });
  byId("learn-play").addEventListener("click", () => {
    if (timer) return stop();
    timer = setInterval(() => move(place + 1), reducedMotion() ? 2000 : 600);
    byId("learn-play").textContent = "Pause";
  });
  for (const id of ["learn-data", "learn-seed", "learn-rate"]) byId(id).addEventListener("change", load);
  return {
    choose(chosen) { rule = chosen; load(); },
    draw,
  };
}
