"""On-the-fly adaptation: how the samples are read, then a few gradient steps of a copy of the heads."""

from __future__ import annotations

import copy
import dataclasses
import math
import time
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from disco_samplers._arithmetic import full_precision
from disco_samplers._arrays import check_count
from disco_samplers.coordinates import TailCoordinates, heavy_tails
from disco_samplers.crossfit import crossfit
from disco_samplers.estimate import DensityEstimate
from disco_samplers.independent import IndependentEstimate, may_be_independent
from disco_samplers.mixture import fit_mixture
from disco_samplers.model.discoformer import DiScoFormer
from disco_samplers.normalizer import MAX_DIM
from disco_samplers.parts import PartsEstimate, WhitenedPartsEstimate

_QUERIES = 256
"""Context rows in one step; the second derivative holds a (queries, n) matrix for each head of one block."""

_HELD_OUT = 0.2
"""Share of the rows kept out of the context to judge the steps by."""

_STRENGTHS = (0.1, 0.3, 1.0)
"""Of the tail coordinates tried, upwards while they get better; where tails are heavy the first two of them at least."""

_INTEGRAL = 2000
"""Draws for the integral of the density in coordinates that are tried."""

_HEAVY = 4.0
"""Standard errors of the fourth moment above a normal law's from which on tails are heavy."""

_CLEAR = 0.5
"""Standard errors by which rows must be likelier for columns in which no dependence is seen to be taken as independent."""

_VARIED = 0.25
"""Share of the rows off a column's commonest value; fewer might all lie in one fold, and the others have no variance."""

_APART = 1.5
"""Standard errors by which density or score must get better for rows to be taken in parts."""

_CLEARLY = 2.0
"""Standard errors of the paired differences by which a step must beat the start.

On other seeds of the benchmark's shapes the steps that one standard error lets in change the error by -5 to +13 %.
"""

_PROBES = 4
"""Of a divergence, for each row."""

PLAIN = ("plain", 0.0)
INDEPENDENT, PARTS, WHITENED_PARTS = ("independent", 0.0), ("parts", 0.0), ("whitened parts", 0.0)
_MADE = {INDEPENDENT: IndependentEstimate, PARTS: PartsEstimate, WHITENED_PARTS: WhitenedPartsEstimate}

_FEWEST, _MOST = 50, 2048
"""Rows to tell coordinates by: with fewer none are tried, of more a random part is taken."""


@dataclasses.dataclass(frozen=True)
class AdaptationReport:
    """What an adaptation did.

    Arguments:
        losses: consistency loss before each step.
        criterion: held-out, label-free criterion before the first and after each step; lower is better.
        chosen: number of steps of the returned estimate; 0 where none was clearly better than the start.
        seconds: wall time.
        tried: minus the cross-fitted, normalised log-density, in nats, in the coordinates tried, by (kind, strength);
            "plain" is as the samples came, "independent" takes the columns one by one, "parts" and "whitened parts" the
            rows of each component of a mixture.
        coordinates: the chosen ones.
    """

    losses: list[float]
    criterion: list[float]
    chosen: int
    seconds: float
    tried: dict[tuple[str, float], float] = dataclasses.field(default_factory=dict)
    coordinates: tuple[str, float] = PLAIN

    def plot(self, path: str | None = None) -> Any:
        """Draws both curves and the chosen step. Needs matplotlib."""
        from disco_samplers.plotting import plot_adaptation

        return plot_adaptation(self, path)


