/** X is A or B by chance; the score, and how likely guessing is to reach it. */
class BlindTest {
  constructor() {
    const find = (id) => document.getElementById(`abx-${id}`);
    Object.assign(this, { scene: find("scene"), a: find("a"), b: find("b"), trials: find("trials"), begin: find("begin") });
    Object.assign(this, { area: find("run"), setup: find("setup"), status: find("status"), answers: [] });
    this.play = this.area.querySelector(".play");
    this.radios = [...this.area.querySelectorAll("[type=radio]")];
    this.scene.addEventListener("change", () => this.list());
    this.begin.addEventListener("click", () => this.start());
    this.play.addEventListener("click", () => this.toggle());
    find("is-a").addEventListener("click", () => this.answer(0));
    find("is-b").addEventListener("click", () => this.answer(1));
    find("end").addEventListener("click", () => this.end());
    for (const radio of this.radios) radio.addEventListener("change", () => this.deck?.select(Number(radio.value)));
    this.list();
  }
  get player() { return players[Number(this.scene.value)]; }
  list() {
    for (const [select, preferred] of [[this.a, "target"], [this.b, "prediction"]]) {
      const kinds = this.player.radios.map((radio) => radio.dataset.kind);
      select.replaceChildren(...this.player.names.map((name, n) => new Option(name, n)).filter((_, n) => kinds[n] !== "difference"));
      select.value = Math.max(kinds.indexOf(preferred), 0);
    }
  }
  async start() {
    if (this.a.value === this.b.value) { this.status.textContent = "A and B are the same track; choose two."; return; }
    this.wanted = Math.min(Math.max(Math.round(Number(this.trials.value)) || 1, 1), 100);
    this.answers = [];
    this.area.hidden = false;
    for (const part of this.setup.querySelectorAll("select, input, button")) part.disabled = true;
    await this.trial();
    this.play.focus();
  }
  async trial() {
    this.pause();
    const [a, b] = [Number(this.a.value), Number(this.b.value)];
    this.x = crypto.getRandomValues(new Uint8Array(1))[0] & 1;
    const order = [a, b, this.x ? b : a];
    const buffers = await this.player.load();
    const gains = order.map((track) => linear(Number(this.player.radios[track].dataset.gain)));
    this.deck = new Deck(contextOf(Number(this.player.root.dataset.rate)), order.map((track) => buffers[track]), gains);
    this.radios[0].checked = true;
    this.status.textContent = `Trial ${this.answers.length + 1} of ${this.wanted}.`;
  }
  async toggle() {
    if (this.deck.playing) { this.pause(); return; }
    await this.deck.context.resume();
    for (const player of players) player.pause();
    this.deck.play();
    this.play.textContent = "Pause";
  }
  pause() {
    if (this.deck) this.deck.stop();
    if (this.play) this.play.textContent = "Play";
  }
  async answer(said) {
    this.answers.push({ x: this.x, said });
    if (this.answers.length < this.wanted) await this.trial(); else this.end();
  }
  end() {
    this.pause();
    this.area.hidden = true;
    for (const part of this.setup.querySelectorAll("select, input, button")) part.disabled = false;
    const count = this.answers.length;
    const right = this.answers.filter((answer) => answer.x === answer.said).length;
    this.status.textContent = count
      ? `${right} of ${count} right; guessing does as well with a probability of ${atLeast(right, count).toPrecision(2)}.`
      : "No answers, no score.";
    this.begin.focus();
  }
}

/** P(at least `right` of `count` coins show heads). */
function atLeast(right, count) {
  let term = 0.5 ** count, sum = 0; // of exactly k heads, k from 0
  for (let k = 0; k <= count; k++) {
    if (k >= right) sum += term;
    term *= (count - k) / (k + 1);
  }
  return Math.min(sum, 1);
}
