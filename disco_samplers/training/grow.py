"""Deeper networks from trained ones: blocks that at first do nothing."""

from __future__ import annotations

import torch
from torch import Tensor

from disco_samplers.model import DiScoFormerConfig

_OUTPUTS = (
    "attention.to_scalars.",
    "attention.to_vectors.",
    "attention.to_even.",
    "feed_forward.output.",
    "feed_forward.merge.",
    "axes.output.",
    "axes.merge.",
    "axes.to_scalars.",
)
"""What a block adds to its tokens comes out of these; with them zero it adds nothing."""


def deepen(state: dict[str, Tensor], config: DiScoFormerConfig, layers: int) -> dict[str, Tensor]:
    """The weights of a network with ``layers`` blocks that gives the answers of one with fewer.

    The new blocks are copies of the last but one, silenced, and stand before the last, whose kernels the heads read.

    Example:
        >>> from disco_samplers.model.network import Network
        >>> small = DiScoFormerConfig(layers=2, width=8, hidden=8)
        >>> len(deepen(Network(small).state_dict(), small, 4)) > len(Network(small).state_dict())
        True
    """
    grown = {name: value for name, value in state.items() if not name.startswith("blocks.")}
    last = config.layers - 1
    for place in range(layers):
        added = last <= place < layers - 1
        source = max(0, last - 1) if added else min(place, last)
        for name, value in state.items():
            prefix = f"blocks.{source}."
            if name.startswith(prefix):
                inner = name.removeprefix(prefix)
                silent = added and inner.startswith(_OUTPUTS)
                grown[f"blocks.{place}.{inner}"] = torch.zeros_like(value) if silent else value.clone()
    return grown
