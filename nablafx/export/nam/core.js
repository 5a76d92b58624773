// Raw float samples through a .nam file: node core.js PACKAGE MODEL DRY WET SAMPLE_RATE BLOCK_SIZE…
const fs = require("node:fs");
const path = require("node:path");
const { pathToFileURL } = require("node:url");

async function main([folder, model, dry, wet, rate, ...words]) {
  const sizes = words.map(Number);
  const largest = Math.max(...sizes);
  const dist = path.resolve(folder, "dist");
  const { createNamModule, NamWasmModule } = await import(pathToFileURL(path.join(dist, "index.js")));
  // given as bytes, since Node fetches no file by its address
  const wasm = await createNamModule({ wasmBinary: fs.readFileSync(path.join(dist, "nam.wasm")), print() {}, printErr() {} });
  const nam = NamWasmModule.fromModule(wasm, largest);
  nam.setSampleRate(Number(rate));
  nam.setMaxBufferSize(largest);
  const id = nam.createInstance();
  if (!nam.loadModel(id, fs.readFileSync(model, "utf8"))) throw new Error("it cannot be loaded");
  const bytes = fs.readFileSync(dry);
  const x = new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
  const y = new Float32Array(x.length);
  for (let start = 0, n = 0; start < x.length; start += sizes[n++ % sizes.length]) {
    const stop = start + sizes[n % sizes.length];
    nam.process(id, x.subarray(start, stop), y.subarray(start, stop));
  }
  fs.writeFileSync(wet, Buffer.from(y.buffer));
  console.log(process.version);
}

main(process.argv.slice(2)).catch((error) => {
  // what the Core throws is the address of a C++ exception
  console.error(error instanceof Error ? error.message : "it is refused");
  process.exit(1);
});
