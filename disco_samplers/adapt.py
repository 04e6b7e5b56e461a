"""On-the-fly adaptation: a few label-free gradient steps of a copy of the heads on the samples themselves."""

from __future__ import annotations

import copy
import dataclasses
import math
import time
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from tqdm import tqdm

from disco_samplers._arrays import check_count

if TYPE_CHECKING:
    from disco_samplers.estimate import DensityEstimate

_QUERIES = 256
"""Context rows in one step; the second derivative holds a (queries, n) matrix for each head of one block."""

_HELD_OUT = 0.2
"""Share of the rows kept out of the context to judge the steps by."""


@dataclasses.dataclass(frozen=True)
class AdaptationReport:
    """What an adaptation did.

    Arguments:
        losses: consistency loss before each step.
        criterion: held-out, label-free criterion before the first and after each step; lower is better.
        chosen: number of steps of the returned estimate; 0 where none was clearly better than the start.
        seconds: wall time.
    """

    losses: list[float]
    criterion: list[float]
    chosen: int
    seconds: float

    def plot(self, path: str | None = None) -> Any:
        """Draws both curves and the chosen step. Needs matplotlib."""
        from disco_samplers.plotting import plot_adaptation

        return plot_adaptation(self, path)


def adapt(
    estimate: DensityEstimate,
    steps: int = 8,
    *,
    learning_rate: float = 1e-4,
    seed: int = 0,
    max_seconds: float | None = None,
    progress: bool = False,
) -> DensityEstimate:
    r"""Adapts a copy of the model's heads to the estimate's own samples; the shared model is untouched.

    Minimises the consistency loss between the score head S and the gradient of the density head T at context points,

    .. math:: L = \frac{\sum_i |S(x_i) - \nabla T(x_i)|^2}{\sum_i |S(x_i)|^2}.

    Consistency alone is satisfied by any wrong pair that agrees, so a fifth of the rows is kept out of the context, and
    each step is judged there by the mean of :math:`(\tfrac12 |S|^2 + \nabla \cdot S)/d`, which differs from the score's
    squared error by a constant. The step where it is lowest is kept if it beats the start by more than a standard error
    of the paired differences; otherwise the start is. (The held-out log-density is no judge: it need not integrate to one.)

    Arguments:
        estimate: of one data set.
        steps: most gradient steps.
        learning_rate: of Adam.
        seed: chooses held-out rows, the rows of each step and the probes of the divergence.
        max_seconds: stops early when reached, keeping the best step so far.
        progress: whether to show a progress bar.

    Returns:
        A new estimate of the same samples, with ``report``.

    Raises:
        ValueError: if ``steps`` is negative, ``learning_rate`` is not positive, or the estimate is of a batch.

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
    generator = torch.Generator().manual_seed(seed)
    x = estimate.samples
    order = torch.randperm(len(x), generator=generator).to(x.device)
    held = min(max(2, round(_HELD_OUT * len(x))), len(x) - 2) if len(x) >= 4 else 0
    model = copy.deepcopy(estimate.model)
    parameters = [p.requires_grad_() for p in model.network.heads.parameters()]
    start = {name: value.clone() for name, value in model.state_dict().items()}
    losses: list[float] = []
    criterion: list[float] = []
    best, chosen = start, 0
    if steps and held and len(torch.unique(x[order[held:]], dim=0)) > 1:
        working = type(estimate)(model, x[order[held:]], None, estimate.keys, numpy=False)
        probes = (torch.randint(0, 2, (held, x.shape[1]), generator=generator) * 2.0 - 1).to(x.device)
        first = _criterion(working, x[order[:held]], probes)
        criterion.append(float(first.mean()))
        optimizer = torch.optim.Adam(parameters, learning_rate)
        try:
            for _ in tqdm(range(steps), disable=not progress, desc="adapting"):
                rows = torch.randperm(working.num_samples, generator=generator)[:_QUERIES].to(x.device)
                loss = _consistency(working, working.samples[rows])
                if not torch.isfinite(loss):
                    break
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                losses.append(float(loss.detach()))
                judged = _criterion(working, x[order[:held]], probes)
                criterion.append(float(judged.mean()))
                if criterion[-1] < criterion[chosen] and _improves(judged, first):
                    best, chosen = {name: value.clone() for name, value in model.state_dict().items()}, len(losses)
                if max_seconds is not None and time.monotonic() - started > max_seconds:
                    break
        except KeyboardInterrupt:
            pass  # the best step so far is a result
    model.load_state_dict(best)
    model.requires_grad_(False)
    adapted = estimate.with_model(model)
    adapted.report = AdaptationReport(losses, criterion, chosen, time.monotonic() - started)
    return adapted


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


def _criterion(estimate: DensityEstimate, x: Tensor, probes: Tensor) -> Tensor:
    """The implicit score-matching loss of each row, over d; infinite where it is not finite."""
    with torch.enable_grad():
        x = x.detach().clone().requires_grad_()
        score = estimate.score(x)
        scale = estimate.samples.std(0).clamp_min(torch.finfo(x.dtype).tiny)
        # In units of the samples' scale; Hutchinson's estimate of the divergence with fixed signs.
        probe = probes.to(score.dtype)
        (product,) = torch.autograd.grad((score * scale * probe).sum(), x)
    divergence = (product * scale * probe).sum(-1)
    rows: Tensor = (0.5 * (score * scale).square().sum(-1) + divergence).detach().double() / x.shape[1]
    return rows.nan_to_num(nan=math.inf, neginf=math.inf)


def _improves(judged: Tensor, first: Tensor) -> bool:
    """Whether the mean fell by more than one standard error of the paired differences."""
    gain = first - judged
    return bool(gain.mean() > gain.std() / math.sqrt(len(gain)))
