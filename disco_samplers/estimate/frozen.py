"""The copy of a model that estimates keep, so that whatever becomes of the model changes none of them."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, Protocol, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from disco_samplers.model import Network
from disco_samplers.types import ArrayLike


class Model(Protocol):
    """What an estimate wants of the model that it comes from: a :class:`~disco_samplers.DiScoFormer` without its files."""

    network: Network

    def condition(self, samples: ArrayLike, /) -> Any: ...

    def parameters(self) -> Iterator[Any]: ...

    def to(self, *args: Any, **kwargs: Any) -> Any: ...


def check_model(model: Any) -> None:
    """Raises TypeError if this is no model that conditions on samples."""
    if isinstance(model, type) or not hasattr(model, "condition"):
        raise TypeError(f"model must be a DiScoFormer, such as DiScoFormer.from_pretrained() gives, got {model!r}")


M = TypeVar("M", bound=Model)

_FROZEN: WeakKeyDictionary[Any, tuple[Tensor, Any]] = WeakKeyDictionary()
"""Of each model its weights as they were last, and the copy that estimates made of them hold."""


@torch.inference_mode(False)
@torch.no_grad()
def frozen(model: M) -> M:
    """A copy of a model as it is now, for estimates alone to hold; the last one again while the weights are the same.

    They share it, and give it to nobody: what can be changed from outside is a copy of it.
    """
    weights = torch.cat([p.reshape(-1) for p in model.parameters()])
    before, copied = _FROZEN.get(model, (None, None))
    if copied is None or before is None or not _same(weights, before):
        twin: Any = copy.deepcopy(model)
        copied = twin.requires_grad_(False).eval()
        _FROZEN[model] = weights, copied
    kept: M = copied
    return kept


def _same(a: Tensor, b: Tensor) -> bool:
    return a.dtype == b.dtype and a.device == b.device and torch.equal(a, b)
