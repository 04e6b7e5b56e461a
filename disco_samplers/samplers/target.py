"""What a sampler samples: log-density and score behind one call, with the shapes checked once."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from disco_samplers.types import LogDensity


class Target:
    """Log-density (m,) and score (m, d) of points (m, d), without a graph.

    Arguments:
        score: a callable, or a density with ``score`` and perhaps ``log_prob`` and ``log_prob_and_score``.
        log_prob: takes the place of the density's own.
        needs_log_prob: whether the log-density is used; zeros stand for it where it is not.
    """

    def __init__(self, score: Any, log_prob: LogDensity | None, *, needs_log_prob: bool) -> None:
        both = getattr(score, "log_prob_and_score", None)
        if log_prob is None and needs_log_prob and both is not None:
            self._both = both
        else:
            density = log_prob if log_prob is not None else getattr(score, "log_prob", None)
            gradient = score.score if hasattr(score, "score") else score
            if needs_log_prob and density is not None:
                self._both = lambda x: (density(x), gradient(x))
            else:
                self._both = lambda x: (x.new_zeros(len(x)), gradient(x))

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        log_prob, score = self._evaluate(x)
        return log_prob.detach(), score.detach()

    def _evaluate(self, x: Tensor) -> tuple[Tensor, Tensor]:
        # A user's function may differentiate, whatever mode the sampler was called in.
        with torch.enable_grad():
            answers: tuple[Tensor, Tensor] = self._both(x.detach())  # of which it may ask for gradients in place
        return answers

    def score(self, x: Tensor) -> Tensor:
        """The score alone."""
        return self(x)[1]

    def check(self, x: Tensor) -> None:
        """A first call at the starting points, which says what is wrong with a user's function.

        Raises:
            ValueError: if a return value is no tensor, has the wrong shape, or is not finite; or if the function differentiates
                with respect to points that have no graph.
        """
        try:
            log_prob, score = self._evaluate(x)
        except RuntimeError as error:
            if "does not require grad" not in str(error):
                raise
            raise ValueError(
                "score and log_prob are given points that require no gradient: a function that differentiates must begin with "
                "x = x.detach().requires_grad_()"
            ) from error
        for name, value, shape in (("score", score, tuple(x.shape)), ("log_prob", log_prob, (len(x),))):
            if not isinstance(value, Tensor) or tuple(value.shape) != shape:
                got = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
                raise ValueError(f"{name} must return a tensor of shape {shape} for points {tuple(x.shape)}, it returned {got}")
            finite = torch.isfinite(value.reshape(len(x), -1)).all(1)
            if not finite.all():
                raise ValueError(
                    f"{name} is NaN or infinite at {int((~finite).sum())} of {len(x)} starting points: "
                    "start where the target has density"
                )