@torch.inference_mode(False)
@torch.enable_grad()
def adapt(
    estimate: DensityEstimate,
    steps: int = 8,
    *,
    learning_rate: float = 1e-4,
    seed: int = 0,
    max_seconds: float | None = None,
    progress: bool = False,
) -> DensityEstimate:
    r"""Adapts an estimate to its own samples, without labels; the shared model is untouched.

    Everything is judged on rows that the context does not hold, cross-fitted over five folds. (How the
    samples are read is chosen in up to 20 dimensions, where the density can be brought to integrate to one, from 50 rows on,
    if no column has the same value in more than three quarters of them.)

    Columns in which no dependence is seen (:func:`may_be_independent <disco_samplers.independent.may_be_independent>`) are
    taken as independent (:class:`IndependentEstimate <disco_samplers.independent.IndependentEstimate>`) if the normalised
    log-density of the rows is then higher by half a standard error of the paired differences.

    Else, where a mixture of more than one component fits best, rows are taken in parts (:class:`PartsEstimate
    <disco_samplers.parts.PartsEstimate>`, :class:`WhitenedPartsEstimate <disco_samplers.parts.WhitenedPartsEstimate>`); and
    the samples as a whole are read in :class:`TailCoordinates <disco_samplers.coordinates.TailCoordinates>`, by radius and by
    column, of rising strength. Of all these, by which neither the log-density of the rows, normalised, nor the criterion

    .. math:: \big(\tfrac12 |S|^2 + \nabla \cdot S\big) / d,

    which differs from the squared error of the score S by a constant, gets worse on the mean, that of the highest log-density
    is kept. One of the two must also get better by a standard error, or one and a half for parts, but for tail coordinates
    where the samples' fourth moments themselves tell of heavy tails (:func:`heavy_tails
    <disco_samplers.coordinates.heavy_tails>`). Those of full strength, and whitened parts, must be likelier than all others
    by a standard error.

    Then gradient steps are made on a copy of the model's heads to lower the consistency loss between S and the gradient of the
    density head T at context points,

    .. math:: L = \frac{\sum_i |S(x_i) - \nabla T(x_i)|^2}{\sum_i |S(x_i)|^2},

    with a fifth of the rows kept out of the context, since any wrong pair that agrees is consistent. The step at which the
    criterion is lowest there is kept if it beats the start by two standard errors. (Here the log-density is no judge: it need
    not integrate to one.)

    Arguments:
        estimate: of one data set.
        steps: most gradient steps; 0 changes nothing. Coordinates that an earlier adaptation chose are chosen anew.
        learning_rate: of Adam.
        seed: chooses folds, held-out rows, the rows of each step and the probes of the divergence.
        max_seconds: stops early when reached, keeping the best step so far.
        progress: whether to show a progress bar.

    Returns:
        A new estimate of the same samples, with ``report``, normalised if the given one was. An interrupt gives the best one
        found so far, at once.

    Raises:
        ValueError: if ``steps`` is negative, ``learning_rate`` is not positive, or the estimate is of a batch.
        KeyboardInterrupt: if interrupted before there is anything to keep.

    References:
        DiScoFormer, section on test-time training (https://arxiv.org/abs/2511.05924); Hyvarinen, *Estimation of
        non-normalized statistical models by score matching*, JMLR 2005, theorem 1, for the held-out criterion.

    Example:
        >>> from disco_samplers import DiScoFormer
        >>> x = torch.randn(100, 2, generator=torch.Generator().manual_seed(0))
        >>> adapted = DiScoFormer.from_pretrained().condition(x).adapt(steps=2)
        >>> len(adapted.report.losses)
        2
    """
    check_count("steps", steps, 0)
    if not (learning_rate > 0 and math.isfinite(learning_rate)):
        raise ValueError(f"learning_rate must be positive, got {learning_rate}")
    if estimate.samples.ndim == 3:
        raise ValueError("adapt works on one data set; condition on samples of shape (n, d)")
    started = time.monotonic()
    deadline = started + (math.inf if max_seconds is None else max_seconds)
    if not steps:
        same = copy.copy(estimate)
        same.report = AdaptationReport([], [], 0, time.monotonic() - started)
        return same
    model = copy.deepcopy(estimate.model)
    losses: list[float] = []
    criterion: list[float] = []
    chosen = 0
    with full_precision(estimate.device):
        tried, coordinates, interrupted = _coordinates(estimate, seed, deadline, progress)
        if not interrupted:
            copied = _in_coordinates(estimate, estimate.samples, coordinates, model)
            losses, criterion, chosen = _heads(copied, coordinates, steps, learning_rate, seed, deadline, progress)
    adapted = _in_coordinates(estimate, estimate.samples, coordinates, model)
    if coordinates != PLAIN or estimate.is_normalized:
        adapted = adapted.normalized(generator=torch.Generator(adapted.device).manual_seed(seed))
    adapted.report = AdaptationReport(losses, criterion, chosen, time.monotonic() - started, tried, coordinates)
    return adapted


