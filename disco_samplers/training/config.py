"""The training's configuration, and what is read from files."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from disco_samplers.model import DiScoFormerConfig
from disco_samplers.training.stream import StreamConfig


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """How the network is trained.

    Arguments:
        seed: of the initial weights and of the stream of targets.
        learning_rate: of AdamW, for vectors and small matrices, after warm-up and before decay.
        matrix_rate: of Muon, for the hidden layers' matrices.
        warmup_steps: steps over which the learning rate rises from 0.
        decay_minutes: the last minutes of a slice, over which the learning rates fall to 0. The checkpoint that the next
            slice continues from is the one before the decay, so a run is never stuck at a small learning rate.
        weight_decay: of both optimisers.
        max_norm: gradients are clipped to this norm.
        average: decay of the exponential moving average of the weights, which is what ships.
        accumulate: batches, each of its own family and size, in a step.
        consistency: weight of the gap between score head and gradient of the density head, every third step in up to three
            dimensions (and 1024 rows): only there were the heads seen to disagree by more than they err, and it takes a second
            derivative.
        save_minutes: time between checkpoints.
        stream: what is trained on.
    """

    seed: int = 0
    learning_rate: float = 3e-3
    matrix_rate: float = 0.01
    warmup_steps: int = 100
    decay_minutes: float = 0.0
    weight_decay: float = 0.01
    max_norm: float = 1.0
    average: float = 0.999
    accumulate: int = 1
    consistency: float = 0.0
    save_minutes: float = 5.0
    stream: StreamConfig = dataclasses.field(default_factory=StreamConfig)


def load_config(values: dict[str, Any]) -> tuple[DiScoFormerConfig, TrainingConfig]:
    """The network's and the training's configuration from plain values ``{"model": {...}, "training": {...}}``.

    Raises:
        ValueError: if a key is unknown or a value is wrong.
    """
    unknown = sorted(set(values) - {"model", "training"})
    if unknown:
        raise ValueError(f"unknown section(s) {', '.join(unknown)}: a configuration has 'model' and 'training'")
    training = dict(values.get("training", {}))
    stream = _known(StreamConfig, training.pop("stream", {}), "training.stream")
    config = TrainingConfig(**_known(TrainingConfig, training, "training"), stream=StreamConfig(**stream))
    for name in ("learning_rate", "matrix_rate"):
        if not (getattr(config, name) > 0 and math.isfinite(getattr(config, name))):
            raise ValueError(f"{name} must be positive, got {getattr(config, name)}")
    return DiScoFormerConfig.from_dict(values.get("model", {})), config


def _known(kind: type, values: dict[str, Any], where: str) -> dict[str, Any]:
    known = {field.name for field in dataclasses.fields(kind)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise ValueError(f"unknown key(s) {', '.join(unknown)} in {where}; known are {', '.join(sorted(known))}")
    return values
