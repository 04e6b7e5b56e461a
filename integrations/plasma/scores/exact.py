"""A score given as a formula."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor


class Exact:
    r"""The score of a known distribution, the same in every cell: an oracle to compare with.

    Arguments:
        formula: maps velocities (n, dv) and the time to scores (n, dv).
        time: when; set it as a run goes on.

    Example:
        >>> import torch
        >>> cooling = Exact(lambda v, t: -v / (1 + t), time=1.0)
        >>> cooling(torch.ones(1, 2), torch.ones(1), torch.zeros(1, dtype=torch.int64), 1)
        tensor([[-0.5000, -0.5000]])
    """

    def __init__(self, formula: Callable[[Tensor, float], Tensor], *, time: float = 0.0) -> None:
        self.formula, self.time = formula, time

    def __call__(self, v: Tensor, w: Tensor, cell: Tensor, num_cells: int) -> Tensor:
        """The score (n, dv); see :class:`~disco_samplers.integrations.plasma.types.VelocityScore`."""
        return self.formula(v, self.time)
