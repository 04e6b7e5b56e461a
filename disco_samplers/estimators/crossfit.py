"""Cross-fitting: every row is judged by an estimate that did not see it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor
from tqdm import tqdm

from disco_samplers.arrays import check_count
from disco_samplers.randomness import generator_on

T = TypeVar("T")


def crossfit(
    samples: Tensor,
    fit: Callable[..., T],
    evaluate: Callable[[T, Tensor], Tensor],
    *,
    folds: int = 5,
    seed: int | None = None,
    generator: torch.Generator | None = None,
    keep: Tensor | None = None,
    queries: Tensor | None = None,
    counts: Tensor | None = None,
    blocks: Tensor | None = None,
    progress: bool = False,
) -> Tensor:
    r"""Evaluates each row by the estimate fitted to the other folds' rows.

    .. math:: v_i = E(\hat f_{-k(i)}, x_i), \qquad k(i) \text{ the random fold of row } i

    An estimate is too dense at the rows it was made from; a mean over rows, such as an entropy, then comes out too low, and an
    outlier vouches for itself. So does a row of a chain whose neighbours the estimate saw: they are held out together.

    Arguments:
        samples: (n, d).
        fit: makes an estimate of rows (m, d), and of their counts (m,) where there are some.
        evaluate: gives (m, ...) for an estimate and rows (m, d).
        folds: number of folds, at most n.
        seed: deals the rows into folds, alike on all devices; give this or ``generator``.
        generator: source of randomness, of any device.
        keep: (n,), False for rows that no estimate is to see; they are evaluated all the same.
        queries: (n, d), where each row is evaluated; the samples themselves if not given.
        counts: (n,), how many independent draws each row is worth.
        blocks: (n,), numbers of the blocks that are dealt as a whole.
        progress: whether to show a bar of the folds.

    Returns:
        (n, ...), in the order of the rows.

    Raises:
        ValueError: if there are fewer than three rows, or ``folds`` is below two.

    Example:
        >>> x = torch.tensor([[1.0], [2.0], [3.0]])
        >>> crossfit(x, lambda rows: rows.mean(), lambda mean, rows: mean - rows[:, 0], folds=3)
        tensor([ 1.5000,  0.0000, -1.5000])
    """
    check_count("folds", folds, 2)
    n = len(samples)
    if n < 3:
        raise ValueError(f"samples must have at least 3 rows to be judged by one another, got {n}")
    queries = samples if queries is None else queries
    keep = torch.ones(n, dtype=torch.bool, device=samples.device) if keep is None else keep
    generator = generator_on("cpu" if generator is None else generator.device, seed=seed, generator=generator)
    order = shuffled(n, generator, blocks, samples.device)
    parts = []
    for fold in tqdm(order.tensor_split(min(folds, n)), desc="folds", disable=not progress):
        seen = keep.clone()
        seen[fold] = False
        fitted = fit(samples[seen]) if counts is None else fit(samples[seen], counts[seen])
        parts.append(evaluate(fitted, queries[fold]))
    values = torch.cat(parts)
    return torch.empty_like(values).index_copy_(0, order, values)


def shuffled(n: int, generator: torch.Generator | None, blocks: Tensor | None, device: torch.device) -> Tensor:
    """Numbers of n rows in a random order, in which those of a block stay one after another.

    Example:
        >>> shuffled(4, torch.Generator().manual_seed(0), torch.tensor([0, 0, 1, 1]), torch.device("cpu"))
        tensor([0, 1, 2, 3])
    """
    where = device if generator is None else generator.device
    if blocks is None:
        return torch.randperm(n, generator=generator, device=where).to(device)
    place = torch.randperm(int(blocks.max()) + 1, generator=generator, device=where)
    return place[blocks.to(where)].argsort(stable=True).to(device)
