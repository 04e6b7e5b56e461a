"""Images restored by a mixture of normal laws of their patches, after Zoran and Weiss."""

from __future__ import annotations

import torch
from sklearn.mixture import GaussianMixture
from torch import Tensor

SIZE, COMPONENTS, ROWS = 7, 40, 20000
NOISE = (0.8, 0.5, 0.35, 0.25, 0.18, 0.12, 0.08, 0.05)
"""Of the patches, in turn: half the range of pixels is one."""


class PatchMixture:
    """The mixture of patches from anywhere in the images read (n, C, H, W); the largest of 7 x 7 that are there."""

    def __init__(self, images: Tensor) -> None:
        self.shape = images.shape[1:]
        self.size = min(SIZE, self.shape[1] - 2)
        patches = self._patches(images).flatten(0, 1)
        chosen = torch.randperm(len(patches), generator=torch.Generator().manual_seed(0))[:ROWS]
        self.fitted = GaussianMixture(COMPONENTS, reg_covar=1e-3, max_iter=40, random_state=0).fit(patches[chosen].numpy())

    def restore(self, start: Tensor, matrix: Tensor, values: Tensor, noise: float) -> list[Tensor]:
        r"""Images (m, D) of highest likelihood, v = A x + noise, by half-quadratic splitting from a start (m, D): at each step.

        In turn, patches become the mean of their likeliest component given that they are known up to a noise that falls, and
        the images what agrees best with these and with v.

        References:
            Zoran, Weiss, *From learning models of natural image patches to whole image restoration*, ICCV 2011, sections 3, 4.
        """
        found = []
        x, matrix, values = start.double(), matrix.double(), values.double()
        covered = self._together(self._patches(torch.ones(1, *self.shape).double()))[0]
        # A patch speaks for each of its pixels: the measurement counts as often as they overlap.
        own, there = self.size**2 * matrix.T @ matrix / noise**2, self.size**2 * values @ matrix / noise**2
        for level in NOISE:
            patches = self._patches(x.view(-1, *self.shape))
            answer = self._posterior(patches.flatten(0, 1), level).view_as(patches)
            x = torch.linalg.solve(own + torch.diag(covered) / level**2, (there + self._together(answer) / level**2).T).T
            found.append(x.float())
        return found

    def _posterior(self, y: Tensor, level: float) -> Tensor:
        """The mean of the likeliest component, given patches (m, d) with noise."""
        eye = torch.eye(y.shape[1]).double()
        centers = torch.from_numpy(self.fitted.means_).double()
        covariances = torch.from_numpy(self.fitted.covariances_).double()
        scores = torch.stack(
            [
                weight.log() + torch.distributions.MultivariateNormal(center, covariance + level**2 * eye).log_prob(y)
                for weight, center, covariance in zip(torch.from_numpy(self.fitted.weights_), centers, covariances, strict=True)
            ]
        )
        best, answer = scores.argmax(0), torch.empty_like(y)
        for k in best.unique().tolist():
            rows = best == k
            gain = torch.linalg.solve(covariances[k] + level**2 * eye, covariances[k])
            answer[rows] = centers[k] + (y[rows] - centers[k]) @ gain
        return answer

    def _patches(self, images: Tensor) -> Tensor:
        """Patches at every place (m, places, d)."""
        found = torch.nn.functional.unfold(images, self.size)
        return found.transpose(1, 2)

    def _together(self, patches: Tensor) -> Tensor:
        """Their sums in each pixel (m, D)."""
        return torch.nn.functional.fold(patches.transpose(1, 2), self.shape[1:], self.size).flatten(1)
