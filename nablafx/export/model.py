"""What is exported: an effect with what its user has to know of it."""

from __future__ import annotations

from typing import Any, NamedTuple, TypedDict

from nablafx.effects import Effect

# the words of the NAM format
GEAR_TYPES = ("amp", "pedal", "pedal_amp", "amp_cab", "amp_pedal_cab", "preamp", "studio")
TONE_TYPES = ("clean", "overdrive", "crunch", "hi_gain", "fuzz")


class Facts(TypedDict, total=False):
    """What a file says of a model for people to read; every field may be missing.

    `metrics` are those of the test audio by name, `validation_esr` is that of the weights on the validation audio.
    `gear_type` is one of GEAR_TYPES, `tone_type` one of TONE_TYPES. Levels are in dBu at full scale (0 dBFS).
    """

    author: str
    license: str
    comment: str
    gear_make: str
    gear_model: str
    gear_type: str
    tone_type: str
    input_level_dbu: float
    output_level_dbu: float
    metrics: dict[str, float]
    validation_esr: float
    steps: int
    created: str


class Model(NamedTuple):
    """A trained model, ready to run.

    Attributes:
        effect: in evaluation mode, on the CPU.
        sample_rate: Hz that it was trained at.
        control_names: of its device's knobs, in the order of its controls.
        name: for people.
        description: of the effect, as a config has it: {class_path, init_args}.
        facts: what else is known of it.
    """

    effect: Effect
    sample_rate: int
    control_names: tuple[str, ...]
    name: str
    description: dict[str, Any]
    facts: Facts

    @property
    def latency(self) -> int:
        """Samples by which a stream of it is late: a frame has to be whole before its first sample can leave."""
        return self.effect.frame_size - 1
