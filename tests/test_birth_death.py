"""Birth and death of particles against what it should leave alone and what it should move."""

from __future__ import annotations

import torch
from torch import Tensor

from disco_samplers.samplers.steps import birth_death


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def two_modes(left: int, right: int) -> Tensor:
    shift = torch.tensor([[-4.0, 0.0]]).repeat(left + right, 1)
    shift[left:, 0] = 4.0
    return shift + torch.randn(left + right, 2, generator=seeded())


def test_equal_weights_keep_every_particle() -> None:
    """Also where an estimate's noise makes the ratios differ: what no neighbourhood shares counts as noise."""
    x = two_modes(200, 200)
    assert birth_death.survivors(x, torch.full((400,), 3.0), generator=seeded()).tolist() == list(range(400))
    noisy = 0.5 * torch.randn(400, generator=seeded(1))
    kept = birth_death.survivors(x, noisy, generator=seeded())
    assert len(kept.unique()) > 390


def test_mass_moves_between_modes() -> None:
    """Repeated steps turn 300 : 100 into what the target asks for, 1 : 3, though the ratio carries noise of 0.3."""
    x, generator = two_modes(300, 100), seeded(2)
    for _ in range(60):
        right = x[:, 0] > 0
        share = torch.where(right, right.float().mean(), 1 - right.float().mean())
        ratio = torch.where(right, 0.75, 0.25).log() - share.log() + 0.3 * torch.randn(400, generator=generator)
        x = x[birth_death.survivors(x, ratio, generator=generator)]
        # Twins part, as a sampler's next step makes them do.
        x = x + 0.05 * torch.randn(x.shape, generator=generator)
    assert 0.65 < float((x[:, 0] > 0).float().mean()) < 0.85


def test_moves_with_the_particles() -> None:
    """An affine map of the cloud changes nothing, nor does the ratio's constant."""
    x = two_modes(150, 150).double()
    ratio = torch.where(x[:, 0] > 0, 1.0, 0.0).double() + 0.1 * torch.randn(300, generator=seeded(3))
    kept = birth_death.survivors(x, ratio, generator=seeded())
    mapped = x @ torch.tensor([[2.0, 1.0], [0.0, 30.0]], dtype=torch.float64) - 5
    assert torch.equal(birth_death.survivors(mapped, ratio + 100, generator=seeded()), kept)
    assert (kept.diff() >= 0).all()
