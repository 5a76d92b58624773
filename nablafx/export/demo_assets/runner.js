/** The worker, asked for by promises. */
export class Runner {
  constructor(onerror) {
    this.open = new Map();
    this.count = 0;
    this.worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
    this.worker.onmessage = ({ data: { id, done, error, progress } }) => {
      const call = this.open.get(id);
      if (progress !== undefined) { call.onprogress(progress); return; }
      this.open.delete(id);
      if (error === undefined) call.resolve(done);
      else (call?.reject ?? onerror)(new Error(error)); // of no call: a stream broke
    };
    this.worker.onerror = (event) => {
      event.preventDefault();
      onerror(new Error(event.message ?? "the worker could not be loaded"));
    };
  }
  /** @param {string} type one of those that worker.js knows */
  ask(type, fields = {}, transfer = [], onprogress = () => {}) {
    const id = this.count++;
    this.worker.postMessage({ ...fields, type, id }, transfer);
    return new Promise((resolve, reject) => { this.open.set(id, { resolve, reject, onprogress }); });
  }
}
