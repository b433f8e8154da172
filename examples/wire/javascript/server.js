// A server of docs/wire.md in plain Node: Linear and ReLU with gradients, float32 and float64.
"use strict";

class Unsupported extends Error {} // the call is declined
class Wrong extends Error {} // the call is refused

const bug = process.argv[2] === "--bug" ? process.argv[3] : ""; // a mistake made on purpose, for this example's test

// A tensor as it passes: its elements as a Float32Array or a Float64Array, little-endian as the host.
// JavaScript computes in float64 alone, so sums of float32 are wider and are rounded once, when they are stored.
const ARRAYS = { float32: Float32Array, float64: Float64Array };

function tensor(json, dtype) {
  if (json === null) return null;
  if (json.dtype !== dtype) throw new Wrong(`a tensor is ${json.dtype}: expected ${dtype}`);
  const bytes = new Uint8Array(Buffer.from(json.data, "base64")); // a copy: it starts at a multiple of 8
  return { shape: json.shape, data: new ARRAYS[dtype](bytes.buffer) };
}

function written({ shape, data }) {
  const dtype = data instanceof Float32Array ? "float32" : "float64";
  return { dtype, shape, data: Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString("base64") };
}

const count = (shape) => shape.reduce((n, size) => n * size, 1);
const zeros = (like, shape) => ({ shape, data: new like.data.constructor(count(shape)) });

// Refuses what torch refuses, and gives the numbers of rows, features out and features in.
function sizes(x, w, b) {
  if (w.shape.length !== 1 && w.shape.length !== 2) throw new Wrong("weight must have one or two dimensions");
  const out = w.shape.slice(0, -1), k = w.shape.at(-1);
  if (x.shape.at(-1) !== k) throw new Wrong(`the last dimension of input must be ${k}, not ${x.shape.at(-1)}`);
  if (b && b.shape.length && String(b.shape) !== String(out)) throw new Wrong("bias must have out_features elements");
  return { shape: [...x.shape.slice(0, -1), ...out], rows: count(x.shape.slice(0, -1)), n: count(out), k };
}

function linear(x, w, b) {
  const { shape, rows, n, k } = sizes(x, w, b);
  const y = zeros(x, shape);
  for (let i = 0; i < rows; i++)
    for (let j = 0; j < n; j++) {
      let sum = b && bug !== "bias-dropped" ? b.data[j % b.data.length] : 0;
      for (let l = 0; l < k; l++) sum += x.data[i * k + l] * w.data[j * k + l];
      y.data[i * n + j] = sum;
    }
  return y;
}

// Gradients of the sum of output times cotangent g. They are summed in float64 and rounded at the end.
function linearGradients([x, w, b], g) {
  const { rows, n, k } = sizes(x, w, b);
  const [dx, dw, db] = [x, w, b].map((t) => t && new Float64Array(t.data.length));
  for (let i = 0; i < rows; i++)
    for (let j = 0; j < n; j++) {
      const gij = g.data[i * n + j];
      if (db) db[j % db.length] += gij;
      for (let l = 0; l < k; l++) {
        dx[i * k + l] += gij * w.data[j * k + l];
        dw[j * k + l] += gij * x.data[i * k + l];
      }
    }
  return [x, w, b].map((t, place) => t && { shape: t.shape, data: t.data.constructor.from([dx, dw, db][place]) });
}

const mapped = (x, f) => ({ shape: x.shape, data: x.data.map(f) });

function size(args, name) {
  const n = args[name];
  if (!Number.isInteger(n) || n < 0) throw new Wrong(`${name} must be a size, not ${n}`);
  return n;
}

// What each layer is: the arguments that it knows, its parameters' shapes in torch's order,
// the output for inputs and parameters, and a gradient for each of these.
const LAYERS = {
  ReLU: {
    knows: ["inplace"],
    parameters: () => ({}),
    output: ([x]) => mapped(x, (v) => (v < 0 ? 0 : v)), // NaN stays
    gradients: ([x], g) => [mapped(g, (v, i) => (x.data[i] > 0 ? v : 0))],
  },
  "functional.linear": {
    knows: [],
    parameters: () => ({}),
    output: ([x, w, b]) => linear(x, w, b),
    gradients: linearGradients,
  },
  Linear: {
    knows: ["in_features", "out_features", "bias"],
    parameters: (args) => {
      const k = size(args, "in_features"), n = size(args, "out_features");
      return args.bias === false ? { weight: [n, k] } : { weight: [n, k], bias: [n] };
    },
    output: ([x, w, b]) => linear(x, w, b),
    gradients: ([x, w, b], g) => linearGradients([x, w, b ?? null], g),
  },
};

