const SWITCH_S = 0.004; // time constant: too short to hear as a fade, too long to click
const SHOWN_MS = 100;
const PLAIN = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };

/** A file's first channel, at `rate`. */
export async function decode(bytes, rate) {
  const context = new OfflineAudioContext(1, 1, rate);
  const all = await context.decodeAudioData(bytes);
  const first = context.createBuffer(1, all.length, rate);
  first.copyToChannel(all.getChannelData(0), 0);
  return first;
}

/** A source through the model to the loudspeakers, or to the end of an OfflineAudioContext. */
export class Live {
  /** @param {{gain: number, wet: number}} settings linear, and from 0 (dry) to 1 */
  constructor(model, runner, settings, onreport, context = new AudioContext({ sampleRate: model.sample_rate })) {
    Object.assign(this, { model, runner, settings, onreport, context });
    this.times = [];
    this.peak = 0;
  }
  /**
   * Begin.
   * @param {AudioBuffer|null} buffer of one channel, played in a loop; null: the microphone
   * @param {number} blocks of latency
   */
  async open(buffer, blocks, controls) {
    const { context } = this;
    const size = this.model.block_size;
    const { port1, port2 } = new MessageChannel();
    await context.audioWorklet.addModule(new URL("worklet.js", import.meta.url));
    if (!buffer) this.stream = await navigator.mediaDevices.getUserMedia({ audio: PLAIN });
    await this.runner.ask("stream", { port: port1, controls }, [port1]);
    if (this.closed) { this.release(); return; } // meanwhile
    this.node = new AudioWorkletNode(context, "exchange", {
      channelCount: 1, channelCountMode: "explicit", outputChannelCount: [1],
      parameterData: this.settings, processorOptions: { blockSize: size, blocks },
    });
    this.latency = (1000 * blocks * size) / context.sampleRate;
    await new Promise((ready) => {
      this.node.port.onmessage = ready;
      this.node.port.postMessage({ worker: port2 }, [port2]);
    });
    this.node.port.onmessage = ({ data }) => this.report(data);
    this.begin(buffer);
    this.node.connect(context.destination);
  }
  begin(buffer) {
    if (buffer) {
      this.source = this.context.createBufferSource();
      Object.assign(this.source, { buffer, loop: true });
      this.source.connect(this.node);
      this.source.start();
    } else {
      this.source = this.context.createMediaStreamSource(this.stream);
      this.source.connect(this.context.createChannelSplitter()).connect(this.node, 0);
    }
  }
  set(name, value) {
    this.settings[name] = value;
    this.node?.parameters.get(name).setTargetAtTime(value, this.context.currentTime, SWITCH_S);
  }
  /** Once a block; shown now and then. */
  report({ blocks, ms, peak, underruns }) {
    this.blocks = blocks;
    this.times = [...this.times.slice(-99), ms];
    this.peak = Math.max(this.peak, peak);
    this.underruns = underruns;
    this.due ??= setTimeout(() => this.show(), SHOWN_MS);
  }
  show() {
    this.due = null;
    if (this.closed) return;
    const { peak, underruns, latency, context: { baseLatency = 0, outputLatency = 0 } } = this;
    const mean = this.times.reduce((sum, time) => sum + time, 0) / this.times.length;
    this.onreport({ peak, underruns, latency, mean, worst: Math.max(...this.times), beyond: 1000 * (baseLatency + outputLatency) });
    this.peak = 0;
  }
  async close() {
    this.closed = true;
    this.release();
    await this.context.close();
  }
  release() {
    this.stream?.getTracks().forEach((track) => track.stop());
    this.node?.port.postMessage({});
  }
}
