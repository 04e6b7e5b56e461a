"""What drawn images are judged by: a small classifier's features, and distances between sets of images in them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from disco_samplers.integrations.diffusers import memorisation
from torch import Tensor, nn
from torch.nn import functional as F

from disco_samplers.measures import maximum_mean_discrepancy, precision_recall

_EPOCHS, _BATCH, _RATE = 30, 50, 2e-3
_FEATURES = 64


class Classifier(nn.Module):
    """Two convolutions of 3 x 3 with 16 and 32 channels, each followed by the mean of 2 x 2, then 64 features and the classes.

    Trained by Adam (rate 0.002, falling to zero by a cosine) for 30 epochs of batches of 50, each image moved by up to a
    fourteenth of its size either way.
    """

    def __init__(self, size: int, classes: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.SiLU(),
            nn.AvgPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.SiLU(),
            nn.AvgPool2d(2),
        )
        self.features = nn.Linear(32 * (size // 4) ** 2, _FEATURES)
        self.classes = nn.Linear(_FEATURES, classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.classes(F.silu(self.embed(images)))

    def embed(self, images: Tensor) -> Tensor:
        """The features (n, 64)."""
        return self.features(self.convolutions(images).flatten(1))

    @classmethod
    def trained(cls, images: Tensor, labels: Tensor, seed: int = 0) -> Classifier:
        """Made from labelled images (n, 1, size, size)."""
        size, moves = images.shape[-1], images.shape[-1] // 14
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            made = cls(size, int(labels.max()) + 1)
        generator = torch.Generator().manual_seed(seed)
        optimizer = torch.optim.Adam(made.parameters(), _RATE)
        steps = _EPOCHS * -(-len(images) // _BATCH)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        padded = F.pad(images, (moves,) * 4, value=float(images.min()))
        for _ in range(_EPOCHS):
            for rows in torch.randperm(len(images), generator=generator).split(_BATCH):
                top, left = torch.randint(2 * moves + 1, (2,), generator=generator).tolist()
                loss = F.cross_entropy(made(padded[rows, :, top : top + size, left : left + size]), labels[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
        return made.eval().requires_grad_(False)

    def accuracy(self, images: Tensor, labels: Tensor) -> float:
        """Share of images whose class is told."""
        return float((self(images).argmax(1) == labels).double().mean())


@dataclasses.dataclass(frozen=True)
class Judgement:
    """Figures of drawn images beside held-out ones; in the order of the table."""

    precision: float
    recall: float
    frechet: float
    mmd: float
    pixel_precision: float
    pixel_recall: float
    copied: float
    entropy: float
    mean_entropy: float


def judge(drawn: Tensor, read: Tensor, held_out: Tensor, classifier: Classifier) -> Judgement:
    """The figures of drawn images (m, 1, H, W), brought to the range of the data first."""
    drawn = drawn.clamp(float(read.min()), float(read.max()))
    new, held = classifier.embed(drawn), classifier.embed(held_out)
    count = min(len(drawn), len(held_out))
    precision, recall = precision_recall(new[:count], held[:count])
    copies = memorisation(drawn, read, held_out)
    shares = classifier(drawn).softmax(1)
    return Judgement(
        precision,
        recall,
        frechet(new, held),
        maximum_mean_discrepancy(new, held),
        copies.precision,
        copies.recall,
        copies.copied,
        float(_entropies(shares.mean(0))),
        float(_entropies(shares).mean()),
    )


def frechet(x: Tensor, y: Tensor) -> float:
    r"""The squared Frechet distance of two sets of features (n, k), as Gaussians.

    .. math:: |\mu_x - \mu_y|^2 + \mathrm{tr}\big(C_x + C_y - 2 (C_x^{1/2} C_y C_x^{1/2})^{1/2}\big)

    Heusel et al., *GANs trained by a two time-scale update rule converge to a local Nash equilibrium*, NeurIPS 2017, eq. 6.
    """
    x, y = x.double(), y.double()
    left = _root(x.T.cov())
    product = torch.linalg.eigvalsh(left @ y.T.cov() @ left).clamp_min(0).sqrt().sum()
    return float((x.mean(0) - y.mean(0)).square().sum() + x.T.cov().trace() + y.T.cov().trace() - 2 * product)


def agreement(theirs: Tensor, ours: Tensor) -> float:
    """The share of the variance of denoised images (m, ...) about their mean image that others explain, r^2."""
    rest = (theirs - ours).square().sum()
    return float(1 - rest / (theirs - theirs.mean(0)).square().sum())


def likelihood_loss(clean: Tensor, denoised: Tensor, sigmas: Sequence[float]) -> float:
    r"""Minus the log-density of clean images (m, ...) with noise of the first level added, in nats a pixel.

    .. math:: h(\sigma_1) = \tfrac12 \log 2 \pi e (s^2 + \sigma_K^2) -
        \int_{\sigma_1}^{\sigma_K} \big(1 - \mathrm{E} |D(y, \sigma) - x|^2 / d \sigma^2\big)\, d\log\sigma

    with the pixels' mean variance s^2, from what a model makes of them at rising noise levels (K, m, ...): exact for
    the denoised mean, more for all others. Guo, Shamai, Verdu, *Mutual information and minimum mean-square error in Gaussian
    channels*, IEEE Transactions on Information Theory 2005; Kong, Brekelmans, Ver Steeg, *Information-theoretic diffusion*,
    ICLR 2023.
    """
    levels = torch.tensor(sigmas, dtype=torch.float64)
    errors = (denoised - clean).double().square().flatten(1).mean(1)
    top = 0.5 * (2 * torch.pi * torch.e * (clean.double().var(0).mean() + levels[-1] ** 2)).log()
    return float(top - torch.trapezoid(1 - errors / levels.square(), levels.log()))


def _entropies(shares: Tensor) -> Tensor:
    """Entropies (m,) in nats of shares (m, classes)."""
    return torch.special.entr(shares).sum(-1)


def _root(matrix: Tensor) -> Tensor:
    values, directions = torch.linalg.eigh(matrix)
    return directions * values.clamp_min(0).sqrt() @ directions.T
