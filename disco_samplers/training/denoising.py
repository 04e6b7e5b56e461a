"""Training of the network that is told the noise."""

from __future__ import annotations

import os
import time
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from disco_samplers.files import load_weights, save_weights
from disco_samplers.model import DenoiserConfig, DenoiserNetwork
from disco_samplers.training.muon import Muon
from disco_samplers.training.noised import BROADENED, NoisedBatch, NoisedConfig, noised_batch
from disco_samplers.training.precision import training_precision
from disco_samplers.training.records import append, tried

_DENSITY_WEIGHT = 0.3
_FLOOR = 1e-4
_SAVE_SECONDS = 300
_MATRIX_RATE, _RATE, _WARMUP, _AVERAGE = 0.008, 2.5e-3, 100, 0.998


def denoising_loss(log_prob: Tensor, score: Tensor, batch: NoisedBatch) -> Tensor:
    r"""The loss of a batch, in units of the noise.

    Of a set whose blurred law is known, with V = d - mean |s*|^2 the variance that noise leaves of the clean point,

    .. math:: E = \frac{\sum |s - s^*|^2}{\operatorname{mean}|s^*|^2\, V / d}, \qquad
        L = g\big(\sqrt E\big) + .3\, g\Big(\sqrt{\operatorname{mean} H(\log f - \log f^*) / d}\Big)

    with H the Huber loss and g(v) = v up to 1 and 1 + log(v) beyond, so that a set that cannot be answered yet does not drown
    the others, and still counts. V falls to zero where samples are few points far apart: there the error is relative to what
    is left to err. Of other sets it is half the logarithm of the denoising loss, :math:`\frac12 \log \operatorname{mean} |s +
    \epsilon|^2`, whose minimum is the score as well.

    References:
        Vincent, *A connection between score matching and denoising autoencoders*, Neural Computation 2011.
    """
    d = score.shape[-1]
    if batch.log_prob is None:
        return 0.5 * ((score - batch.score).square().mean((1, 2)) + 0.02).log().mean() + 0.5
    squared = (score - batch.score).square().sum(-1).mean(1)
    norm = batch.score[:, BROADENED:].square().sum(-1).mean(1)
    left = norm * (1 - norm / d).clamp(0.02, 1.0)
    relative = squared / left.clamp_min(1e-3 * d)
    density = F.huber_loss(log_prob, batch.log_prob, reduction="none", delta=3 * d**0.5).mean(1) / d
    loss: Tensor = (_bounded(relative) + _DENSITY_WEIGHT * _bounded(density)).mean()
    return loss


def train_denoiser(
    config: DenoiserConfig,
    data: NoisedConfig,
    out: str | os.PathLike[str],
    *,
    minutes: float,
    seed: int,
    start: str | os.PathLike[str] | None = None,
    progress: bool = True,
) -> int:
    """Trains for some minutes, with rates that fall to zero over the second half, and returns the number of steps.

    ``out`` then holds ``model.safetensors``, the averaged weights, also written every five minutes and after an interrupt, and
    ``losses.csv``.

    Arguments:
        config: sizes of the network.
        data: what it is trained on.
        out: folder.
        minutes: how long.
        seed: of the first weights and the data.
        start: weights to begin with.
        progress: whether to show a progress bar.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = DenoiserNetwork(config)
    if start is not None:
        network.load_state_dict(load_weights(start)[0])
    averaged = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(_AVERAGE))
    optimizers, generator = _optimizers(network), torch.Generator().manual_seed(seed + 1)
    folder, began, saved, step = Path(out), time.monotonic(), time.monotonic(), 0

    def save() -> None:
        save_weights(folder / "model.safetensors", averaged.module.state_dict(), config.to_dict())

    with tqdm(total=round(60 * minutes), unit="s", disable=not progress, desc="training") as bar:
        try:
            while (elapsed := time.monotonic() - began) < 60 * minutes:
                bar.update(round(elapsed) - bar.n)
                rate = min(1.0, (step + 1) / _WARMUP, 2 * (1 - elapsed / (60 * minutes)))
                try:
                    batch = noised_batch(data, generator)
                except ValueError:  # a covariance too flat for float32
                    continue
                loss = _step(network, optimizers, batch, rate)
                averaged.update_parameters(network)
                step += 1
                row = {"step": step, "family": batch.family, "loss": f"{loss:.5g}"}
                tried(partial(append, folder / "losses.csv", row))
                if time.monotonic() - saved > _SAVE_SECONDS:
                    tried(save)
                    saved = time.monotonic()
        except KeyboardInterrupt:
            if not step:
                raise
    save()
    return step


def _step(network: DenoiserNetwork, optimizers: tuple[torch.optim.Optimizer, ...], batch: NoisedBatch, rate: float) -> float:
    for optimizer, base in zip(optimizers, (_MATRIX_RATE, _RATE), strict=True):
        optimizer.param_groups[0]["lr"] = rate * base
        optimizer.zero_grad()
    with training_precision(torch.device("cpu")):
        log_prob, score = network.decode(network.encode(batch.context, batch.spread), batch.query, batch.spread)
    loss = denoising_loss(log_prob.float(), score.float(), batch)
    loss.backward()
    if torch.isfinite(nn.utils.clip_grad_norm_(network.parameters(), 1.0)):
        for optimizer in optimizers:
            optimizer.step()
    return float(loss.detach())


def _bounded(error: Tensor) -> Tensor:
    """The root of an error, beyond one its logarithm."""
    root = (error + _FLOOR).sqrt()
    return torch.where(root > 1, 1 + root.clamp_min(1e-6).log(), root)


def _optimizers(network: DenoiserNetwork) -> tuple[torch.optim.Optimizer, torch.optim.Optimizer]:
    """Muon for the hidden layers' matrices, AdamW for the rest."""
    outer = [network.heads.output, network.embed_vectors, *network.embed_scalars]
    kept = {id(p) for module in outer for p in module.parameters()}
    matrices = [m.weight for m in network.modules() if isinstance(m, nn.Linear) and id(m.weight) not in kept]
    known = {id(p) for p in matrices}
    rest = [p for p in network.parameters() if id(p) not in known]
    return (
        Muon(matrices, lr=_MATRIX_RATE, weight_decay=0.01),
        torch.optim.AdamW(rest, lr=_RATE, weight_decay=0.01, betas=(0.9, 0.99)),
    )
