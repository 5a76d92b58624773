const FADE_S = 0.004; // time constant of a switch: too short to hear as a fade, too long to click
const LEAD_S = 0.03; // until all tracks are ready to begin together
const REFERENCE = 1; // the target's place among the tracks

/** Tracks of one length that run together, one of them heard: a switch keeps the position and leaves no gap. */
class Deck {
  constructor(context, buffers, gains) {
    this.context = context;
    this.buffers = buffers;
    this.gains = gains; // linear, one a track
    this.chosen = 0;
    this.loop = true;
    this.offset = 0;
    this.sources = [];
    this.onend = () => {};
    this.levels = buffers.map(() => {
      const level = context.createGain();
      level.gain.value = 0;
      level.connect(context.destination);
      return level;
    });
  }
  get playing() { return this.sources.length > 0; }
  get seconds() { return this.buffers[0].duration; }
  get position() {
    if (!this.playing) return this.offset;
    const passed = Math.max(this.context.currentTime - this.begun, 0) + this.offset;
    return this.loop ? passed % this.seconds : Math.min(passed, this.seconds);
  }
  play(offset = this.offset) {
    this.stop();
    this.offset = offset % this.seconds;
    this.begun = this.context.currentTime + LEAD_S;
    this.sources = this.buffers.map((buffer, track) => {
      const source = this.context.createBufferSource();
      source.buffer = buffer;
      source.loop = this.loop;
      source.connect(this.levels[track]);
      source.start(this.begun, this.offset);
      return source;
    });
    this.sources[0].onended = () => { this.sources = []; this.offset = 0; this.onend(); };
    this.levels.forEach((level, track) => {
      level.gain.cancelScheduledValues(0);
      level.gain.setValueAtTime(this.wanted(track), this.context.currentTime);
    });
  }
  stop() {
    this.offset = this.position;
    for (const source of this.sources) { source.onended = null; source.stop(); source.disconnect(); }
    this.sources = [];
  }
  seek(offset) { if (this.playing) this.play(offset); else this.offset = offset; }
  setLoop(loop) {
    const position = this.position;
    this.loop = loop;
    if (this.playing) this.play(position); else this.offset = position;
  }
  select(track) { this.chosen = track; this.fade(); }
  setGains(gains) { this.gains = gains; this.fade(); }
  wanted(track) { return track === this.chosen ? this.gains[track] : 0; }
  fade() {
    const now = this.context.currentTime;
    this.levels.forEach((level, track) => {
      level.gain.cancelScheduledValues(now);
      level.gain.setTargetAtTime(this.wanted(track), now, FADE_S);
    });
  }
}

const contexts = new Map();
function contextOf(rate) {
  // at the rate of the audio, so that decoding does not resample it
  if (!contexts.has(rate)) contexts.set(rate, new AudioContext({ sampleRate: rate }));
  return contexts.get(rate);
}

function decode(context, base64) {
  return context.decodeAudioData(Uint8Array.from(atob(base64), (c) => c.charCodeAt(0)).buffer);
}

function difference(context, target, prediction) {
  const buffer = context.createBuffer(1, target.length, target.sampleRate);
  const [a, b, out] = [target, prediction, buffer].map((part) => part.getChannelData(0));
  for (let n = 0; n < out.length; n++) out[n] = a[n] - b[n];
  return buffer;
}

const linear = (decibels) => 10 ** (decibels / 20);
const match = document.getElementById("match");

