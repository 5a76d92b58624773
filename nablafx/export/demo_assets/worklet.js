/**
 * Hands blocks of its input to the worker that runs the model, and plays what comes back `latency` samples later.
 *
 * The worker has that time less one block. What comes late is left out, so that the latency stays as told.
 */
class Exchange extends AudioWorkletProcessor {
  static parameterDescriptors = [
    { name: "gain", defaultValue: 1, minValue: 0 }, // of what the model hears
    { name: "wet", defaultValue: 1, minValue: 0, maxValue: 1 }, // 0: the input itself, as late as the model's output
  ];

  constructor({ processorOptions: { blockSize, blocks } }) {
    super();
    this.size = blockSize;
    this.latency = blocks * blockSize;
    this.length = this.latency + blockSize;
    this.wet = new Float32Array(this.length); // of sample n at n % length
    this.dry = new Float32Array(this.length);
    this.spare = Array.from({ length: blocks }, () => new Float32Array(blockSize)); // the worker's, or waiting for it
    this.block = new Float32Array(blockSize);
    this.now = 0; // samples played
    this.made = this.latency; // samples that there is an output for: at first silence
    this.underruns = 0;
    this.late = false;
    this.peak = 0;
    this.ended = false;
    this.port.onmessage = ({ data: { worker } }) => {
      if (!worker) { this.ended = true; return; }
      this.worker = worker;
      worker.onmessage = ({ data }) => this.take(data);
      this.port.postMessage("ready");
    };
  }

  /** A block came back. */
  take({ start, audio, ms }) {
    const first = start + this.latency;
    for (let n = Math.max(this.now - first, 0); n < this.size; n++) this.wet[(first + n) % this.length] = audio[n];
    this.made = first + this.size;
    this.spare.push(audio);
    this.port.postMessage({ blocks: this.made / this.size, ms, peak: this.peak, underruns: this.underruns });
    this.peak = 0;
  }

  process([input], [[output]], { gain, wet }) {
    if (!this.worker) return !this.ended;
    const late = this.now + output.length > this.made;
    if (late && !this.late) this.underruns++;
    this.late = late;
    for (let n = 0; n < output.length; n++, this.now++) {
      const place = this.now % this.length;
      const x = input.length ? input[0][n] : 0; // nothing may be connected
      const mix = wet[wet.length > 1 ? n : 0];
      const dry = this.dry[(this.now + this.size) % this.length]; // latency samples ago
      output[n] = mix * this.wet[place] + (1 - mix) * dry;
      this.peak = Math.max(this.peak, Math.abs(output[n]));
      this.wet[place] = 0;
      this.dry[place] = x;
      this.block[this.now % this.size] = x * gain[gain.length > 1 ? n : 0];
      if ((this.now + 1) % this.size === 0) this.send(this.now + 1 - this.size);
    }
    return !this.ended;
  }

  send(start) {
    const next = this.spare.pop();
    if (!next) { this.underruns++; return; } // the worker has more than it can do: this block it will not hear
    this.worker.postMessage({ start, audio: this.block }, [this.block.buffer]);
    this.block = next;
  }
}

registerProcessor("exchange", Exchange);
