"""Makes weights/cabinet.wav, the impulse response of a loudspeaker cabinet that never was: no recording, no licence.

A guitar cabinet with one 12" loudspeaker, close to a microphone, as a sum of what such responses show: the resonance of
the cone in its box, modes of the cone up to 5 kHz and nothing above, the treble that arrives first, and reflections of
the box and the floor that are duller than what comes straight.

    h(t) = highpass(lowpass(d(t) + Σ_j r_j dull(d(t - t_j))))
    d(t) = Σ_k g_k sqrt(f_k) exp(-t / τ_k) sin(2π f_k t + φ_k)

Its loudest frequency has a gain of 1. Run: python scripts/make_cabinet.py [output.wav]
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from scipy import signal
from scipy.io import wavfile

from nablafx.training.files import replacing

OUTPUT = Path(__file__).parents[1] / "weights" / "cabinet.wav"
SAMPLE_RATE = 48_000
LENGTH = 1024  # 21 ms
# frequency in Hz, decay in ms, gain, phase in rad: without the phases neighbours would cancel between their peaks
MODES = [
    (105, 5.0, 0.91, 1.0),
    (240, 2.6, 0.43, 1.7),
    (420, 2.2, 0.23, 0.0),
    (780, 1.4, 0.2, 1.7),
    (1250, 1.0, 0.4, 0.8),
    (1900, 0.8, 1.11, 5.6),
    (2600, 0.7, 1.17, 3.6),
    (3300, 0.6, 1.6, 6.2),
    (4100, 0.45, 0.28, 4.8),
    (5200, 0.3, 0.24, 4.0),
]
REFLECTIONS = [(0.55, -0.28), (1.3, 0.2), (2.7, -0.14), (4.6, 0.1)]  # delay in ms, gain
DULL_HZ, LOWPASS_HZ, HIGHPASS_HZ = 3000, 5000, 70


def cabinet() -> np.ndarray:
    """The response (1024,) at 48 kHz."""
    seconds = np.arange(LENGTH) / SAMPLE_RATE
    direct = sum(
        gain * np.sqrt(hz) * np.exp(-seconds / (1e-3 * decay_ms)) * np.sin(2 * np.pi * hz * seconds + phase)
        for hz, decay_ms, gain, phase in MODES
    )
    dull = _filtered(direct, 1, DULL_HZ, "lowpass")
    response = direct.copy()
    for delay_ms, gain in REFLECTIONS:
        delay = round(1e-3 * delay_ms * SAMPLE_RATE)
        response[delay:] += gain * dull[:-delay]
    response = _filtered(_filtered(response, 4, LOWPASS_HZ, "lowpass"), 2, HIGHPASS_HZ, "highpass")
    fade = LENGTH // 8
    response[-fade:] *= 0.5 + 0.5 * np.cos(np.pi * np.arange(1, fade + 1) / fade)
    return response / np.abs(np.fft.rfft(response, 16 * LENGTH)).max()


def _filtered(x: np.ndarray, order: int, hz: float, kind: str) -> np.ndarray:
    return signal.sosfilt(signal.butter(order, hz, kind, fs=SAMPLE_RATE, output="sos"), x)


def main(output: Path = OUTPUT) -> None:
    """Write the response as a 32-bit float wav file, by scipy, which puts no time of writing into it."""
    with replacing(output) as temporary:
        wavfile.write(temporary, SAMPLE_RATE, cabinet().astype(np.float32))
    print(f"Cabinet response in {output}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
