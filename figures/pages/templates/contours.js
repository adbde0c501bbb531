"use strict";
// The network, its gradient and the curvature of its level lines, as figures/_contour.py has them.

function sigma(t) {
  if (t >= 0) return 1 / (1 + Math.exp(-t));
  const e = Math.exp(t); // no overflow, and no loss of digits, on either side
  return e / (1 + e);
}

function jet(net, beta, x1, x2) {
  let value = 0, g1 = 0, g2 = 0, h11 = 0, h12 = 0, h22 = 0;
  for (let i = 0; i < net.V.length; i++) {
    const [a, b] = net.W[i], t = beta * (a * x1 + b * x2);
    const up = sigma(t), bend = net.V[i] * beta * up * sigma(-t);
    value += net.V[i] * (Math.max(t, 0) + Math.log1p(Math.exp(-Math.abs(t)))) / beta;
    g1 += net.V[i] * up * a;
    g2 += net.V[i] * up * b;
    h11 += bend * a * a;
    h12 += bend * a * b;
    h22 += bend * b * b;
  }
  const norm = Math.hypot(g1, g2);
  // the unit tangent is (-g2, g1)/norm
  const kappa = -(g2 * g2 * h11 - 2 * g1 * g2 * h12 + g1 * g1 * h22) / (norm * norm * norm);
  return { value, gradient: norm, kappa };
}

const STEPS = 120, LEVELS = 17, FIRST = 0.3, LAST = 100; // cells a side, lines, ends of the slider
const COLOURS = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]]; // viridis
const state = { seed: Object.keys(DATA.networks)[0], beta: 1, x: [0.3, -0.4] };
const at = id => document.getElementById(id);

function colour(fraction) {
  const place = Math.min(Math.max(fraction, 0), 1) * (COLOURS.length - 1);
  const i = Math.min(Math.floor(place), COLOURS.length - 2);
  return `rgb(${COLOURS[i].map((c, k) => Math.round(c + (place - i) * (COLOURS[i + 1][k] - c)))})`;
}

function sampled(net) {
  const grid = [];
  for (let j = 0; j <= STEPS; j++)
    for (let i = 0; i <= STEPS; i++) grid.push(jet(net, state.beta, -1 + 2 * i / STEPS, -1 + 2 * j / STEPS));
  return grid;
}

// Marching squares: where a level crosses the sides of a cell, joined in pairs.
function pieces(grid, level) {
  const found = [], f = (i, j) => grid[j * (STEPS + 1) + i].value;
  for (let j = 0; j < STEPS; j++)
    for (let i = 0; i < STEPS; i++) {
      const corners = [[i, j], [i + 1, j], [i + 1, j + 1], [i, j + 1]], cross = [];
      for (let k = 0; k < 4; k++) {
        const [p, q] = [corners[k], corners[(k + 1) % 4]], [a, b] = [f(...p) - level, f(...q) - level];
        if ((a < 0) !== (b < 0)) cross.push([p[0] + (q[0] - p[0]) * a / (a - b), p[1] + (q[1] - p[1]) * a / (a - b)]);
      }
      for (let k = 0; k + 1 < cross.length; k += 2) found.push([cross[k], cross[k + 1]]);
    }
  return found;
}

const lines = document.createElement("canvas"); // without the marker, so that a move of it draws no line again

function draw() {
  const net = DATA.networks[state.seed], canvas = at("picture"), pen = lines.getContext("2d");
  const size = Math.round(canvas.clientWidth * (window.devicePixelRatio || 1));
  lines.width = lines.height = canvas.width = canvas.height = size;
  const grid = sampled(net), values = grid.map(p => p.value), bends = grid.map(p => Math.abs(p.kappa)).sort((a, b) => a - b);
  const low = Math.min(...values), high = Math.max(...values), top = bends[Math.floor(0.98 * (bends.length - 1))];
  const to = p => [p[0] / STEPS * size, size - p[1] / STEPS * size];
  pen.lineWidth = Math.max(1.5, size / 250);
  pen.lineCap = "round";
  let count = 0;
  for (let k = 1; k <= LEVELS; k++)
    for (const [p, q] of pieces(grid, low + (high - low) * k / (LEVELS + 1))) {
      const middle = [(p[0] + q[0]) / STEPS - 1, (p[1] + q[1]) / STEPS - 1];
      pen.strokeStyle = colour(Math.abs(jet(net, state.beta, ...middle).kappa) / top);
      pen.beginPath();
      pen.moveTo(...to(p));
      pen.lineTo(...to(q));
      pen.stroke();
      count += 1;
    }
  at("low").textContent = "0";
  at("high").textContent = top.toPrecision(3) + " and more";
  canvas.dataset.pieces = count;
  canvas.dataset.top = top;
  mark();
}

