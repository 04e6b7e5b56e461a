"""Models as they are sent to other processes: weights and rows, from which whoever gets them makes the keys anew."""

from __future__ import annotations

import importlib
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch


def packed(model: Any) -> bytes:
    """A model as it is sent."""
    buffer = io.BytesIO()
    torch.save(model, buffer)
    return buffer.getvalue()


def unpacked(sent: bytes, device: str = "cpu") -> Any:
    """A model that one's own processes sent, on a device."""
    return torch.load(io.BytesIO(sent), map_location=device, weights_only=False)


class Scorer:
    """What holds a model that was sent, and answers batches of rows by it.

    Arguments:
        sent: the model, :func:`packed`.
        columns: the variables, in the order in which the model has them.
        device: on which it works.
    """

    def __init__(self, sent: bytes, columns: Sequence[str], device: str = "cpu") -> None:
        model = unpacked(sent, device)
        self._answer, self._columns = getattr(model, "score_samples", None) or model.log_prob, list(columns)
        self._named = getattr(model, "feature_names_in_", None) is not None
        if self._named:  # by pandas, which engines of data sets bring
            self._frame = importlib.import_module("pandas").DataFrame

    def __call__(self, batch: Mapping[str, Any]) -> np.ndarray:
        """Each row's log-density (n,), or whatever else ``score_samples`` of the model is, of columns (n,) by name."""
        rows = np.stack([np.asarray(batch[name], np.float64) for name in self._columns], 1)
        if self._named:  # scikit-learn warns where what was fitted to named columns is asked by nameless ones
            return np.asarray(self._answer(self._frame(rows, columns=self._columns)))
        return np.asarray(self._answer(rows))


def check_scores(model: Any) -> None:
    """Raises TypeError if a model scores no rows."""
    if isinstance(model, type) or not (hasattr(model, "score_samples") or hasattr(model, "log_prob")):
        raise TypeError(f"model must be a fitted density or detector, or an estimate, got {type(model).__name__}")


def variables_of(model: Any, columns: Sequence[str] | None, known: Sequence[str], new: str) -> list[str]:
    """The columns of a data set that a model asks for: those given, by default those it names, or all.

    Raises:
        ValueError: if there are no such columns, or one of the ``new`` name already.
    """
    own = columns if columns is not None else getattr(model, "names", None)
    own = own if own is not None else getattr(model, "feature_names_in_", None)
    wanted = list(known) if own is None else [str(name) for name in own]
    if lacking := [name for name in wanted if name not in known]:
        raise ValueError(f"the data set has no column {', '.join(lacking)}: there are {', '.join(known)}")
    if new in known:
        raise ValueError(f"the data set has a column {new} already: give another name")
    return wanted
