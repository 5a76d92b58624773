import { Live, decode } from "./live.js";
import { Runner } from "./runner.js";
import { wav } from "./wav.js";

const find = (id) => document.getElementById(id);
const chosen = (name) => document.querySelector(`[name=${name}]:checked`).value;
const decibels = (value, unit = "dB") => `${value} ${unit}`.replace("-", "−");
const linear = (value) => 10 ** (value / 20);

/** The page: what it plays, and what it shows of that. */
class Demo {
  constructor() {
    this.knobs = [...document.querySelectorAll("#knobs input")];
    this.buffers = {};
  }
  get controls() { return this.knobs.map((knob) => Number(knob.value)); }
  get gain() { return linear(Number(find("gain").value)); }
  tell(text) { find("status").textContent = text; }

  async open() {
    const read = async (name) => {
      const answer = await fetch(name);
      if (!answer.ok) throw new Error(`${name} is not there (${answer.status})`);
      return answer;
    };
    this.model = await (await read("model.json")).json();
    const [bytes, riff] = await Promise.all([read("model.onnx"), read(this.model.riff)].map(async (answer) => (await answer).arrayBuffer()));
    this.runner = new Runner((error) => this.fail(error));
    this.buffers.riff = await decode(riff, this.model.sample_rate);
    await this.runner.ask("open", { model: this.model, bytes }, [bytes]);
    this.listen();
    this.choose();
    this.tell("Ready.");
  }

  listen() {
    find("play").addEventListener("click", () => this.toggle());
    find("render").addEventListener("click", () => this.render());
    find("file").addEventListener("change", () => this.read(find("file").files[0]));
    find("sources").addEventListener("change", () => this.choose());
    find("blocks").addEventListener("change", () => this.restart());
    find("heard").addEventListener("change", () => this.live?.set("wet", Number(chosen("heard"))));
    find("gain").addEventListener("input", () => this.turnGain());
    find("player").addEventListener("keydown", (event) => this.key(event));
    for (const knob of this.knobs) knob.addEventListener("input", () => this.turn(knob));
  }
  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    if (event.key === "b" || event.key === "B") {
      document.querySelector("[name=heard]:not(:checked)").click();
    } else if (event.key === " " && !event.target.matches("button, a, select, [type=file]")) {
      event.preventDefault();
      this.toggle();
    }
  }
  turn(knob) {
    knob.nextElementSibling.textContent = Number(knob.value).toFixed(2);
    this.runner.ask("turn", { controls: this.controls });
  }
  turnGain() {
    const text = decibels(Number(find("gain").value));
    find("gain").setAttribute("aria-valuetext", text);
    find("gain").nextElementSibling.textContent = text;
    this.live?.set("gain", this.gain);
  }
  fail(error) {
    this.stop();
    this.tell(`It does not run: ${error.message}`);
  }

  async read(file) {
    if (!file) return;
    try {
      this.buffers.file = await decode(await file.arrayBuffer(), this.model.sample_rate);
    } catch {
      this.tell(`This browser cannot read ${file.name}.`);
      return;
    }
    find("file-name").textContent = `File: ${file.name}`;
    document.querySelector("[name=source][value=file]").checked = true;
    this.tell(`${file.name}: ${this.buffers.file.duration.toFixed(1)} s, the first channel of it.`);
    this.choose();
  }
  /** Another source: what is playing goes on with it. */
  choose() {
    const source = chosen("source");
    find("feedback").hidden = source !== "microphone";
    const there = source === "microphone" || source in this.buffers;
    if (!there) this.tell("Open a file first.");
    find("play").disabled = !there;
    find("render").disabled = !(source in this.buffers);
    this.restart();
  }

  async restart() {
    if (!this.live) return;
    await this.stop();
    if (!find("play").disabled) await this.play();
  }
  toggle() { return this.live ? this.stop() : find("play").disabled || this.play(); }
  async play() {
    this.cancel();
    const settings = { gain: this.gain, wet: Number(chosen("heard")) };
    const live = new Live(this.model, this.runner, settings, (report) => this.show(report));
    this.live = live;
    find("play").textContent = "Stop";
    try {
      const source = chosen("source");
      await live.open(this.buffers[source] ?? null, Number(find("blocks").value), this.controls);
      await live.context.resume();
      if (this.live === live) this.tell(`Playing the ${source}.`);
    } catch (error) {
      if (this.live === live) this.fail(error);
    }
  }
  async stop() {
    const { live } = this;
    this.live = null;
    find("play").textContent = "Play";
    this.show(null);
    await live?.close();
    if (live) this.tell("Stopped.");
  }
  show(report) {
    const level = report?.peak ? 20 * Math.log10(report.peak) : -Infinity;
    find("level").value = Math.max(level, -60);
    find("level-text").textContent = level < -60 ? "silence" : `${decibels(level.toFixed(1), "dBFS")}${level >= 0 ? ", clips" : ""}`;
    if (!report) return;
    const { sample_rate: rate, block_size: size } = this.model;
    const percent = (ms) => `${((100 * ms * rate) / (1000 * size)).toFixed(0)} %`;
    find("load").textContent = `${percent(report.mean)} of real time, ${percent(report.worst)} at worst`;
    find("underruns").textContent = report.underruns;
    find("latency").textContent = `${report.latency.toFixed(1)} ms, and ${report.beyond.toFixed(1)} ms of the browser's output`;
  }

  async render() {
    if (this.rendering) { this.cancel(); return; }
    await this.stop();
    const { sample_rate: rate } = this.model;
    const source = chosen("source");
    find("download").hidden = true;
    this.rendering = true;
    find("render").textContent = "Cancel";
    find("progress").hidden = false;
    const tell = (part) => { find("progress").value = part; };
    tell(0);
    this.tell("Rendering.");
    try {
      const audio = this.buffers[source].getChannelData(0).slice();
      const done = await this.runner.ask("render", { audio, controls: this.controls, gain: this.gain }, [audio.buffer], tell);
      this.tell(done.cancelled ? "Cancelled." : this.offer(done, source, rate));
    } catch (error) {
      this.fail(error);
    }
    this.rendering = false;
    find("render").textContent = "Render to WAV";
    find("progress").hidden = true;
  }
  offer({ audio, ms }, source, rate) {
    const link = find("download");
    URL.revokeObjectURL(link.href);
    this.rendered = audio;
    link.href = URL.createObjectURL(wav(audio, rate));
    link.download = link.textContent = `${source}-wet.wav`;
    link.hidden = false;
    const seconds = audio.length / rate;
    return `${seconds.toFixed(1)} s rendered in ${(ms / 1000).toFixed(2)} s, ${((1000 * seconds) / ms).toFixed(1)} times real time.`;
  }
  cancel() { if (this.rendering) this.runner.ask("cancel"); }
}

const demo = new Demo();
// for tests and the curious
window.nablafx = { demo, Live };
demo.open().catch((error) => demo.fail(error));
