/** Runs the model, off the page's thread and off the audio's: whole files, and the blocks of a stream. */
import * as ort from "./ort/ort.wasm.min.mjs";

const BREATH_MS = 100; // of rendering, between two looks at what else is asked

ort.env.wasm.numThreads = 1; // more need a page that is isolated from all others, by headers of its server
ort.env.wasm.wasmPaths = new URL("./ort/", import.meta.url).href;
ort.env.logLevel = "error";

const ARRAYS = { float32: Float32Array, float64: Float64Array, int64: BigInt64Array, int32: Int32Array, bool: Uint8Array };

function zeros({ type, shape }) {
  return new ort.Tensor(type, new ARRAYS[type](shape.reduce((count, size) => count * size, 1)), shape);
}

/** The model with a state that goes on from block to block. */
class Stream {
  constructor(session, model, controls) {
    Object.assign(this, { session, model, controls });
    this.state = model.states.map(zeros);
  }
  /** Go to rest: zeros are what silence leaves with the knobs as they were at first; with others, it hears silence first. */
  async rest() {
    if (this.controls.every((value, n) => value === this.model.controls[n])) return;
    for (let n = 0; n < this.model.settle; n += this.model.block_size) await this.run(new Float32Array(this.model.block_size));
  }
  /** A block in, a block out. */
  async run(x) {
    const feeds = { x: new ort.Tensor("float32", x, [1, 1, x.length]) };
    if (this.controls.length) feeds.controls = new ort.Tensor("float32", Float32Array.from(this.controls), [1, this.controls.length]);
    this.model.states.forEach(({ input }, n) => { feeds[input] = this.state[n]; });
    const made = await this.session.run(feeds);
    this.state = this.model.states.map(({ output }) => made[output]);
    return made.y.data;
  }
}

let session, model, live, wanted;

const asked = {
  async open({ model: told, bytes }) {
    model = told;
    session = await ort.InferenceSession.create(bytes, { executionProviders: ["wasm"], graphOptimizationLevel: "all", logSeverityLevel: 3 });
    const trial = new Stream(session, model, model.controls);
    for (let n = 0; n < 3; n++) await trial.run(new Float32Array(model.block_size)); // the first runs are slow
  },

  /** audio (T,) of the whole -> that of the model; what lies behind its end, up to a whole block, is silence. */
  async render({ id, audio, controls, gain }) {
    wanted = id;
    const stream = new Stream(session, model, controls);
    const begun = performance.now();
    await stream.rest();
    let looked = performance.now();
    for (let start = 0; start < audio.length; start += model.block_size) {
      const block = new Float32Array(model.block_size);
      audio.subarray(start, start + block.length).forEach((x, n) => { block[n] = gain * x; });
      const y = await stream.run(block);
      audio.set(y.subarray(0, audio.length - start), start);
      if (performance.now() - looked > BREATH_MS) {
        postMessage({ id, progress: start / audio.length });
        await new Promise((resume) => setTimeout(resume));
        if (wanted !== id) return { cancelled: true };
        looked = performance.now();
      }
    }
    return { audio, ms: performance.now() - begun };
  },

  async cancel() { wanted = null; },

  /** Begin a stream whose blocks come through the port. */
  async stream({ port, controls }) {
    live = new Stream(session, model, controls);
    await live.rest();
    const stream = live;
    let last = Promise.resolve(); // blocks are run in their order
    port.onmessage = ({ data: { start, audio } }) => {
      last = last.then(async () => {
        const begun = performance.now();
        audio.set(await stream.run(audio));
        port.postMessage({ start, audio, ms: performance.now() - begun }, [audio.buffer]);
      }).catch((error) => postMessage({ error: error.message }));
    };
  },

  async turn({ controls }) { if (live) live.controls = controls; },
};

onmessage = async ({ data }) => {
  try {
    postMessage({ id: data.id, done: await asked[data.type](data) });
  } catch (error) {
    postMessage({ id: data.id, error: error.message });
  }
};
