"""Contexts whose keys and values lie in several processes: the answers of one process, in each of them."""

from __future__ import annotations

import pytest
import torch
from torch import distributed as dist
from torch import multiprocessing

from disco_samplers import DiScoFormer
from disco_samplers.estimators import JohnsonTransform
from disco_samplers.model import DiScoFormerConfig

CASES = [
    # rows, keys, whether rows have weights
    (300, 64, False),
    (300, 64, True),
    (40, 2048, False),
    (33, 16, False),
]


def model():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return DiScoFormer(DiScoFormerConfig(layers=3, width=16, heads=2))


def data(n, weighted):
    generator = torch.Generator().manual_seed(n)
    x, y = torch.randn(n, 3, generator=generator), torch.randn(50, 3, generator=generator)
    return x, y, {"weights": torch.rand(n, generator=generator)} if weighted else {}


def answers(group, double):
    """Log-densities and scores in every case, with more processes than groups of rows in the last but one."""
    disco, found = model().double() if double else model(), []
    for n, keys, weighted in CASES:
        x, y, options = data(n, weighted)
        estimate = disco.condition(x, keys=keys, group=group, **options)
        found += [*estimate.log_prob_and_score(y.double() if double else y)]
        skewed = disco.condition(x.exp(), keys=keys, group=group, transform=JohnsonTransform.fit(x.exp().double()), **options)
        found.append(skewed.log_prob(y.exp()))
    return found


def faults(group, rank):
    """What is said where processes do not do the same, or ask for what there is not."""
    x, y, _ = data(300, False)
    disco, said = model(), []

    def fails(kind, call):
        try:
            call()
        except kind as error:
            said.append(str(error))

    fails(ValueError, lambda: disco.condition(x + rank, keys=64, group=group))
    estimate = disco.condition(x, keys=64, group=group)
    held = estimate.estimator.core._encoding.blocks[0].keys.shape[2]
    fails(ValueError, lambda: estimate.log_prob(y[: 10 + rank]))
    fails(ValueError, lambda: estimate.log_prob(y.clone().requires_grad_()))
    fails(ValueError, lambda: disco.condition(x.exp(), group=group, support=["positive"] * 3))
    fails(TypeError, estimate.estimator.core.__getstate__)
    return said, held


def work(rank, size, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=size)
    group = dist.group.WORLD
    found = {"single": answers(group, False), "double": answers(group, True), "faults": faults(group, rank)}
    torch.save(found, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def check(size, folder):
    multiprocessing.spawn(work, args=(size, str(folder)), nprocs=size)
    alone = {"single": answers(None, False), "double": answers(None, True)}
    for rank in range(size):
        found = torch.load(folder / f"{rank}.pt")
        for precision, bound in (("single", 1e-5), ("double", 1e-10)):
            for ours, theirs in zip(found[precision], alone[precision], strict=True):
                torch.testing.assert_close(ours, theirs, atol=bound, rtol=bound)
        said, held = found["faults"]
        assert said == [
            "samples must be the same in all processes of the group",
            "points must be the same in all processes of the group",
            "gradients do not pass through a context in several processes: score() is the gradient, and needs none",
            "group goes with columns as they are, or with a transform: not with a support",
            "an estimate whose keys lie in several processes can be neither copied nor pickled",
        ]
        assert held in {60 * k for k in ((2, 3) if size == 2 else (1, 2))}


def test_two_processes(tmp_path):
    check(2, tmp_path)


@pytest.mark.slow
def test_four_processes(tmp_path):
    """One of them has no group of rows in the smallest case of several."""
    check(4, tmp_path)
