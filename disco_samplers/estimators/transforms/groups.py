"""Coordinates without dependence for columns that lie on a simplex or in a rising order."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.distributions import constraints

from disco_samplers.draws import ROUNDING, Member, Support, groups_of
from disco_samplers.estimators.transforms.base import ClosedForm

_NEAREST = 1e-12
"""Least that is left of a simplex: points come no closer to its corners."""


class GroupTransform(ClosedForm):
    r"""Columns of groups as columns that do not bound one another; the others as they are.

    Of ordered columns the first and the distances :math:`y_i = x_i - x_{i - 1} > 0`. Of a simplex of k columns the first
    k - 1 shares of what is left, with the last column left out (of a subsimplex, that is a simplex whose last column is not
    there, all of them),

    .. math:: y_i = x_i / r_i \in (0, 1), \qquad r_i = \sum_{j \ge i} x_j, \qquad
        \log |\det J| = -\sum_{i < k} \log r_i,

    and the density is one of the first k - 1 columns, whichever they are. Its score is the gradient along the simplex: its
    sum is zero. Points off the simplex by more than a millionth for each column are taken to where y is outside.

    Arguments:
        supports: of the columns x.

    References:
        Betancourt, *Cruising the simplex*, 2012 (https://arxiv.org/abs/1010.3436), for the shares of what is left.

    Example:
        >>> change = GroupTransform([Member("simplex", (0, 1, 2))] * 3)
        >>> change(torch.tensor([[0.5, 0.25, 0.25]]).double())
        tensor([[0.5000, 0.5000]], dtype=torch.float64)
        >>> change.supports
        [Support(low=0.0, high=1.0), Support(low=0.0, high=1.0)]
    """

    domain = constraints.real_vector
    codomain = constraints.real_vector

    def __init__(self, supports: Sequence[Support]) -> None:
        super().__init__()
        self.groups, self.dim = groups_of(supports), len(supports)
        dropped = [group.columns[-1] for group in self.groups if group.kind == "simplex"]
        kept = [i for i in range(self.dim) if i not in dropped]
        bounds = [support if not isinstance(support, Member) else Support(support.low, support.high) for support in supports]
        for group in self.groups:
            for i in group.columns[1:] if group.kind == "ordered" else ():
                bounds[i] = Support(0.0, None)
        self.kept, self.supports = kept, [bounds[i] for i in kept]
        """Numbers of the columns x that have a column y each, and the supports of these."""
        # A share is near one where all later columns are near zero: a level density has a power of their number there.
        self.powers = [
            float(_size(one) - 2 - one.columns.index(i)) if isinstance(one, Member) and one.kind != "ordered" else 0.0
            for i, one in enumerate(supports)
            if i in kept
        ]
        """Of a column y at its upper end, where the density of x is level there."""

    def __bool__(self) -> bool:
        return bool(self.groups)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """Log-volume (...,) at points x (..., d)."""
        return self._volume(x)

    def pull_back(self, x: Tensor, score: Tensor) -> tuple[Tensor, Tensor]:
        pulled = dict(zip(self.kept, score.double().unbind(-1), strict=True))
        for group in self.groups:
            own = list(group.columns)
            if group.kind == "ordered":
                s = torch.stack([pulled[i] for i in own], -1)
                found = s - torch.nn.functional.pad(s[..., 1:], (0, 1))
            else:
                whole = _whole(x, group)
                left = _left(whole)
                share = whole[..., :-1] / left
                s = torch.stack([pulled[i] for i in own[: _size(group) - 1]], -1)
                after = ((share * s + 1) / left).flip(-1).cumsum(-1).flip(-1)
                found = s / left + torch.nn.functional.pad(after[..., 1:], (0, 1))
                if group.kind == "simplex":
                    found = torch.nn.functional.pad(found, (0, 1))
                    found = found - found.mean(-1, keepdim=True)
            pulled |= dict(zip(own, found.unbind(-1), strict=True))
        return self._volume(x), torch.stack([pulled[i] for i in range(self.dim)], -1)

    def forward_shape(self, shape: Sequence[int]) -> torch.Size:
        """The shape of images."""
        return torch.Size([*shape[:-1], len(self.kept)])

    def inverse_shape(self, shape: Sequence[int]) -> torch.Size:
        """The shape of what has images of a shape."""
        return torch.Size([*shape[:-1], self.dim])

    def _volume(self, x: Tensor) -> Tensor:
        whole = [_left(_whole(x, group)).log().sum(-1) for group in self.groups if group.kind != "ordered"]
        return -torch.stack(whole).sum(0) if whole else x.new_zeros(x.shape[:-1], dtype=torch.float64)

    def _call(self, x: Tensor) -> Tensor:
        columns = list(x.double().unbind(-1))
        for group in self.groups:
            own = list(group.columns)
            if group.kind == "ordered":
                z = x[..., own].double()
                found = torch.cat([z[..., :1], z.diff(dim=-1)], -1)
            else:
                z = _whole(x, group)
                off = x[..., own].double().sum(-1, keepdim=True) - 1
                off = (off.abs() if group.kind == "simplex" else off) > ROUNDING * len(own)
                share = z[..., :-1] / _left(z)
                # No nearer to a corner than what is left of it there.
                least = 1 - z.flip(-1).cumsum(-1).flip(-1)[..., 1:].clamp_min(_NEAREST) / _left(z)
                share = torch.where((share > 0.5) & (share <= 1), torch.minimum(share, least), share)
                found = torch.where(off, -1.0, share)
            for i, column in zip(own, found.unbind(-1), strict=False):
                columns[i] = column
        return torch.stack([columns[i] for i in self.kept], -1)

    def _inverse(self, y: Tensor) -> Tensor:
        columns = dict(zip(self.kept, y.double().unbind(-1), strict=True))
        for group in self.groups:
            if group.kind == "ordered":
                found = torch.stack([columns[i] for i in group.columns], -1).cumsum(-1)
            else:
                share = torch.stack([columns[i] for i in group.columns[: _size(group) - 1]], -1)
                rest = torch.cat([torch.ones_like(share[..., :1]), (1 - share).cumprod(-1)], -1)
                found = torch.cat([share, torch.ones_like(share[..., :1])], -1) * rest
            columns |= dict(zip(group.columns, found.unbind(-1), strict=False))
        return torch.stack([columns[i] for i in range(self.dim)], -1)


def _size(group: Member) -> int:
    """Columns of the simplex that a group is, or is all of but its last."""
    return len(group.columns) + (group.kind == "subsimplex")


def _whole(x: Tensor, group: Member) -> Tensor:
    """All columns (..., k) of that simplex at points x (..., d)."""
    own = x[..., list(group.columns)].double()
    return own if group.kind == "simplex" else torch.cat([own, (1 - own.sum(-1, keepdim=True)).clamp_min(0)], -1)


def _left(x: Tensor) -> Tensor:
    """What is left of a simplex (..., k) at each column but the last, (..., k - 1), which is not zero."""
    tail = x.double().flip(-1).cumsum(-1).flip(-1)
    return tail[..., :-1].clamp_min(_NEAREST)