def _heads(
    estimate: DensityEstimate,
    coordinates: tuple[str, float],
    steps: int,
    learning_rate: float,
    seed: int,
    deadline: float,
    progress: bool,
) -> tuple[list[float], list[float], int]:
    """Adapts the heads of the estimate's model, in place: losses, criterion and the step they are left at.

    An interrupt keeps what was found, and is passed on where that is nothing.
    """
    generator = torch.Generator().manual_seed(seed)
    model, x = estimate.model, estimate.samples
    order = torch.randperm(len(x), generator=generator, device=generator.device).to(x.device)
    held = min(max(2, round(_HELD_OUT * len(x))), len(x) - 2) if len(x) >= 4 else 0
    losses: list[float] = []
    criterion: list[float] = []
    if not held or len(torch.unique(x[order[held:]], dim=0)) < 2:
        return losses, criterion, 0
    parameters = [p.requires_grad_() for p in model.network.heads.parameters()]
    best, chosen = {name: value.clone() for name, value in model.state_dict().items()}, 0
    working = _in_coordinates(estimate, x[order[held:]], coordinates)
    probes = _probes(held, x.shape[1], generator).to(x.device)
    first = _criterion(working, x[order[:held]], probes)
    criterion.append(float(first.mean()))
    optimizer = torch.optim.Adam(parameters, learning_rate)
    try:
        for _ in tqdm(range(steps), disable=not progress, desc="adapting"):
            order = torch.randperm(working.num_samples, generator=generator, device=generator.device)
            rows = order[:_QUERIES].to(x.device)
            loss = _consistency(working, working.samples[rows])
            if not torch.isfinite(loss):
                break
            optimizer.zero_grad()
            loss.backward()
            with torch.device("cpu"):  # where Adam counts its steps: torch 2.9 would take the caller's default device
                optimizer.step()
            losses.append(float(loss.detach()))
            judged = _criterion(working, x[order[:held]], probes)
            criterion.append(float(judged.mean()))
            if criterion[-1] < criterion[chosen] and _improves(judged, first):
                best, chosen = {name: value.clone() for name, value in model.state_dict().items()}, len(losses)
            if time.monotonic() > deadline:
                break
    except KeyboardInterrupt:
        if not losses and coordinates == PLAIN:
            raise
    model.load_state_dict(best)
    model.requires_grad_(False)
    return losses, criterion, chosen


def _in_coordinates(
    estimate: DensityEstimate, rows: Tensor, kind: tuple[str, float], model: DiScoFormer | None = None
) -> DensityEstimate:
    """The estimate of these rows in coordinates fitted to them, by the estimate's model or a given one."""
    name, strength = kind
    made = _MADE.get(kind, DensityEstimate)
    coordinates = TailCoordinates.fit(rows, strength, radial=name == "radius") if strength else None
    return made(model or estimate.model, rows, None, estimate.keys, coordinates, numpy=estimate._numpy)


def _coordinates(
    estimate: DensityEstimate, seed: int, deadline: float, progress: bool
) -> tuple[dict[tuple[str, float], float], tuple[str, float], bool]:
    """Tries coordinates: minus the log-density in each, those to be kept, and whether an interrupt ended it.

    An interrupt is passed on where no coordinates were chosen: there is nothing to keep yet.
    """
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(estimate.num_samples, generator=generator, device=generator.device)
    x = estimate.samples[order[:_MOST].to(estimate.device)]
    tried: dict[tuple[str, float], float] = {}
    n, d = x.shape
    unfit = n < _FEWEST or d > MAX_DIM or estimate.whiten(x[None]).shape[-1] < d
    if time.monotonic() > deadline or unfit or int((x != x.mode(0).values).sum(0).min()) < _VARIED * n:
        return tried, PLAIN, False
    probes, chosen = _probes(n, d, generator).to(x), PLAIN

    def judge(kind: tuple[str, float]) -> Tensor:
        bar.update()
        offset = torch.Generator(x.device).manual_seed(seed)
        whole = _in_coordinates(estimate, x, kind).log_normalizer(num_samples=_INTEGRAL, generator=offset).value

        def evaluate(fitted: DensityEstimate, part: Tensor) -> Tensor:
            points = part[:, 0]
            return torch.stack([_criterion(fitted, points, part[:, 1:]), whole - fitted.log_prob(points).double()], 1)

        rows = crossfit(
            x,
            lambda rows: _in_coordinates(estimate, rows, kind),
            evaluate,
            generator=torch.Generator().manual_seed(seed),
            queries=torch.cat([x[:, None], probes], 1),
        )
        tried[kind] = float(rows[:, 1].mean())
        return rows

    def consider(kind: tuple[str, float], least: float, *, daring: bool = False) -> None:
        """Chooses coordinates if they are likelier than the chosen ones or, daring, than all by a standard error."""
        nonlocal chosen
        rows = judge(kind)
        gains = [float(_fall(rows, judged[rival])[1]) for rival in (judged if daring else [chosen])]
        if min(gains) > (1.0 if daring else 0.0) and _both(rows, judged[PLAIN], least):
            chosen = kind
        judged[kind] = rows

    try:
        with tqdm(disable=not progress, desc="coordinates") as bar:
            judged = {PLAIN: judge(PLAIN)}
            if d > 1 and may_be_independent(x) and float(_fall(judge(INDEPENDENT), judged[PLAIN])[1]) > _CLEAR:
                return tried, INDEPENDENT, False
            for kind in (PARTS, WHITENED_PARTS) if len(fit_mixture(x).weights) > 1 else ():
                if time.monotonic() > deadline:
                    return tried, chosen, False
                consider(kind, _APART, daring=kind == WHITENED_PARTS)
            for name in ("radius", "columns"):
                previous = tried[PLAIN]
                heavy = heavy_tails(x, radial=name == "radius") > _HEAVY
                for strength in _STRENGTHS:
                    if time.monotonic() > deadline:
                        return tried, chosen, False
                    full = strength == _STRENGTHS[-1]
                    consider((name, strength), 0.0 if heavy and not full else 1.0, daring=full)
                    if not (heavy and strength == _STRENGTHS[0]) and not tried[name, strength] < previous:
                        break
                    previous = tried[name, strength]
    except KeyboardInterrupt:
        if chosen == PLAIN:
            raise
        return tried, chosen, True
    return tried, chosen, False


