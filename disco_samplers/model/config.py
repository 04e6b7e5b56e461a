"""The network's configuration: what is written into the header of a weights file."""

from __future__ import annotations

import dataclasses
from typing import Any

SYMMETRIES = ("rotations", "axes")
DETERMINANTS = ("columns", "matched")


@dataclasses.dataclass(frozen=True)
class DiScoFormerConfig:
    """Sizes of a :class:`~disco_samplers.DiScoFormer`; none of them depends on the dimension of the data.

    Arguments:
        layers: number of attention + feed-forward blocks.
        width: scalar channels of a token.
        vector_channels: vector channels of a token, each a vector in the space of the data.
        heads: attention heads, each with its own bandwidth.
        head_width: scalar features that a head compares and returns.
        hidden: hidden units of the feed-forward networks.
        symmetry: "rotations" is exactly O(d)-equivariant; "axes" adds channels that act coordinate by
            coordinate and so can see axis-aligned structure (equivariant to permutations and sign flips of the axes).
        axis_channels: even channels for each coordinate, used when ``symmetry="axes"``.
        determinant: of kernels that are narrower along some columns: "columns" takes these for orthogonal, as the first weights
            were trained to make up for; "matched" heeds their correlation.

    Raises:
        ValueError: if a size is not a positive integer or ``symmetry`` is unknown.

    Example:
        >>> DiScoFormerConfig(layers=2).layers
        2
    """

    layers: int = 3
    width: int = 64
    vector_channels: int = 16
    heads: int = 6
    head_width: int = 8
    hidden: int = 192
    symmetry: str = "rotations"
    axis_channels: int = 8
    determinant: str = "columns"

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name not in ("symmetry", "determinant") and (type(value) is not int or value < 1):
                raise ValueError(f"{field.name} must be a positive integer, got {value!r}")
        if self.symmetry not in SYMMETRIES:
            raise ValueError(f"symmetry must be one of {SYMMETRIES}, got {self.symmetry!r}")
        if self.determinant not in DETERMINANTS:
            raise ValueError(f"determinant must be one of {DETERMINANTS}, got {self.determinant!r}")

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> DiScoFormerConfig:
        """Builds a configuration from plain values; unknown keys raise instead of being dropped."""
        unknown = sorted(set(values) - {f.name for f in dataclasses.fields(cls)})
        if unknown:
            raise ValueError(f"unknown config key(s) {', '.join(unknown)}: was the file written by a newer version?")
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """The configuration as plain values, as :meth:`from_dict` takes them."""
        return dataclasses.asdict(self)
