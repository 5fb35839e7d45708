// Many seeds at once: a curve for each, their median, and the band of their middle half.
import { drawChart } from "./charts.js";
import { shown, variable, whole } from "./common.js";

const PUBLISHED = 0.018;

export class Cloud {
  constructor(canvas, words) {
    Object.assign(this, { canvas, words, running: false, complete: false, messages: [] });
    addEventListener("resize", () => this.draw());
  }

  start(settings, newPoints) {
    Object.assign(this, { settings, newPoints, running: true, complete: false, messages: [] });
    this.canvas.hidden = this.words.hidden = false;
    this.words.textContent = "Compiling one program for all of them …";
    this.draw();
  }

  stop() {
    this.running = false;
  }

  add(message) {
    if (!this.running) return;
    this.messages.push(message);
    if (message.done) Object.assign(this, { running: false, complete: true });
    const { median, least, largest } = message.summary.test, all = message.losses.test;
    const published = this.settings.data === "circle" ? ` ${all.filter((loss) => loss !== null && loss <= PUBLISHED).length} of ${all.length} come to the course's ${PUBLISHED}.` : "";
    this.words.textContent = `Epoch ${whole(message.epoch)}: median test loss ${shown(median)}, from ${shown(least)} to ${shown(largest)}.${published}`;
    this.draw();
  }

  draw() {
    const { messages } = this;
    const color = variable("--accent");
    const count = messages[0]?.losses.test.length ?? 0;
    const series = Array.from({ length: count }, (_, seed) => ({
      points: messages.map(({ epoch, losses }) => [epoch, losses.test[seed]]), color, width: 1, alpha: 0.3,
    }));
    series.push({ points: messages.map(({ epoch, summary }) => [epoch, summary.test.median]), color: variable("--text"), width: 2.5 });
    const band = messages.map(({ epoch, summary }) => [epoch, summary.test.lower, summary.test.upper]);
    drawChart(this.canvas, { series, band });
    if (messages.length) this.canvas.setAttribute("aria-label", this.words.textContent);
  }

  // The settings of the seed with the least or the largest loss.
  settingsOf(which) {
    const losses = this.messages.at(-1).losses.test.map((loss) => loss ?? Infinity);
    const number = losses.indexOf(which === "best" ? Math.min(...losses) : Math.max(...losses));
    const after = (seed, steps) => (seed + steps) % 2 ** 32;
    const { seed, data_seed } = this.settings;
    return { ...this.settings, seed: after(seed, number), data_seed: this.newPoints ? after(data_seed, number) : data_seed };
  }
}
