// Raw float samples through an ONNX export in ONNX Runtime Web: node onnx_stream.mjs DIST MODEL DRY WET [KNOBS] BLOCK_SIZE…
import fs from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";

const [dist, model, dry, wet, knobs, ...words] = process.argv.slice(2);
const ort = await import(pathToFileURL(path.resolve(dist, "ort.wasm.min.mjs")));
ort.env.wasm.numThreads = 1;
ort.env.wasm.wasmPaths = pathToFileURL(path.resolve(dist) + path.sep).href;
const session = await ort.InferenceSession.create(fs.readFileSync(model), { executionProviders: ["wasm"] });

const arrays = { float32: Float32Array, float64: Float64Array, int64: BigInt64Array };
const zeros = ({ name, type, shape }) => [name, new ort.Tensor(type, new arrays[type](shape.reduce((n, m) => n * m, 1)), shape)];
let state = Object.fromEntries(session.inputMetadata.filter(({ name }) => !["x", "controls"].includes(name)).map(zeros));
const controls = JSON.parse(knobs);
const fixed = controls.length ? { controls: new ort.Tensor("float32", Float32Array.from(controls), [1, controls.length]) } : {};

const bytes = fs.readFileSync(dry);
const x = new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
const y = new Float32Array(x.length);
const sizes = words.map(Number);
for (let start = 0, n = 0; start < x.length; start += sizes[n++ % sizes.length]) {
  const block = x.slice(start, start + sizes[n % sizes.length]);
  const out = await session.run({ x: new ort.Tensor("float32", block, [1, 1, block.length]), ...fixed, ...state });
  y.set(out.y.data, start);
  state = Object.fromEntries(Object.keys(state).map((name) => [name, out[`next.${name}`]]));
}
fs.writeFileSync(wet, Buffer.from(y.buffer));
