"""A log-density that is differentiated into the score that goes with it."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from disco_samplers.modes import forward_mode, transformed

Gradient = Literal["density", "score"]
"""Of a log-density: by differentiating it, or the score that goes with it."""


def log_prob_by(estimator: Any, y: Tensor, gradient: Gradient) -> Tensor:
    """An estimator's log-density at points, with the gradient that is asked for.

    Raises:
        ValueError: if that is neither "density" nor "score".
    """
    if gradient not in ("density", "score"):
        raise ValueError(f'gradient must be "density" or "score", got {gradient!r}')
    if gradient == "score" and (transformed() or forward_mode()):
        both: Tensor = WithDifferentiableGradient.apply(y, *estimator.log_prob_and_score(y))
        return both
    if gradient == "score" and y.requires_grad:
        with torch.no_grad():
            log_prob, score = estimator.log_prob_and_score(y)
        given: Tensor = WithGradient.apply(y, log_prob, score)
        return given
    plain: Tensor = estimator.log_prob(y)
    return plain


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