function mark() {
  const canvas = at("picture"), size = canvas.width, pen = canvas.getContext("2d");
  pen.clearRect(0, 0, size, size);
  pen.drawImage(lines, 0, 0);
  pen.lineWidth = Math.max(1.5, size / 250);
  pen.strokeStyle = "#d55e00";
  pen.beginPath();
  pen.arc((state.x[0] + 1) / 2 * size, (1 - state.x[1]) / 2 * size, size / 80, 0, 2 * Math.PI);
  pen.stroke();
}

function show(id, number) {
  at(id).textContent = number.toPrecision(8);
  at(id).dataset.value = number; // all digits
}

// Five digits of a bound, the last one rounded up, so that what is shown is a bound too.
function upward(number) {
  const rounded = number.toPrecision(5);
  if (Number(rounded) >= number) return rounded;
  const [digits, power] = number.toExponential(4).split("e");
  return Number(`${Math.round(digits * 1e4) + 1}e${power - 4}`).toPrecision(5);
}

const near = (list, distance) => list.reduce((best, item) => distance(item) < distance(best) ? item : best);

function tell() {
  const found = jet(DATA.networks[state.seed], state.beta, ...state.x);
  show("value", found.value);
  show("gradient", found.gradient);
  show("kappa", found.kappa);
  at("beta-value").textContent = state.beta.toPrecision(3);
  at("beta-value").dataset.value = state.beta;
  [at("x1").value, at("x2").value] = state.x.map(t => +t.toFixed(4));
  const beta = near(DATA.betas, b => Math.abs(Math.log(b / state.beta)));
  const entry = near(DATA.bounds.filter(b => b.seed === state.seed && b.beta === beta),
    b => Math.hypot(b.x[0] - state.x[0], b.x[1] - state.x[1]));
  at("where").textContent = `beta = ${entry.beta}, x = (${entry.x[0]}, ${entry.x[1]}), seed ${entry.seed}. ` +
    `At that very point |kappa| = ${Math.abs(jet(DATA.networks[state.seed], entry.beta, ...entry.x).kappa).toPrecision(4)}.`;
  at("bounds").replaceChildren(...Object.entries(entry.curvature).map(([name, bound]) => {
    const row = document.createElement("tr"), cells = [document.createElement("td"), document.createElement("td")];
    cells[0].textContent = name;
    cells[1].textContent = bound === null ? "–" : upward(bound);
    row.append(...cells);
    return row;
  }));
}

function refresh() {
  draw();
  tell();
}

function point(event) {
  const box = at("picture").getBoundingClientRect();
  move(2 * (event.clientX - box.left) / box.width - 1, 1 - 2 * (event.clientY - box.top) / box.height);
}

function move(x1, x2) {
  state.x = [x1, x2].map(t => Math.min(Math.max(t, -1), 1));
  tell();
  mark();
}

for (const seed of Object.keys(DATA.networks)) at("seed").add(new Option(seed, seed));
at("beta").value = Math.round(1000 * Math.log(state.beta / FIRST) / Math.log(LAST / FIRST));
at("beta").addEventListener("input", () => {
  state.beta = FIRST * (LAST / FIRST) ** (at("beta").value / 1000);
  refresh();
});
at("seed").addEventListener("change", () => { state.seed = at("seed").value; refresh(); });
at("picture").addEventListener("pointermove", point);
at("picture").addEventListener("pointerdown", point);
at("picture").addEventListener("keydown", event => {
  const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
  if (!(event.key in ways)) return;
  event.preventDefault();
  move(...state.x.map((t, k) => t + 0.02 * ways[event.key][k]));
});
for (const [k, id] of ["x1", "x2"].entries())
  at(id).addEventListener("change", () => {
    if (Number.isFinite(at(id).valueAsNumber)) move(...state.x.map((t, j) => j === k ? at(id).valueAsNumber : t));
  });
addEventListener("resize", draw);
refresh();