/** One stretch of audio with its tracks; decoded when it is first wanted. */
class Player {
  constructor(root) {
    this.root = root;
    this.play = root.querySelector(".play");
    this.slider = root.querySelector(".position");
    this.time = root.querySelector(".time");
    this.status = root.querySelector(".status");
    this.canvas = root.querySelector("canvas");
    this.radios = [...root.querySelectorAll(".tracks input")];
    this.listen();
    this.draw();
  }
  get names() { return this.radios.map((radio) => radio.parentElement.querySelector("span").textContent); }
  get chosen() { return this.radios.findIndex((radio) => radio.checked); }
  get gains() { return this.radios.map((radio) => (match.checked ? linear(Number(radio.dataset.gain)) : 1)); }
  get position() { return this.deck ? this.deck.position : Number(this.slider.value); }
  listen() {
    this.play.addEventListener("click", () => this.toggle());
    this.slider.addEventListener("input", () => this.seek(Number(this.slider.value)));
    this.root.querySelector(".loop").addEventListener("change", (event) => this.deck && this.deck.setLoop(event.target.checked));
    this.canvas.addEventListener("click", (event) => this.seek((event.offsetX / this.canvas.clientWidth) * this.slider.max));
    for (const radio of this.radios) radio.addEventListener("change", () => this.choose());
    match.addEventListener("change", () => this.deck && this.deck.setGains(this.gains));
    this.root.addEventListener("keydown", (event) => this.key(event));
  }
  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const radio = this.radios[Number(event.key) - 1];
    if (radio) {
      radio.checked = true;
      radio.focus();
      this.choose();
    } else if (event.key === " " && !event.target.matches("button, [type=checkbox]")) {
      event.preventDefault();
      this.toggle();
    }
  }
  /** The tracks as buffers. */
  load() {
    this.loading ??= (async () => {
      this.status.textContent = "Reading the audio";
      const context = contextOf(Number(this.root.dataset.rate));
      const texts = [...this.root.querySelectorAll(".audio")].map((part) => part.textContent);
      const buffers = await Promise.all(texts.map((text) => text && decode(context, text)));
      this.radios.forEach((radio, track) => {
        if (radio.dataset.kind === "difference") buffers[track] = difference(context, buffers[REFERENCE], buffers[radio.dataset.of]);
      });
      this.status.textContent = "";
      return buffers;
    })();
    return this.loading;
  }
  async toggle() {
    if (this.deck?.playing) { this.pause(); return; }
    try {
      const buffers = await this.load();
      const context = contextOf(Number(this.root.dataset.rate));
      await context.resume();
      for (const other of players) if (other !== this) other.pause();
      abx.pause();
      if (!this.deck) {
        this.deck = new Deck(context, buffers, this.gains);
        this.deck.onend = () => this.show();
        this.deck.loop = this.root.querySelector(".loop").checked;
        this.deck.offset = Number(this.slider.value);
      }
      this.deck.chosen = this.chosen;
      this.deck.play();
      this.show();
      this.follow();
    } catch (error) {
      this.status.textContent = `This browser cannot play it: ${error.message}`;
    }
  }
  pause() {
    if (!this.deck?.playing) return;
    this.deck.stop();
    this.show();
  }
  choose() {
    if (this.deck) this.deck.select(this.chosen);
    this.draw();
  }
  seek(offset) {
    if (this.deck) this.deck.seek(offset);
    this.slider.value = offset;
    this.show();
  }
  follow() {
    this.show();
    if (this.deck.playing) requestAnimationFrame(() => this.follow());
  }
  show() {
    this.play.textContent = this.deck?.playing ? "Pause" : "Play";
    if (document.activeElement !== this.slider || this.deck?.playing) this.slider.value = this.position;
    this.time.textContent = `${this.position.toFixed(1)} s`;
    this.slider.setAttribute("aria-valuetext", `${this.position.toFixed(1)} of ${Number(this.slider.max).toFixed(1)} seconds`);
    this.draw();
  }
  draw() {
    const { width, height } = this.canvas;
    const pen = this.canvas.getContext("2d");
    const style = getComputedStyle(document.documentElement);
    const heights = (this.radios[this.chosen].dataset.peaks || "").split(" ").filter(Boolean).map(Number);
    pen.clearRect(0, 0, width, height);
    pen.fillStyle = style.getPropertyValue("--accent");
    const step = width / Math.max(heights.length, 1);
    heights.forEach((peak, n) => {
      const tall = Math.max((Math.min(peak, 100) / 100) * height, 1);
      pen.fillRect(n * step, (height - tall) / 2, Math.max(step - 0.5, 1), tall);
    });
    pen.fillStyle = style.getPropertyValue("--mark");
    pen.fillRect((this.position / this.slider.max) * width - 1, 0, 3, height);
  }
}
