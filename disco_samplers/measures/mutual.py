"""Mutual information, given other columns or not, and transfer entropy between series."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import torch
from torch import Tensor

from disco_samplers.arrays import check_count, device_of
from disco_samplers.convergence import diagnostic
from disco_samplers.draws import Draws
from disco_samplers.measures.dependence import Dependence, dependence
from disco_samplers.measures.fits import check_options, fit_of
from disco_samplers.measures.quantity import Information, as_pairs, as_rows, check_varies, known_rows, row_mean
from disco_samplers.measures.ties import counted_information, entropy_of_codes, normal_scores, spread, steps_of, tied_scores
from disco_samplers.randomness import seed_of
from disco_samplers.types import ArrayLike


def mutual_information(
    x: ArrayLike | Draws,
    y: ArrayLike | Draws,
    *,
    seed: int | None = None,
    generator: torch.Generator | None = None,
    **options: Any,
) -> Information:
    r"""Mutual information of two sets of columns.

    .. math:: I(X; Y) = \operatorname{E} \log \frac{f_{XY}(x, y)}{f_X(x)\, f_Y(y)}

    of the columns' normal scores, which leave it as it is. What a normal law of the same correlations has, or a Student-t one
    where that tells more, is known in closed form. What is left is found in two ways, in up to twenty columns, or in the most
    correlated directions of more: by estimates, with the rows of one side shuffled as a control, and, where rows are
    independent and no two are the same, by nearest neighbours, of all columns and of those that depend most, with draws of the
    law as a control. The way that surely finds most is taken, as far as what it finds is larger than its error:
    :func:`~disco_samplers.measures.dependence.dependence` has the formula. The contributions are the rows' pointwise mutual
    information. Dependence that is not linear and is spread over many columns is found in part only; how far the two ways are
    from the value is in the standard error, what both miss is not.

    Arguments:
        x: (n, d_x), or (n,); independent, or :class:`~disco_samplers.Draws`.
        y: (n, d_y), or (n,), row by row with x: columns of the same draws, so that one of the two tells weights and chains.
        seed: as for :func:`.entropy`.
        generator: as for :func:`.entropy`.
        options: ``model`` and ``calibrate``, as for :func:`.entropy`.

    Raises:
        TypeError, ValueError: as :func:`.entropy`, or if the rows differ in number, a side does not vary, or there are fewer
            draws than columns; if ``marginals`` or ``folds`` is given, which are not heeded here.

    References:
        Cover, Thomas, *Elements of information theory*, eq. 8.47; Kraskov, Stogbauer, Grassberger, *Estimating mutual
        information*, Phys. Rev. E 2004, for nearest neighbours; of codes Miller, *Note on the bias of information estimates*,
        1955.

    Example:
        >>> import math
        >>> g = torch.Generator().manual_seed(0)
        >>> x, noise = torch.randn(2, 400, generator=g)
        >>> abs(float(mutual_information(x, x + noise)) - 0.5 * math.log(2)) < 0.15
        True
    """
    seed = seed_of(seed=seed, generator=generator)
    of_x, of_y, known = as_pairs(x, y, _checked(options, x, y))
    found, counts = _found(of_x, of_y, None, known, options, seed)
    return row_mean("mutual information", found.rows, counts=counts, variance=found.variance)


def conditional_mutual_information(
    x: ArrayLike | Draws,
    y: ArrayLike | Draws,
    z: ArrayLike | Draws,
    *,
    seed: int | None = None,
    generator: torch.Generator | None = None,
    **options: Any,
) -> Information:
    r"""Mutual information of two sets of columns given a third: what y tells of x beside what z tells of it.

    .. math:: I(X; Y \mid Z) = I(X; (Y, Z)) - I(X; Z)

    by :func:`mutual_information` of the same normal scores; the contributions are the rows' differences.

    Arguments:
        x: (n, d_x), or (n,); independent, or :class:`~disco_samplers.Draws`.
        y: (n, d_y), or (n,), row by row with x.
        z: (n, d_z), or (n,), row by row with x.
        seed: as for :func:`.entropy`.
        generator: as for :func:`.entropy`.
        options: as for :func:`mutual_information`.

    Raises:
        TypeError, ValueError: as :func:`mutual_information`.

    References:
        Cover, Thomas, *Elements of information theory*, section 2.5.

    Example:
        >>> import math
        >>> g = torch.Generator().manual_seed(0)
        >>> z, a, b = torch.randn(3, 400, generator=g)
        >>> abs(float(conditional_mutual_information(z + a, z + b, z))) < 0.1  # nothing, given z
        True
    """
    seed = seed_of(seed=seed, generator=generator)
    device = _checked(options, x, y, z)
    of_x, of_y, known = as_pairs(x, y, device)
    _, of_z, same = as_pairs(x if known is None else known.replaced(of_x), z, device, ("x", "z"))
    known = known or same
    found, counts = _found(of_x, of_y, of_z, known, options, seed)
    return row_mean("conditional mutual information", found.rows, counts=counts, variance=found.variance)


def transfer_entropy(
    source: ArrayLike,
    target: ArrayLike,
    *,
    lags: int = 1,
    seed: int | None = None,
    generator: torch.Generator | None = None,
    **options: Any,
) -> Information:
    r"""Transfer entropy from one series to another: what the source's past tells of the target beside the target's own past.

    .. math:: T_{X \to Y} = I(Y_t; (X_{t-1}, \dots, X_{t-k}) \mid Y_{t-1}, \dots, Y_{t-k})

    The standard error is that of the mean of a series, by the autocorrelation of the contributions.

    Arguments:
        source: (n, p), or (n,), in the order of time, at equal steps.
        target: (n, q), or (n,), at the same times.
        lags: k, steps of the past.
        seed: as for :func:`.entropy`.
        generator: as for :func:`.entropy`.
        options: as for :func:`mutual_information`.

    Raises:
        TypeError, ValueError: as :func:`mutual_information`, or if there are fewer times than values that are compared.

    References:
        Schreiber, *Measuring information transfer*, Phys. Rev. Lett. 2000.

    Example:
        >>> x, noise = torch.randn(2, 400, generator=torch.Generator().manual_seed(0))
        >>> y = x.roll(1) + 0.5 * noise  # x a step before
        >>> bool(float(transfer_entropy(x, y)) > 0.6), bool(abs(float(transfer_entropy(y, x))) < 0.1)
        (True, True)
    """
    check_count("lags", lags, 1)
    both: list[tuple[str, Any]] = [("source", source), ("target", target)]
    for name, series in both:
        if isinstance(series, Draws):
            raise TypeError(f"{name} must be an array of rows in the order of time, got Draws, whose rows have none")
    device = _checked(options, source, target)
    of_source, of_target = (as_rows(part, name, device=device) for part, name in ((source, "source"), (target, "target")))
    if len(of_source) != len(of_target):
        raise ValueError(f"source and target must be of the same times, got {len(of_source)} and {len(of_target)}")
    for name, values in (("source", of_source), ("target", of_target)):
        check_varies(values, name)
    p, q = of_source.shape[1], of_target.shape[1]
    if len(of_source) <= (least := lags + lags * (p + q) + q + 1):
        raise ValueError(f"source and target must have more than {least} times for lags={lags}, got {len(of_source)}")
    of_past = [torch.cat([part[lags - k : len(part) - k] for k in range(1, lags + 1)], 1) for part in (of_source, of_target)]
    found = conditional_mutual_information(of_target[lags:], *of_past, seed=seed, generator=generator, **options)
    rows = found.contributions
    own = float(rows.std(ddof=1)) / math.sqrt(len(rows))
    along = float(diagnostic("mcse", rows[None, :, None])[0])
    error = math.sqrt(max(found.standard_error**2 - own**2, 0.0) + (own if math.isnan(along) else max(along, own)) ** 2)
    return dataclasses.replace(found, name="transfer entropy", standard_error=error)


def _checked(options: dict[str, Any], *samples: Any) -> torch.device | None:
    """The device of samples and a model, if options are such as are heeded here."""
    check_options(options, crossfitted=False)
    if "marginals" in options:
        raise ValueError("marginals= is ignored here: mutual information is that of normal scores, whatever the marginals")
    return device_of(options.get("model"), *samples)


def _found(
    x: Tensor, y: Tensor, z: Tensor | None, known: Draws | None, options: dict[str, Any], seed: int
) -> tuple[Dependence, Tensor | None]:
    """What each row tells, and how many draws it is worth: by counting where all columns are codes, else by normal scores."""
    values = torch.cat([x, y] if z is None else [x, y, z], 1)
    if (counted := _counted(x, y, z, values, known, seed)) is not None:
        return counted
    weights = None if known is None else known.weights
    chains = known is not None and known.num_chains is not None
    rows = known_rows(normal_scores(values, seed, weights, copies=chains), known, "x and y")
    fit = fit_of(options | {"marginals": "linear"}, rows, seed, crossfitted=False)
    p, q, width = x.shape[1], x.shape[1] + y.shape[1], values.shape[1]

    def found(first: int, last: int) -> Dependence:
        generator = torch.Generator().manual_seed(seed)
        # Of a chain neighbours are no independent draws, and of rows that are the same one stands for all.
        alone = not chains and len(rows.values) == len(values)
        tied = tied_scores(torch.cat([x, values[:, first:last]], 1), weights) if alone else None
        sides = None if tied is None else (tied[:, :p], tied[:, p:])
        return dependence(rows.columns(0, p), rows.columns(first, last), fit.read, generator, sides)

    whole = found(p, width)
    told = whole if z is None else _less(whole, found(q, width))
    # No more than a discrete side can tell.
    share = values.new_full((len(values),), 1 / len(values)) if weights is None else (weights / weights.sum()).to(values)
    most = min(entropy_of_codes(side, share) for side in (x, y))
    mean = row_mean("mutual information", told.rows, counts=rows.counts).value
    return told._replace(rows=told.rows - max(0.0, mean - most)), rows.counts


def _less(whole: Dependence, part: Dependence) -> Dependence:
    return Dependence(whole.rows - part.rows, whole.variance + part.variance)


def _counted(
    x: Tensor, y: Tensor, z: Tensor | None, values: Tensor, known: Draws | None, seed: int
) -> tuple[Dependence, Tensor | None] | None:
    """By counting, where all columns are codes and there are draws enough for each combination; None elsewhere."""
    steps = steps_of(values)
    if not (steps > 0).all():
        return None
    counts, share = None, values.new_full((len(x),), 1 / len(x))
    worth = float(len(x))
    if known is not None:
        apart = known_rows(spread(values, steps, seed), known, "x and y").counts
        worth = worth if apart is None else float(apart.sum())
        share = share if known.weights is None else known.weights.to(share)
        counts = share * worth
    found = counted_information(x, y if z is None else torch.cat([y, z], 1), share, worth)
    part = None if z is None else counted_information(x, z, share, worth)
    if found is None or (z is not None and part is None):
        return None
    return Dependence(*found) if part is None else _less(Dependence(*found), Dependence(*part)), counts
