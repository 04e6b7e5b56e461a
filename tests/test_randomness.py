"""The one rule for randomness."""

import pytest
import torch

from disco_samplers.randomness import generator_on


def test_a_seed_or_a_generator_or_neither():
    given = torch.Generator()
    assert generator_on("cpu", generator=given) is given
    assert generator_on("cpu") is None
    draws = [torch.randn(3, generator=generator_on("cpu", seed=7)) for _ in range(2)]
    assert torch.equal(*draws)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": 1, "generator": torch.Generator()}, "give seed or generator, not both"),
        ({"seed": -1}, "seed must lie in"),
        ({"seed": 2**63}, "seed must lie in"),
    ],
)
def test_what_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        generator_on("cpu", **options)


def test_a_generator_elsewhere_is_refused():
    with pytest.raises(ValueError, match=r"generator is on cpu, what it draws is to be on cuda:1: make it by"):
        generator_on("cuda:1", generator=torch.Generator())