def _consistency(estimate: DensityEstimate, x: Tensor) -> Tensor:
    with torch.enable_grad():
        x = x.detach().clone().requires_grad_()
        log_prob, score = estimate.log_prob_and_score(x)
        (gradient,) = torch.autograd.grad(log_prob.sum(), x, create_graph=True)
        # Relative to the samples' scale, so that the loss does not depend on units.
        scale = x.detach().std(0).clamp_min(torch.finfo(x.dtype).tiny)
        gap: Tensor = ((score - gradient) * scale).square().sum()
        size: Tensor = (score.detach() * scale).square().sum()
    return gap / size.clamp_min(torch.finfo(x.dtype).tiny)


def _probes(rows: int, d: int, generator: torch.Generator) -> Tensor:
    """Probes (rows, k, d) of a divergence: the axes, which give it exactly, or random signs where there are many."""
    if d <= _PROBES:
        return math.sqrt(d) * torch.eye(d, dtype=torch.float32, device=generator.device).expand(rows, d, d)
    return torch.randint(0, 2, (rows, _PROBES, d), generator=generator, device=generator.device) * 2.0 - 1


def _criterion(estimate: DensityEstimate, x: Tensor, probes: Tensor) -> Tensor:
    """The implicit score-matching loss of each row, over d; infinite where it is not finite."""
    with torch.enable_grad():
        x = x.detach().clone().requires_grad_()
        score = estimate.score(x)
        scale = estimate.samples.std(0).clamp_min(torch.finfo(x.dtype).tiny)
        # In units of the samples' scale; Hutchinson's estimate of the divergence with fixed probes.
        divergence = torch.zeros_like(x[:, 0])
        for probe in probes.to(score.dtype).unbind(1):
            (product,) = torch.autograd.grad((score * scale * probe).sum(), x, retain_graph=True)
            divergence += (product * scale * probe).sum(-1) / probes.shape[1]
    rows: Tensor = (0.5 * (score * scale).square().sum(-1) + divergence).detach().double() / x.shape[1]
    return rows.nan_to_num(nan=math.inf, neginf=math.inf)


def _improves(judged: Tensor, first: Tensor) -> bool:
    """Whether the mean fell clearly, for all that the best of many steps falls a little by chance."""
    return bool(_fall(judged, first) > _CLEARLY)


def _both(judged: Tensor, first: Tensor, least: float) -> bool:
    """Whether neither mean of the columns rose, and one fell by more than so many standard errors."""
    falls = _fall(judged, first)
    return bool(falls.min() >= 0 and falls.max() > least)


def _fall(judged: Tensor, first: Tensor) -> Tensor:
    gain = first - judged
    return gain.mean(0) / (gain.std(0) / math.sqrt(len(gain)))
