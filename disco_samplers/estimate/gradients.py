"""A log-density that is differentiated into the score that goes with it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class WithGradient(torch.autograd.Function):
    """A log-density whose gradient is the given score."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, log_prob: Tensor, score: Tensor) -> Tensor:
        ctx.save_for_backward(score)
        return log_prob.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (score,) = ctx.saved_tensors
        return (grad[..., None] * score).to(score.dtype), None, None


class WithDifferentiableGradient(torch.autograd.Function):
    """The same in the transforms of ``torch.func``, which do not say how often they differentiate, and in forward mode."""

    generate_vmap_rule = True

    @staticmethod
    def forward(y: Tensor, log_prob: Tensor, score: Tensor) -> Tensor:
        return log_prob.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(inputs[2])
        ctx.save_for_forward(inputs[2])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (score,) = ctx.saved_tensors
        return (grad[..., None] * score).to(score.dtype), None, None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_: Tensor) -> Tensor:
        (score,) = ctx.saved_tensors
        answer: Tensor = (tangent * score).sum(-1)
        return answer