const layers = new Map();
let last = 0;

const python = (value) =>
  typeof value === "boolean" ? (value ? "True" : "False") : typeof value === "string" ? `'${value}'` : JSON.stringify(value);

function known(args, names) {
  for (const [name, value] of Object.entries(args))
    if (!names.includes(name)) throw new Unsupported(`${name}=${python(value)}`);
}

// Without a state the parameters have shapes and no values: what is wrong is refused before that is declined.
function loaded(shapes, state, dtype) {
  if (Object.keys(state).sort().join() !== Object.keys(shapes).sort().join()) throw new Wrong("state has other names");
  return Object.entries(shapes).map(([name, shape]) => {
    const given = tensor(state[name], dtype);
    if (String(given.shape) !== String(shape)) throw new Wrong(`${name} must have shape ${shape}`);
    return given;
  });
}

const OPERATIONS = {
  hello: () => ({
    protocol: 1, name: "javascript-example", info: { node: process.version },
    layers: Object.keys(LAYERS), dtypes: Object.keys(ARRAYS),
  }),
  build({ layer: name, arguments: args, state, dtype, training }) {
    const kind = LAYERS[name];
    if (!kind) throw new Unsupported(name);
    known(args, kind.knows);
    const shapes = kind.parameters(args), filled = Object.keys(state).length > 0 || Object.keys(shapes).length === 0;
    const values = filled ? loaded(shapes, state, dtype) : null;
    layers.set(++last, { kind, args, dtype, training, shapes, values });
    return { layer: last, has: ["vjp", "state", "load", "train"] };
  },
  call: (request) => {
    const { layer, all } = ready(request);
    const output = written(layer.kind.output(all));
    return layer.args.inplace ? { outputs: [output], written: { 0: output } } : { outputs: [output] };
  },
  vjp: (request) => {
    const { layer, inputs, all } = ready(request);
    const g = tensor(request.cotangents[0], layer.dtype);
    const gradients = layer.kind.gradients(all, g);
    request.inputs.forEach((x, place) => {
      if (!x || !("same" in x)) return;
      // One tensor in two places has one gradient: the sum.
      gradients[x.same].data.forEach((v, i, data) => (data[i] = v + gradients[place].data[i]));
      gradients[place] = gradients[x.same];
    });
    const texts = gradients.map((t) => t && written(t));
    const parameters = Object.keys(layer.shapes).map((name, place) => [name, texts[inputs.length + place]]);
    return { inputs: texts.slice(0, inputs.length), parameters: Object.fromEntries(parameters) };
  },
  state: ({ layer: number }) => {
    const { shapes, values } = layers.get(number);
    if (!values) throw new Unsupported("initialisation");
    return { state: Object.fromEntries(Object.keys(shapes).map((name, place) => [name, written(values[place])])) };
  },
  load: ({ layer: number, state }) => {
    const layer = layers.get(number);
    layer.values = loaded(layer.shapes, state, layer.dtype);
    return {};
  },
  train: ({ layer: number, mode }) => ((layers.get(number).training = mode), {}),
};

// The layer of a request, its inputs, and these with the parameters behind them.
function ready(request) {
  const layer = layers.get(request.layer);
  known(request.keywords, []);
  const inputs = [];
  for (const x of request.inputs) inputs.push(x && "same" in x ? inputs[x.same] : tensor(x, layer.dtype));
  if (!layer.values) {
    const shapes = Object.values(layer.shapes).map((shape) => ({ shape }));
    sizes(inputs[0], ...shapes);
    throw new Unsupported("initialisation");
  }
  return { layer, inputs, all: [...inputs, ...layer.values] };
}

function answer(request) {
  for (const number of request.drop ?? []) layers.delete(number);
  try {
    const operation = OPERATIONS[request.op];
    if (!operation) throw new Unsupported(request.op);
    return { id: request.id, ok: operation(request) };
  } catch (error) {
    if (error instanceof Unsupported) return { id: request.id, unsupported: error.message };
    return { id: request.id, error: error.message, trace: error.stack };
  }
}

let rest = "";
process.stdin.setEncoding("utf8").on("data", (text) => {
  const lines = (rest + text).split("\n");
  rest = lines.pop();
  for (const line of lines) process.stdout.write(JSON.stringify(answer(JSON.parse(line))) + "\n");
});
