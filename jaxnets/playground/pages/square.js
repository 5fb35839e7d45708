// A square of the plane: where a neuron says 1, the points, and its line.
import { sharp, variable } from "./common.js";

const sheet = document.createElement("canvas");

// region: bytes, 1 where the neuron says 1, row by row from the top; weights: of x1, x2 and 1, for the line.
export function drawSquare(canvas, { extent: [low, high], region, pixels, points, picked = null, weights = null, unit = 1 }) {
  const { context, width, height } = sharp(canvas), inset = 26;
  const x = (value) => inset + ((value - low) / (high - low)) * (width - inset - 4);
  const y = (value) => height - inset - ((value - low) / (high - low)) * (height - inset - 4);
  paintRegion(context, region, pixels, x(low), y(high), x(high) - x(low), y(low) - y(high));
  context.save();
  context.beginPath();
  context.rect(x(low), y(high), x(high) - x(low), y(low) - y(high));
  context.clip();
  if (weights) drawLine(context, weights, low, high, x, y);
  points.forEach(([x1, x2, label], number) => drawPoint(context, x(x1), y(x2), label > 0, number === picked));
  context.restore();
  drawAxes(context, low, high, x, y, unit);
}

function paintRegion(context, region, pixels, left, top, width, height) {
  sheet.width = sheet.height = pixels;
  const image = new ImageData(pixels, pixels);
  const color = variable("--positive"), parts = [1, 3, 5].map((place) => parseInt(color.slice(place, place + 2), 16));
  region.forEach((fires, place) => image.data.set([...parts, fires ? 90 : 0], 4 * place));
  sheet.getContext("2d").putImageData(image, 0, 0);
  context.fillStyle = variable("--neutral");
  context.fillRect(left, top, width, height);
  context.imageSmoothingEnabled = true;
  context.drawImage(sheet, left, top, width, height);
}

function drawLine(context, [w1, w2, bias], low, high, x, y) {
  const far = 2 * (Math.abs(low) + Math.abs(high)), size = Math.hypot(w1, w2);
  if (!size) return;
  const [cx, cy] = [(-bias * w1) / size ** 2, (-bias * w2) / size ** 2];
  const [dx, dy] = [(-w2 / size) * far, (w1 / size) * far];
  context.strokeStyle = variable("--text");
  context.lineWidth = 2;
  context.beginPath();
  context.moveTo(x(cx - dx), y(cy - dy));
  context.lineTo(x(cx + dx), y(cy + dy));
  context.stroke();
}

function drawPoint(context, x, y, full, picked) {
  context.lineWidth = 2.5;
  if (picked) {
    context.strokeStyle = variable("--accent");
    context.beginPath();
    context.arc(x, y, 16, 0, 2 * Math.PI);
    context.stroke();
  }
  context.beginPath();
  context.arc(x, y, 8.5, 0, 2 * Math.PI);
  context.fillStyle = variable(full ? "--positive" : "--panel");
  context.strokeStyle = variable(full ? "--text" : "--negative");
  context.fill();
  context.stroke();
}

function drawAxes(context, low, high, x, y, unit) {
  context.fillStyle = variable("--soft");
  context.font = "12px system-ui, sans-serif";
  for (let tick = Math.ceil(low / unit) * unit; tick <= high; tick += unit) {
    const words = String(tick).replace("-", "−");
    context.textAlign = "center";
    context.textBaseline = "top";
    context.fillText(words, x(tick), y(low) + 6);
    context.textAlign = "right";
    context.textBaseline = "middle";
    context.fillText(words, x(low) - 6, y(tick));
  }
  context.textAlign = "right";
  context.textBaseline = "top";
  context.fillText("x₁", x(high), y(low) + 6);
  context.textBaseline = "middle";
  context.fillText("x₂", x(low) - 6, y(high) + 8);
}

// Where w1 x1 + w2 x2 + b >= 0.
export function halfPlane([w1, w2, bias], [low, high], pixels) {
  const region = new Uint8Array(pixels * pixels), at = (place) => low + ((place + 0.5) / pixels) * (high - low);
  for (let row = 0; row < pixels; row++) {
    for (let column = 0; column < pixels; column++) {
      region[row * pixels + column] = w1 * at(column) + w2 * at(pixels - 1 - row) + bias >= 0 ? 1 : 0;
    }
  }
  return region;
}
