/** A mono WAV file of 32-bit floats: nothing above full scale is lost. */
export function wav(audio, rate) {
  const head = new DataView(new ArrayBuffer(58));
  const text = (at, word) => [...word].forEach((c, n) => head.setUint8(at + n, c.charCodeAt(0)));
  const size = 4 * audio.length;
  text(0, "RIFF"); head.setUint32(4, 50 + size, true); text(8, "WAVE");
  text(12, "fmt "); head.setUint32(16, 18, true); head.setUint16(20, 3, true); // IEEE float
  head.setUint16(22, 1, true); head.setUint32(24, rate, true); head.setUint32(28, 4 * rate, true);
  head.setUint16(32, 4, true); head.setUint16(34, 32, true); head.setUint16(36, 0, true);
  text(38, "fact"); head.setUint32(42, 4, true); head.setUint32(46, audio.length, true);
  text(50, "data"); head.setUint32(54, size, true);
  const samples = new DataView(new ArrayBuffer(size));
  audio.forEach((x, n) => samples.setFloat32(4 * n, x, true));
  return new Blob([head, samples], { type: "audio/wav" });
}
