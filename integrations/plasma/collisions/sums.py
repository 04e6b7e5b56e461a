"""The sum over pairs of particles that all Landau operators are made of, by the method asked for."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from disco_samplers.arrays import check_count, check_number

from .moments import moment_rate
from .pairs import batch_rate, pair_rate

Method = Literal["moments", "pairs", "batches"]

_BATCH = 64


class PairSum:
    r"""The sum :math:`Q_i = \sum_j w_j |z|^g (|z|^2 I - z z^\top)(s_i - s_j)` over the particles of a cell.

    Arguments:
        exponent: g.
        method: "pairs", "batches" or "moments"; "moments" by default for exponent 0, else "pairs".
        batch_size: of "batches"; 64 by default.

    Raises:
        ValueError: if ``exponent`` is not a number, or the method does not fit it.

    Example:
        >>> PairSum(0.0).method, PairSum(-3.0).method
        ('moments', 'pairs')
    """

    def __init__(self, exponent: float, method: Method | None = None, batch_size: int | None = None) -> None:
        check_number("exponent", exponent)
        if not math.isfinite(exponent):
            raise ValueError(f"exponent must be a number, such as -3 for Coulomb collisions, got {exponent}")
        if method is None:
            method = "moments" if exponent == 0 else "pairs"
        if method not in ("moments", "pairs", "batches"):
            raise ValueError(f'method must be "moments", "pairs" or "batches", got {method!r}')
        if method == "moments" and exponent != 0:
            raise ValueError(f'method "moments" needs exponent 0, got {exponent}; use "pairs" or "batches"')
        if batch_size is not None and method != "batches":
            raise ValueError(f'batch_size is not an option of method "{method}", only of "batches": leave it out')
        batch_size = _BATCH if batch_size is None else batch_size
        check_count("batch_size", batch_size, 2)
        self.exponent, self.method, self.batch_size = exponent, method, batch_size

    def __call__(
        self,
        v: Tensor,
        s: Tensor,
        w: Tensor,
        cell: Tensor,
        num_cells: int,
        generator: torch.Generator | None,
        kind: Tensor | None = None,
    ) -> Tensor:
        """Q (n, dv), with weights and kinds as :func:`.pairs.pair_rate` has them."""
        if self.method == "pairs":
            return pair_rate(v, s, w, cell, num_cells, self.exponent, kind)
        if self.method == "batches":
            return batch_rate(v, s, w, cell, num_cells, self.exponent, self.batch_size, generator, kind)
        if kind is None:
            return moment_rate(v, s, w, cell, num_cells)
        # A sum over the weights that one kind sees serves the particles of that kind.
        q = torch.zeros_like(v)
        for k, seen in enumerate(w.T):
            q = torch.where((kind == k)[:, None], moment_rate(v, s, seen, cell, num_cells), q)
        return q


def check_components(v: Tensor) -> None:
    """Raises ValueError if velocities have one component, where Landau collisions vanish."""
    if v.shape[1] == 1:
        raise ValueError("Landau collisions vanish with one velocity component; use Dougherty, or two or three components")
