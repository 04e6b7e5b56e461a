"""Muon for many small matrices: those of one shape are orthogonalised together."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from disco_samplers.training.precision import training_dtype

_A, _B, _C = 3.4445, -4.7750, 2.0315
_ITERATIONS, _MOMENTUM, _TINY = 5, 0.95, 1e-7


class Muon(Optimizer):
    r"""Steps along the nearest orthogonal matrix to the gradient's momentum, as :class:`torch.optim.Muon` does.

    .. math:: W \leftarrow (1 - \eta \lambda) W - \eta \sqrt{\max(1, r/c)}\; \operatorname{orth}(M)

    with M the Nesterov momentum and r, c the rows and columns of W. torch's own takes matrix after matrix, thousands of small
    products a step; here a hundred matrices take a few dozen.

    Arguments:
        params: matrices.
        lr: the learning rate :math:`\eta`.
        weight_decay: :math:`\lambda`.

    References:
        Jordan et al., *Muon: an optimizer for hidden layers in neural networks*, 2024.

    Example:
        >>> w = torch.nn.Parameter(torch.zeros(2, 2))
        >>> w.grad = torch.eye(2)
        >>> Muon([w], lr=0.1, weight_decay=0.0).step()
        >>> bool(w[0, 0] < -0.05)
        True
    """

    def __init__(self, params: Iterable[Tensor], lr: float, weight_decay: float) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One step; parameters without a gradient stay as they are."""
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            grads = [p.grad for p in params]
            momenta = [self.state[p].setdefault("momentum", torch.zeros_like(p)) for p in params]
            torch._foreach_lerp_(momenta, grads, 1 - _MOMENTUM)
            updates = torch._foreach_lerp(grads, momenta, _MOMENTUM)
            shapes = defaultdict(list)
            for i, update in enumerate(updates):
                shapes[tuple(sorted(update.shape))].append(i)
            torch._foreach_mul_(params, 1 - group["lr"] * group["weight_decay"])
            for members in shapes.values():
                flat = torch.stack(
                    [updates[i] if updates[i].shape[0] <= updates[i].shape[1] else updates[i].T for i in members]
                )
                for i, update in zip(members, _orthogonal(flat), strict=True):
                    rows, columns = params[i].shape
                    right = update if rows <= columns else update.T
                    params[i].add_(right, alpha=-group["lr"] * math.sqrt(max(1.0, rows / columns)))


def _orthogonal(matrices: Tensor) -> Tensor:
    """Wide matrices (k, r, c) with their singular values brought near one by a Newton-Schulz iteration."""
    x = matrices.to(training_dtype(matrices.device))
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp_min(_TINY)
    for _ in range(_ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=_B, alpha=_C), x, beta=_A)
    return x.to(matrices.dtype)
