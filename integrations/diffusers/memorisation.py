"""Whether generated samples are new: their distances to the training set, and their closeness to held-out data."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch
from torch import Tensor

from disco_samplers.arrays import check_finite, check_tensors
from disco_samplers.measures import maximum_mean_discrepancy, nearest_distances, precision_recall, sliced_wasserstein
from disco_samplers.pictures import BLUE, GREY, draw_histogram, edges, figure_of, legend_below, saved, styled

NEW = 0.05
"""The share of new data that are nearer to a training sample than a distance which counts as a copy's."""


@dataclasses.dataclass(frozen=True)
class MemorisationReport:
    """Distances to the nearest training sample, and distances between distributions; see :func:`memorisation`.

    Arguments:
        nearest: of each generated sample to its nearest training sample, (m,).
        nearest_held_out: of each held-out one, (h,): what new data look like.
        copied: share of generated samples that lie closer to a training sample than all but 5 % of held-out ones do; new data
            give 0.05, a memoriser gives 1.
        mmd: squared maximum mean discrepancy of the generated to the held-out samples.
        mmd_training: that of the training samples to the held-out ones: what data of this size reach.
        sliced_w2: sliced Wasserstein-2 distance to the held-out samples, in the data's units.
        sliced_w2_training: that of the training samples.
        precision: share of generated samples within the held-out ones' manifold.
        recall: share of held-out samples within the generated ones' manifold.
    """

    nearest: Tensor
    nearest_held_out: Tensor
    copied: float
    mmd: float
    mmd_training: float
    sliced_w2: float
    sliced_w2_training: float
    precision: float
    recall: float

    @styled
    def plot(self, path: str | None = None) -> Any:
        """Draws the distances to the nearest training sample, of generated and of held-out samples. Needs matplotlib."""
        figure = figure_of(6.4, 3.6, path)
        axis = figure.subplots()
        new, old = (distances.double().cpu().numpy() for distances in (self.nearest, self.nearest_held_out))
        bins = edges(np.concatenate([new, old]), 40, marks=[0.0])
        draw_histogram(axis, old, bins, color=GREY, label="held-out data", counted=False)
        draw_histogram(axis, new, bins, color=BLUE, label="generated", filled=False)
        axis.set(xlabel="distance to the nearest training sample (units of the data)", ylabel="density", yticks=[])
        axis.set_title(f"copied: {self.copied:.0%} (of new data {NEW:.0%}; more is worse)")
        legend_below(figure, axis)
        return saved(figure, path)

    def __repr__(self) -> str:
        return (
            f"MemorisationReport(copied={self.copied:.3f}, mmd={self.mmd:.2g} (training {self.mmd_training:.2g}), "
            f"sliced_w2={self.sliced_w2:.3f} (training {self.sliced_w2_training:.3f}), "
            f"precision={self.precision:.3f}, recall={self.recall:.3f})"
        )


def memorisation(generated: Tensor, training: Tensor, held_out: Tensor, *, neighbours: int = 3) -> MemorisationReport:
    """Compares generated samples (m, ...) with the training samples (n, ...) and held-out ones (h, ...) of the same kind.

    Precision and recall are taken on as many held-out as generated samples, the first of each.

    Arguments:
        generated: new samples.
        training: what the model was made from.
        held_out: what it has not seen.
        neighbours: k of precision and recall.

    Raises:
        TypeError: if the samples are no tensors of floating-point numbers.
        ValueError: if the samples differ in shape or hold NaN, or a set has no more than ``neighbours`` rows.

    References:
        Meehan, Chaudhuri, Dasgupta, *A non-parametric test to detect data-copying in generative models*, AISTATS 2020, for the
        comparison of distances; Kynkaanniemi et al., NeurIPS 2019, for precision and recall.

    Example:
        >>> x = torch.randn(300, 2, generator=torch.Generator().manual_seed(0))
        >>> memorisation(x[:100], x[:100], x[200:]).copied
        1.0
    """
    check_tensors(generated=generated, training=training, held_out=held_out)
    if not generated.shape[1:] == training.shape[1:] == held_out.shape[1:]:
        shapes = ", ".join(str(tuple(t.shape)) for t in (generated, training, held_out))
        raise ValueError(f"generated, training and held_out must hold samples of one shape, got {shapes}")
    for name, rows in (("generated", generated), ("training", training), ("held_out", held_out)):
        if len(rows) <= neighbours:
            raise ValueError(f"{name} must hold more than neighbours = {neighbours} samples, got {len(rows)}")
        check_finite(rows.flatten(1), name)
    new, old, held = (t.detach().flatten(1).double() for t in (generated, training, held_out))
    nearest, nearest_held = nearest_distances(new, old), nearest_distances(held, old)
    count = min(len(new), len(held))
    precision, recall = precision_recall(new[:count], held[:count], neighbours=neighbours)
    bandwidth = float(torch.pdist(held[:1000]).median())
    return MemorisationReport(
        nearest=nearest,
        nearest_held_out=nearest_held,
        copied=share_copied(nearest, nearest_held),
        mmd=maximum_mean_discrepancy(new, held, bandwidth=bandwidth),
        mmd_training=maximum_mean_discrepancy(old, held, bandwidth=bandwidth),
        sliced_w2=sliced_wasserstein(new, held, order=2, standardize=False),
        sliced_w2_training=sliced_wasserstein(old, held, order=2, standardize=False),
        precision=precision,
        recall=recall,
    )


def share_copied(nearest: Tensor, nearest_held_out: Tensor) -> float:
    """The share of distances (m,) to the nearest training sample below all but :data:`NEW` of those (h,) of new data."""
    return float((nearest <= nearest_held_out.quantile(NEW)).double().mean())
