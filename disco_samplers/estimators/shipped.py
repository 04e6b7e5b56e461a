"""The weights in this package, and the one rule for which of them is taken where none are named."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Literal

import torch

from disco_samplers.files import load_weights
from disco_samplers.model import DenoiserConfig, DenoiserNetwork, DiScoFormerConfig, Network

WEIGHTS_NAME = "model.safetensors"
"""Of the file in a folder of weights."""

SHIPPED = ("axes", "rotations", "velocities")
"""The weights in this package, by the symmetry of their network."""

DENOISER = "denoiser"
"""The weights in this package of the network that is told the noise."""

Use = Literal["table", "shard", "cloud", "posterior", "information", "basis", "velocity"]

DEFAULTS: dict[Use, str] = {
    # Columns that are quantities of their own have structure along them, which only this network sees; the default of all.
    "table": "axes",
    "cloud": "axes",
    # Draws of a posterior, too, but an estimate of them is followed only as far as it beats their moments. In a small trial
    # (four shards of 500 draws, skewed in 2 to 10 parameters or of two modes in 2) the merged scores of both erred alike.
    "shard": "axes",
    # In which parameters a model is written is arbitrary; yet over ten posteriors held-out rows were likelier by this network,
    # and no farther from its draws.
    "posterior": "axes",
    # An affine map of the samples changes these quantities in a known way, and must be seen to.
    "information": "rotations",
    # The directions of a basis are no columns of the data.
    "basis": "rotations",
    # Velocity space has no axes; trained on what particle codes hold, in up to five dimensions.
    "velocity": "velocities",
}
"""Which weights are the default for what: tables of data; draws of a shard to be merged; a cloud of particles moved by its own
score; draws of a posterior; information quantities; coordinates in a basis; velocities of particles."""


def weights_path(name: str) -> Path:
    """Where the shipped weights of a name are."""
    return Path(str(files("disco_samplers") / "weights" / name))


@torch.inference_mode(False)  # or the weights could never be part of what is differentiated
def load_network(path: Path) -> tuple[Network, DiScoFormerConfig]:
    """The network in a weights file, frozen, and its configuration.

    Raises:
        ValueError: if the file is truncated, of another kind, or has an unknown configuration key.
    """
    state, config = load_weights(path)
    sizes = DiScoFormerConfig.from_dict(config)
    with torch.device("meta"):  # which takes nothing from the caller's random numbers
        network = Network(sizes)
    try:
        own = {name.removeprefix("network."): value.float() for name, value in state.items()}
        network.load_state_dict(own, assign=True)
    except RuntimeError as error:
        raise ValueError(f"{path}: the tensors do not fit the configuration in the header: {error}") from error
    return network.requires_grad_(False).eval(), sizes


@torch.inference_mode(False)
def load_denoiser(path: Path) -> DenoiserNetwork:
    """The network that is told the noise in a weights file, frozen.

    Raises:
        ValueError: if the file is truncated, of another kind, or has an unknown configuration key.
    """
    state, config = load_weights(path)
    sizes = DenoiserConfig.from_dict(config)
    with torch.device("meta"):
        network = DenoiserNetwork(sizes)
    try:
        network.load_state_dict({name: value.float() for name, value in state.items()}, assign=True)
    except RuntimeError as error:
        raise ValueError(f"{path}: the tensors do not fit the configuration in the header: {error}") from error
    return network.requires_grad_(False).eval()


def shipped_network(name: str, device: torch.device | str = "cpu") -> Network:
    """The network of shipped weights on a device."""
    return load_network(weights_path(name) / WEIGHTS_NAME)[0].to(device)
