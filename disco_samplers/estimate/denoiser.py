"""The model that is told the noise, and the estimate of a blurred law that it gives."""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from disco_samplers.arrays import as_points, check_double, check_positive, like
from disco_samplers.draws import Draws, as_table
from disco_samplers.estimate.rows import check_samples
from disco_samplers.estimators import DENOISER, WEIGHTS_NAME, DenoisingEstimator, load_denoiser, weights_path
from disco_samplers.files import save_weights
from disco_samplers.model import DenoiserConfig, DenoiserNetwork
from disco_samplers.types import ArrayLike

MAX_ROWS = 2**14

_LEAST_NOISE = 1e-12
"""Of noise that is less, in units of the samples' spread, float32 has no squares of distances in units of it."""


class DiscoDenoiser(nn.Module):
    r"""A DiScoFormer that is told the noise: from clean samples of f, density and score of f blurred by normal noise.

    .. math:: (X, \sigma, y) \mapsto \big(\log (f * \mathcal N_\sigma)(y),\; \nabla \log (f * \mathcal N_\sigma)(y)\big),
        \qquad D(y) = y + \sigma^2\, \nabla \log (f * \mathcal N_\sigma)(y)

    D is the mean of the clean point given the noised one. A :class:`~disco_samplers.DiScoFormer` that reads noised samples must
    undo the noise of its own context; this one knows it. One head's kernel is the noise itself, which is the answer that gives
    the samples back (:class:`~disco_samplers.reference.OptimalDenoiser`); the others are broader by the shape of the samples,
    and the network learns how to add them up. Answers are exactly equivariant to shifts, rotations and scales of the data and
    the noise together.

    Arguments:
        config: sizes; a model made this way is untrained: :meth:`from_pretrained` gives the trained one.

    References:
        Efron, *Tweedie's formula and selection bias*, JASA 2011, eq. 1.3, for D; DiScoFormer
        (https://arxiv.org/abs/2511.05924).

    Example:
        >>> samples = torch.randn(500, 2, generator=torch.Generator().manual_seed(0))
        >>> estimate = DiscoDenoiser.from_pretrained().condition(samples, noise=0.5)
        >>> y = torch.tensor([[1.0, 0.0]])
        >>> bool((estimate.denoise(y) - y / 1.25).norm() < 0.2)
        True
    """

    def __init__(self, config: DenoiserConfig | None = None) -> None:
        super().__init__()
        if config is not None and not isinstance(config, DenoiserConfig):
            raise TypeError(f"config must be a DenoiserConfig, got {config!r}; weights are loaded by from_pretrained")
        self.config = DenoiserConfig() if config is None else config
        self.network = DenoiserNetwork(self.config)

    @classmethod
    def from_pretrained(cls, name_or_path: str | os.PathLike[str] | None = None, *, map_location: str = "cpu") -> DiscoDenoiser:
        """Loads trained weights.

        Arguments:
            name_or_path: "denoiser" (the default) for the weights in this package, or a folder or ``.safetensors`` file.
            map_location: device to load on.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if the file is of another kind.
        """
        check_double(map_location, "map_location")
        path = Path(weights_path(DENOISER) if name_or_path in (None, DENOISER) else str(name_or_path))
        network = load_denoiser(path / WEIGHTS_NAME if path.is_dir() else path)
        with torch.device("meta"):
            model = cls(network.config)
        model.network = network
        return model.to(map_location)

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Writes the weights as ``model.safetensors`` into a folder."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        save_weights(Path(folder) / WEIGHTS_NAME, self.network.state_dict(), self.config.to_dict())

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @torch.inference_mode(False)
    def condition(self, samples: ArrayLike | Draws, noise: float, *, weights: ArrayLike | None = None) -> NoisedEstimate:
        """Encodes clean samples once and returns the estimate of their blurred law.

        Arguments:
            samples: (n, d), clean; numpy, torch, a data frame, or :class:`~disco_samplers.Draws`. Rows of an array count as
                often as they are there, as pixels of one colour do; those of draws for what they are worth.
            noise: standard deviation of the noise in every column, in the data's units.
            weights: (n,), not negative, of any sum.

        Raises:
            TypeError: if samples or noise are no numbers.
            ValueError: if samples hold NaN, are fewer than two, or more than 2^14, or noise is not positive or less
                than 1e-12 of the samples' spread.
        """
        check_positive("noise", noise)
        counts: Tensor | None = None
        if isinstance(samples, Draws):
            if weights is not None:
                raise ValueError("weights are given twice: the draws have their own")
            rows, counts = samples.counts()
            samples.warn()
        else:
            table, names = as_table(samples, "samples")
            rows, _ = check_samples(samples if isinstance(samples, Tensor) else table.numpy(), None, self.device)
            if rows.ndim != 2:
                raise ValueError(
                    f"samples must have shape (n, d), got {tuple(rows.shape)}: condition on one data set at a time"
                )
            if weights is not None:
                rows, counts = Draws(rows.detach(), weights=weights, names=names).counts()
        if len(rows) > MAX_ROWS:
            raise ValueError(f"samples has {len(rows)} rows; at most {MAX_ROWS} are supported: condition on a random subset")
        spread = float(rows.detach().double().std(0).norm())
        if noise < _LEAST_NOISE * spread:
            raise ValueError(f"noise must be at least {_LEAST_NOISE:g} of the samples' spread, {spread:.3g}, got {noise}")
        where = self.device
        counts = None if counts is None else counts.to(where)
        # The estimate keeps a network of its own: what becomes of the model later changes no answer.
        estimator = DenoisingEstimator(copy.deepcopy(self.network), rows.clone().to(where), float(noise), counts)
        return NoisedEstimate(estimator, float(noise), where)


class NoisedEstimate:
    """Density and score of a law blurred by noise of a known level; made by :meth:`DiscoDenoiser.condition`.

    Arguments:
        estimator: tensors in, tensors out.
        noise: standard deviation of the noise.
        device: where points are brought to.
    """

    def __init__(self, estimator: DenoisingEstimator, noise: float, device: torch.device) -> None:
        self._estimator, self.noise, self._device = estimator, noise, device

    def log_prob_and_score(self, points: ArrayLike) -> tuple[Any, Any]:
        """Log-density (m,) and score (m, d) of the blurred law at points (m, d), in the kind of array that was asked."""
        log_prob, score = self._estimator.log_prob_and_score(self._points(points))
        return like(log_prob, points), like(score, points)

    def log_prob(self, points: ArrayLike) -> Any:
        """Log-density (m,) of the blurred law at points (m, d)."""
        return self.log_prob_and_score(points)[0]

    def score(self, points: ArrayLike) -> Any:
        """Score (m, d) of the blurred law at points (m, d)."""
        return self.log_prob_and_score(points)[1]

    def denoise(self, points: ArrayLike) -> Any:
        r"""The mean (m, d) of the clean points, :math:`y + \sigma^2 s(y)`, given noised ones (m, d)."""
        y = self._points(points)
        # In double: the score of much noise is below what float32 has numbers for.
        return like(y.double() + self.noise * (self.noise * self._estimator.log_prob_and_score(y)[1]), points)

    def _points(self, points: ArrayLike) -> Tensor:
        y = as_points(points, "points", dim=self._estimator.dim, device=self._device)
        if y.ndim != 2:
            raise ValueError(f"points must have shape (m, {self._estimator.dim}), got {tuple(y.shape)}")
        return y
