// Curves over epochs on a canvas.
import { sharp, variable, whole } from "./common.js";

// Points of curves over time; when there are too many, every second one goes.
export class History {
  constructor(limit = 1500) {
    this.limit = limit;
    this.clear();
  }
  clear() {
    this.epochs = [];
    this.rows = [];
  }
  push(epoch, row) {
    if (this.epochs.length && epoch <= this.epochs[this.epochs.length - 1]) this.clear();
    this.epochs.push(epoch);
    this.rows.push(row);
    if (this.epochs.length > this.limit) {
      const keep = (_, place) => place % 2 === 0 || place === this.epochs.length - 1;
      [this.epochs, this.rows] = [this.epochs.filter(keep), this.rows.filter(keep)];
    }
  }
  curve(place) {
    return this.epochs.map((epoch, number) => [epoch, this.rows[number][place]]);
  }
}

const LEFT = 42, BOTTOM = 22, TOP = 8, RIGHT = 8;

function logTicks(low, high) {
  const ticks = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++) {
    for (const factor of high / low > 200 ? [1] : [1, 2, 5]) {
      const tick = factor * 10 ** power;
      if (tick >= low * 0.999 && tick <= high * 1.001) ticks.push(tick);
    }
  }
  const every = Math.ceil(ticks.length / 6);
  return ticks.filter((_, place) => place % every === 0);
}

function linearTicks(high, most) {
  const rough = high / most, power = 10 ** Math.floor(Math.log10(rough || 1));
  const step = Math.max(1, [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough) ?? 1);
  const ticks = [];
  for (let tick = 0; tick <= high; tick += step) ticks.push(tick);
  return ticks;
}

const label = (value) => (value === 0 || value >= 1e-3 && value < 1e4 ? String(Number(value.toPrecision(2))) : value.toExponential(0));

// series: [{ points: [[epoch, value], ...], color, width, alpha }], on a logarithmic axis or, for counts, a linear one
// from 0; band: [[epoch, low, high], ...]; span: of epochs, at least.
export function drawChart(canvas, { series, band = [], axis = "epoch", floor = 1e-7, span = 10, linear = false }) {
  const { context, width, height } = sharp(canvas);
  if (!width) return;
  let low = Infinity, high = -Infinity, last = span;
  for (const { points } of series) {
    for (const [epoch, value] of points) {
      last = Math.max(last, epoch);
      if (value === null || !(value > 0)) continue;
      low = Math.min(low, value);
      high = Math.max(high, value);
    }
  }
  if (!(low <= high)) [low, high] = [0.01, 1];
  low = Math.max(low, floor) / 1.15;
  high = Math.max(high * 1.15, low * 3);
  const x = (epoch) => LEFT + (epoch / last) * (width - LEFT - RIGHT);
  const share = linear ? (value) => value / high : (value) => Math.log(Math.min(Math.max(value, low), high) / low) / Math.log(high / low);
  const y = (value) => height - BOTTOM - share(value) * (height - TOP - BOTTOM);

  context.font = "11px system-ui, sans-serif";
  context.fillStyle = variable("--soft");
  context.strokeStyle = variable("--line");
  context.lineWidth = 1;
  context.textAlign = "right";
  context.textBaseline = "middle";
  for (const tick of linear ? linearTicks(high, 4) : logTicks(low, high)) {
    context.beginPath();
    context.moveTo(LEFT, y(tick));
    context.lineTo(width - RIGHT, y(tick));
    context.stroke();
    context.fillText(label(tick), LEFT - 6, y(tick));
  }
  context.textBaseline = "top";
  const ticks = linearTicks(last, Math.max(2, Math.floor(width / 90)));
  for (const tick of ticks) {
    context.textAlign = tick === 0 ? "left" : x(tick) > width - 24 ? "right" : "center";
    context.fillText(tick === 0 ? `0 ${axis}` : whole(tick), Math.min(x(tick), width - 2), height - BOTTOM + 6);
  }
  if (band.length > 1) {
    context.globalAlpha = 0.22;
    context.fillStyle = variable("--accent");
    context.beginPath();
    band.forEach(([epoch, lower]) => context.lineTo(x(epoch), y(lower ?? high)));
    [...band].reverse().forEach(([epoch, , upper]) => context.lineTo(x(epoch), y(upper ?? high)));
    context.fill();
  }
  for (const { points, color, width: thickness = 2, alpha = 1, dash = [] } of series) {
    context.globalAlpha = alpha;
    context.strokeStyle = color;
    context.lineWidth = thickness;
    context.setLineDash(dash);
    context.beginPath();
    let open = false;
    for (const [epoch, value] of points) {
      if (value === null) { open = false; continue; }
      if (open) context.lineTo(x(epoch), y(value));
      else context.moveTo(x(epoch), y(value));
      open = true;
    }
    context.stroke();
  }
  context.setLineDash([]);
  context.globalAlpha = 1;
}
