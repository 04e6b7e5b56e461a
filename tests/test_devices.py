"""Which device things are on: every entry point on a GPU that is none, and the same with ``-m gpu`` on one that is.

Numpy data go to the model; tensors and generators must be there already; and no default device matters.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch
from entry_points import ENTRIES, Here, X, tagged
from pretend_cuda import pretend_cuda

from disco_samplers.arrays import device_of, placed

CPU, ELSEWHERE = torch.device("cpu"), torch.device("meta")


def run(name: str, device: str, **options: Any) -> Any:
    """An entry's answer, from the same random numbers every time."""
    torch.manual_seed(0)
    with TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*were still spreading.*", RuntimeWarning)
        return ENTRIES[name][1](Here(device, Path(folder), **options))


def leaves(answer: Any) -> Iterator[Any]:
    if isinstance(answer, (list, tuple, dict)):
        for part in answer.values() if isinstance(answer, dict) else answer:
            yield from leaves(part)
    elif answer is not None:
        yield answer


def numbers(answer: Any) -> list[np.ndarray]:
    return [np.asarray(leaf.detach().cpu() if isinstance(leaf, torch.Tensor) else leaf) for leaf in leaves(answer)]


@cache
def on_the_cpu(name: str) -> list[np.ndarray]:
    return numbers(run(name, "cpu"))


def check(answer: Any, name: str, tolerance: float = 1e-4) -> None:
    """The numbers are those of the CPU, within a tolerance relative to their size."""
    for ours, right in zip(numbers(answer), on_the_cpu(name), strict=True):
        assert ours.shape == right.shape
        assert np.linalg.norm(ours - right) <= tolerance * max(float(np.linalg.norm(right)), 1e-3)


def check_on_cuda(answer: Any) -> None:
    assert all(leaf.device.type == "cuda" for leaf in leaves(answer) if isinstance(leaf, torch.Tensor))


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if "long" in tags else ()) for name, (tags, _) in ENTRIES.items()]
)
def test_all_on_the_device(name):
    on_the_cpu(name)
    with pretend_cuda():
        answer = run(name, "cuda:0")
        check_on_cuda(answer)
        check(answer, name)


@pytest.mark.parametrize("name", tagged("data", short=True))
def test_numpy_data_go_where_the_model_is(name):
    on_the_cpu(name)
    with pretend_cuda():
        check(run(name, "cuda:0", data="numpy"), name)


@pytest.mark.parametrize("name", tagged("draws", short=True))
def test_draws_of_numpy_data_go_where_the_model_is(name):
    on_the_cpu(name)
    with pretend_cuda():
        check(run(name, "cuda:0", data="Draws"), name)


@pytest.mark.parametrize("name", tagged("data", short=True))
def test_a_tensor_on_another_device_than_the_model_is_named(name):
    with pretend_cuda(), pytest.raises(ValueError, match=r"^\S+ is on cpu, the estimate on cuda:0: move one with"):
        run(name, "cuda:0", data="cpu")


@pytest.mark.parametrize("name", tagged("generator"))
def test_a_generator_of_another_device_is_named(name):
    with pretend_cuda(), pytest.raises(ValueError, match=r"^generator is on cpu, what it draws is to be on cuda:0: make it by"):
        run(name, "cuda:0", generators="cpu")


@pytest.mark.parametrize("name", tagged("generator", short=True))
def test_the_device_may_be_the_default(name):
    on_the_cpu(name)
    with pretend_cuda():
        torch.set_default_device("cuda:0")
        try:
            check(run(name, "cuda:0"), name)
        finally:
            torch.set_default_device(None)


@pytest.mark.parametrize("name", tagged(short=True))
def test_the_default_device_does_not_matter(name):
    """With arrays of the CPU nothing may come to lie elsewhere, least of all where nothing can be computed."""
    on_the_cpu(name)
    torch.set_default_device(ELSEWHERE)
    try:
        check(run(name, "cpu"), name)
    finally:
        torch.set_default_device(None)


def test_whose_device_counts():
    assert device_of(None, X, check, torch.zeros(1, device=ELSEWHERE), torch.zeros(1)) == ELSEWHERE
    assert device_of(None, X) is None
    assert placed(torch.zeros(1), "x", None, free=False).device == CPU
    assert placed(torch.zeros(1), "x", ELSEWHERE, free=True).device == ELSEWHERE


def test_the_pretence():
    with pretend_cuda():
        x = torch.zeros(3, device="cuda")
        assert (x + 1).sum(0, keepdim=True)[0].device == torch.device("cuda:0")
        assert x.cpu().device == CPU
        for mixed in (
            lambda: x + torch.zeros(3),
            lambda: torch.zeros(3)[x.long()],
            lambda: torch.stack([x[0], torch.zeros(())]),
        ):
            with pytest.raises(RuntimeError, match="same device"):
                mixed()
        with pytest.raises(TypeError, match=r"Use Tensor.cpu"):
            x.numpy()
        with pytest.raises(RuntimeError, match="Expected a cuda:0 generator"):
            torch.rand(3, generator=torch.Generator(), device="cuda")
    assert torch.Generator().device == CPU


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", ENTRIES)
def test_on_a_real_device(name):
    """In float32 sums come in another order; what is random is only looked at for its place, shape and finiteness."""
    answer = run(name, "cuda:0")
    check_on_cuda(answer)
    if "random" not in ENTRIES[name][0]:
        check(answer, name, 2e-3)
        return
    assert [part.shape for part in numbers(answer)] == [part.shape for part in on_the_cpu(name)]
    assert all(np.isfinite(part.astype(float)).all() for part in numbers(answer))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", tagged("generator"))
def test_a_generator_of_another_device_is_named_on_a_real_device(name):
    with pytest.raises(ValueError, match=r"^generator is on cpu, what it draws is to be on cuda"):
        run(name, "cuda:0", generators="cpu")
