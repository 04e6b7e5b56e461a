"""The score of a data set noised to any level, with its basis and classes: a torch module that knows no scheduler."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from disco_samplers.estimate import DiScoFormer
from disco_samplers.model import DiScoFormerConfig

from .basis import Coordinates, LinearBasis
from .calibration import IMAGE_KNOTS, KNOTS, held_out_images, held_out_stack, held_out_weights, knots
from .data_checks import JUDGES, spaced
from .local_data import LocalData, Near
from .noised_data import NoisedData
from .stack import stack_curve
from .trajectory import Noised, bounded_noise
from .widening import widest


class DataScore(nn.Module):
    r"""Data (N, D) in a linear basis, and the estimates of the data, or of a class, at each noise level.

    .. math:: \hat\epsilon(y, \sigma) = V\, \hat\epsilon_z(V^\top (y - \mu), \sigma) - \sigma\, s_{\mathrm{rest}}(y, \sigma)

    Buffers hold the data, their classes and the weights of the exact denoiser (row 0 for all data, row 1 + c for class c) or,
    of images that are read patch by patch, of the stack (one for all), so that the module is saved and moved whole.

    Arguments:
        size: coordinates of a sample, D.
        num_samples: rows of the data, N.
        basis: (rank, rest_rank) of the :class:`LinearBasis`.
        disco: configuration of the DiScoFormer.
        classes: number of classes; None where the data have no labels.
        weighted: whether rows are worth unlike: ``counts``, (N,), says how many independent draws each is worth.
        context: options of :class:`NoisedData`.
        images: (C, H, W) of images that are read patch by patch (:class:`LocalData`); None of data that are not.
        near: which patches a window is compared with.
    """

    disco: DiScoFormer
    basis: LinearBasis | Coordinates
    data: Tensor
    labels: Tensor
    counts: Tensor | None
    log_sigma: Tensor
    weight: Tensor | None
    stack: Tensor | None

    def __init__(
        self,
        size: int,
        num_samples: int,
        basis: tuple[int, int],
        disco: dict[str, Any],
        classes: int | None,
        weighted: bool,
        context: dict[str, Any],
        images: tuple[int, int, int] | None = None,
        near: Near | None = None,
    ) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):  # weights that are loaded or set later: nothing is to be drawn for them
            self.disco = DiScoFormer(DiScoFormerConfig.from_dict(disco)).requires_grad_(False).eval()
        self.basis = LinearBasis(size, *basis) if near is None else Coordinates(size)
        self.register_buffer("data", torch.zeros(num_samples, basis[0]))
        self.register_buffer("labels", torch.zeros(num_samples, dtype=torch.int64))
        self.register_buffer("counts", torch.ones(num_samples, dtype=torch.float64) if weighted else None)
        levels = KNOTS if near is None else IMAGE_KNOTS
        self.register_buffer("log_sigma", torch.zeros(1 + (classes or 0), levels, dtype=torch.float64))
        if near is None:
            self.register_buffer("weight", torch.zeros(1 + (classes or 0), levels, dtype=torch.float64))
            self.register_buffer("stack", None)
        else:
            self.register_buffer("weight", None)
            self.register_buffer("stack", torch.zeros(levels, len(near.sizes) + 2, dtype=torch.float64))
        self._classes, self._context, self._images, self._near = classes, context, images, near
        self._dtype = torch.float32
        self._noised: dict[int | None, Noised] = {}

    @property
    def dtype(self) -> torch.dtype:
        """The precision of samples; in half precision the estimates themselves stay in float32."""
        return self._dtype

    def noise(
        self, y: Tensor, sigma: Tensor, class_labels: Any = None, guidance_scale: float = 1.0, trajectory_steps: int = 0
    ) -> Tensor:
        """The predicted noise (B, D) in y (B, D) at levels sigma (B,).

        Arguments:
            y: data plus noise.
            sigma: noise level of each row.
            class_labels: class of each row, or one for all.
            guidance_scale: of classifier-free guidance.
            trajectory_steps: where positive, the noise is that of the probability-flow trajectory down to its end.

        Raises:
            ValueError: if a class does not exist, or guidance is asked for without one.
        """
        z, rest = self.basis.project(y)
        noise = torch.zeros_like(z)
        if class_labels is None and guidance_scale != 1.0:
            raise ValueError("guidance_scale needs class_labels: guidance is towards a class")
        parts = [(class_labels, guidance_scale)]
        if guidance_scale != 1.0:
            parts.append((None, 1.0 - guidance_scale))
        for labels, factor in parts:
            for label, rows in self.groups(labels, len(y)):
                for level in sigma[rows].unique().tolist():
                    at = rows[sigma[rows] == level]
                    noise[at] += factor * bounded_noise(self.noised(label), z[at], level, trajectory_steps)
        column = sigma[:, None].to(y)
        least = 1e-6  # a sigma of zero has no score, and nothing to remove
        return self.basis.turn(noise) - column * self.basis.rest_score(rest, column.clamp_min(least))

    def log_density(self, y: Tensor, sigma: float, class_labels: Any = None) -> Tensor:
        """The density heads' log-density (B,) of y (B, D) at a level."""
        z, rest = self.basis.project(y)
        log_prob = self.basis.rest_log_prob(rest, sigma)
        for label, rows in self.groups(class_labels, len(y)):
            log_prob[rows] += self.noised(label).log_prob(z[rows], sigma)
        return log_prob

    @torch.inference_mode(False)  # what is kept serves gradients later
    def noised(self, label: int | None = None) -> Noised:
        """The estimates, at any noise level, of all data or of one class."""
        if label not in self._noised:
            self._noised[label] = self._estimates(*self._rows(label), label)
        return self._noised[label]

    def groups(self, class_labels: Any, count: int) -> list[tuple[int | None, Tensor]]:
        """Each class among ``count`` samples with its rows; None for all of them without classes."""
        rows = torch.arange(count, device=self.data.device)
        if class_labels is None:
            return [(None, rows)]
        if self._classes is None:
            raise ValueError("class_labels given, but the data have no labels: give labels= to from_data")
        labels = classes_of(class_labels, rows.device)
        if len(labels) not in (1, count):
            raise ValueError(f"class_labels must be one class or one a sample, got {len(labels)} for {count} samples")
        known = set(self.labels.unique().tolist())
        if unknown := sorted(set(labels.tolist()) - known):
            raise ValueError(f"class_labels: there is no class {unknown[0]!r} in the data; there are {sorted(known)}")
        labels = labels.expand(count)
        return [(int(label), rows[labels == label]) for label in labels.unique().tolist()]

    def calibrate(self, measured: bool, progress: bool, blocks: Tensor | None = None, held_out: Tensor | None = None) -> None:
        """Fills the weights: zero below the last knot or, ``measured``, what held-out rows of the data say.

        Of rows of chains, ``blocks`` (N,) numbers the runs that are held out as a whole, and of others those that are the same.
        Images that are read patch by patch have a stack of answers instead, which ``held_out`` (m, D) judge if they are given.
        """
        if self._near is not None:
            self._calibrate_stack(measured, progress, blocks, held_out)
            return
        assert self.weight is not None
        for label in (None, *self.labels.unique().tolist()) if self._classes else (None,):
            (rows, counts), at = self._rows(label), _row(label)
            sigmas = knots(rows, counts)
            self.log_sigma[at] = sigmas.log()
            if measured:

                def fit(kept: Tensor, worth: Tensor | None) -> Any:
                    noised = NoisedData(self.disco, kept, lambda sigma: 0.0, worth, **self._context)
                    return lambda y, sigma: y - sigma * noised.noise(y, sigma)

                what = "calibrating" if label is None else f"calibrating class {label}"
                options: dict[str, Any] = {"seed": self._context["seed"], "progress": progress, "description": what}
                runs = None if blocks is None else blocks if label is None else blocks[self.labels.cpu() == label]
                self.weight[at] = held_out_weights(rows, sigmas, fit, counts=counts, blocks=runs, **options)
            self.weight[at, -1] = 1.0

    def _calibrate_stack(self, measured: bool, progress: bool, copies: Tensor | None, held_out: Tensor | None) -> None:
        """Fills the stack, one for all classes, by ``held_out`` or by images that are left out for it and read afterwards."""
        assert self.stack is not None
        assert self._near is not None
        sigmas, seed = knots(self.data, images=True), self._context["seed"]
        self.log_sigma[:] = sigmas.log()
        self.stack[:, -2] = 1.0  # whole images, which is where likelihoods end
        if not measured:
            return
        parts = []
        if held_out is None:
            # Of each class, so that all of them are judged.
            labels = self.labels.unique().tolist() if self._classes else [None]
            for label in labels:
                rows = self._rows(label)[0]
                same = copies if copies is None or label is None else copies[self.labels.cpu() == label]
                held, kept = held_out_images(len(rows), len(labels), seed, same)
                parts.append((self._local(rows[kept]), rows[held]))
        else:
            parts.append((self._local(self.data), spaced(held_out, JUDGES)))
        stack = held_out_stack(parts, sigmas[:-1], seed=seed, progress=progress)[0].to(self.stack)
        self.stack[:-1] = stack
        # Of patches from anywhere no image is a copy as a whole: the distances of whole images say nothing.
        if self._near.reach is not None:
            known = [local for local, _ in parts]
            self.log_sigma -= math.log(widest(known, held_out, sigmas[:-1], stack, seed=seed, progress=progress))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_noised": {}}  # copies may change what contexts were made from

    def _apply(self, fn: Any, recurse: bool = True) -> DataScore:
        def kept(tensor: Tensor) -> Tensor:
            moved: Tensor = fn(tensor)
            half = moved.is_floating_point() and moved.dtype not in (torch.float32, torch.float64)
            return tensor.to(moved.device) if half else moved

        before = self.data
        self._dtype = fn(torch.zeros(0, dtype=self._dtype, device=self.data.device)).dtype
        super()._apply(kept, recurse)
        if (self.data.device, self.data.dtype) != (before.device, before.dtype):
            self._noised.clear()  # encoded where the model was
        return self

    def _rows(self, label: int | None) -> tuple[Tensor, Tensor | None]:
        if label is None:
            return self.data, self.counts
        own = self.labels == label
        return self.data[own], None if self.counts is None else self.counts[own]

    def _estimates(self, rows: Tensor, counts: Tensor | None, label: int | None) -> Noised:
        if self._near is not None:
            return self._local(rows)
        assert self.weight is not None
        at = _row(label)
        weight = stack_curve(self.log_sigma[at], self.weight[at, :, None])
        return NoisedData(self.disco, rows, lambda sigma: weight(sigma)[0], counts, **self._context)

    def _local(self, rows: Tensor) -> LocalData:
        assert self._near is not None
        assert self._images is not None
        assert self.stack is not None
        stack = stack_curve(self.log_sigma[0], self.stack)
        options = {name: self._context[name] for name in ("context_size", "seed")}
        return LocalData(self.basis.lift(rows), self._images, stack, near=self._near, **options)


def classes_of(class_labels: Any, device: torch.device) -> Tensor:
    """Classes that are asked for, one or several, as (n,).

    Raises:
        TypeError: if they are no numbers.
    """
    try:
        return torch.as_tensor(class_labels, device=device).reshape(-1)
    except (TypeError, ValueError):
        raise TypeError(f"class_labels must be whole numbers, got {class_labels!r}") from None


def _row(label: int | None) -> int:
    return 0 if label is None else 1 + label
