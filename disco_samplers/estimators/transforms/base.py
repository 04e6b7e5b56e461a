"""How log-density and score are carried through a change of variables, whoever wrote its transform."""

from __future__ import annotations

import copy
from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints
from torch.distributions.transforms import ComposeTransform, ExpTransform, Transform


class ClosedForm(Transform):
    """A transform of points (..., d) that knows its own derivatives, as expressions that can be differentiated again."""

    bijective = True

    @abstractmethod
    def pull_back(self, x: Tensor, score: Tensor) -> tuple[Tensor, Tensor]:
        r"""Log-volume (...,) and score (..., d) at points x from the score at their images; see :func:`pull_back`."""


def pull_back(transform: Transform, x: Tensor, score: Tensor) -> tuple[Tensor, Tensor]:
    r"""What a change of variables :math:`z = T(x)` adds to the log-density, and the score at x.

    .. math:: \log |\det J_T(x)|, \qquad J_T(x)^\top s_z(T(x)) + \nabla \log |\det J_T(x)|

    By the transform's own closed form, or else by differentiation, which can be differentiated again.

    Arguments:
        transform: T, from events of any shape to vectors.
        x: (..., *event).
        score: at the images, (..., d).

    Example:
        >>> from torch.distributions.transforms import ExpTransform
        >>> pull_back(ExpTransform(), torch.zeros(1, 1), -torch.ones(1, 1))
        (tensor([0.]), tensor([[0.]]))
    """
    if isinstance(transform, ClosedForm):
        return transform.pull_back(x, score)
    if isinstance(transform, ComposeTransform) and all(isinstance(part, ClosedForm) for part in transform.parts):
        return _pull_back_chain(transform.parts, x, score)
    again = torch.is_grad_enabled() and (x.requires_grad or score.requires_grad)
    with torch.inference_mode(False), torch.enable_grad():
        y = x if again and x.requires_grad else x.detach().clone().requires_grad_()
        z = transform(y)
        volume = log_volume(transform, y, z)
        outputs, weights = [z], [score.to(z.dtype).clone()]
        if volume.requires_grad:
            outputs, weights = [z, volume], [weights[0], torch.ones_like(volume)]
        (pulled,) = torch.autograd.grad(outputs, y, weights, create_graph=again)
    return (volume if again else volume.detach()), pulled


def _pull_back_chain(parts: list[Any], x: Tensor, score: Tensor) -> tuple[Tensor, Tensor]:
    """:func:`pull_back` of transforms that follow one another."""
    if not parts:
        return x.new_zeros(x.shape[:-1]), score
    volume, pulled = _pull_back_chain(parts[1:], parts[0](x), score)
    own, pulled = parts[0].pull_back(x, pulled)
    return own + volume, pulled


def log_volume(transform: Transform, x: Tensor, z: Tensor) -> Tensor:
    """Log of the Jacobian's determinant (...,) at x with the images z (..., d), whatever events the transform is over."""
    volume: Tensor = transform.log_abs_det_jacobian(x, z)
    return volume.flatten(z.ndim - 1).sum(-1) if volume.ndim >= z.ndim else volume


class Inverted(Transform):
    """The inverse of a transform; unlike what torch makes of ``transform.inv``, it can be copied and saved."""

    bijective = True

    def __init__(self, transform: Transform) -> None:
        super().__init__()
        self.transform = transform

    @constraints.dependent_property(is_discrete=False)
    def domain(self) -> constraints.Constraint:
        """The transform's codomain."""
        return self.transform.codomain

    @constraints.dependent_property(is_discrete=False)
    def codomain(self) -> constraints.Constraint:
        """The transform's domain."""
        return self.transform.domain

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """Minus that of the transform."""
        volume: Tensor = -self.transform.log_abs_det_jacobian(y, x)
        return volume

    def forward_shape(self, shape: Any) -> Any:
        """The shape of images."""
        return self.transform.inverse_shape(shape)

    def inverse_shape(self, shape: Any) -> Any:
        """The shape of what has images of a shape."""
        return self.transform.forward_shape(shape)

    def _call(self, x: Tensor) -> Tensor:
        points: Tensor = self.transform.inv(x)
        return points

    def _inverse(self, y: Tensor) -> Tensor:
        points: Tensor = self.transform(y)
        return points


def settled(transform: Any, device: torch.device | str | None = None) -> Any:
    """The same transform, such that it can be copied and saved, with its tensors on a device."""
    if isinstance(transform, Tensor):
        return transform.to(device) if device is not None else transform
    if type(transform) in (list, tuple):  # not named ones, which take their parts one by one
        return type(transform)(settled(part, device) for part in transform)
    if isinstance(transform, type(ExpTransform().inv)):
        return Inverted(settled(transform.inv, device))
    if not isinstance(transform, Transform):
        return transform
    there = copy.copy(transform)
    parts = {name: settled(value, device) for name, value in transform.__dict__.items() if name != "_inv"}
    there.__dict__.update(parts | {"_inv": None})
    return there
