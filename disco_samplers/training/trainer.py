"""Training in slices of minutes: each slice continues from the last one's checkpoint."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import functools
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader
from tqdm import tqdm

from disco_samplers.files import load_checkpoint, load_weights, save_checkpoint, save_weights
from disco_samplers.model import DiScoFormerConfig, Network
from disco_samplers.training import distributed
from disco_samplers.training.graphs import Graphs, Work
from disco_samplers.training.grow import deepen
from disco_samplers.training.loss import Losses, consistency_loss, training_loss
from disco_samplers.training.muon import Muon
from disco_samplers.training.stream import Batch, Batches, Stream, StreamConfig, make_batch

CHECKPOINT = "checkpoint.pt"
WEIGHTS = "model.safetensors"
LOSSES = "losses.csv"
VALIDATION = "validation.csv"
_VALIDATION_CELLS = ((1, 256), (2, 256), (2, 1024), (2, 4096), (5, 256), (10, 256), (10, 1024), (10, 4096), (30, 1024))
_VALIDATION_SEED = 2**40
_CONSISTENT_DIM, _CONSISTENT_ROWS, _CONSISTENT_QUERIES, _CONSISTENT_EVERY = 3, 1024, 64, 3
_LOG_EVERY = 25
"""Steps between two lines of losses where reading them would make a GPU wait."""


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """How the network is trained.

    Arguments:
        seed: of the initial weights and of the stream of targets.
        learning_rate: of AdamW, for vectors and small matrices, after warm-up and before decay.
        matrix_rate: of Muon, for the hidden layers' matrices.
        warmup_steps: steps over which the learning rate rises from 0.
        decay_minutes: the last minutes of a slice, over which the learning rates fall to 0. The checkpoint that the next
            slice continues from is the one before the decay, so a run is never stuck at a small learning rate.
        weight_decay: of both optimisers.
        max_norm: gradients are clipped to this norm.
        average: decay of the exponential moving average of the weights, which is what ships.
        accumulate: batches, each of its own family and size, in a step.
        consistency: weight of the gap between score head and gradient of the density head, every third step in up to three
            dimensions (and 1024 rows): only there were the heads seen to disagree by more than they err, and it takes a second
            derivative.
        save_minutes: time between checkpoints.
        stream: what is trained on.
    """

    seed: int = 0
    learning_rate: float = 3e-3
    matrix_rate: float = 0.01
    warmup_steps: int = 100
    decay_minutes: float = 0.0
    weight_decay: float = 0.01
    max_norm: float = 1.0
    average: float = 0.999
    accumulate: int = 1
    consistency: float = 0.0
    save_minutes: float = 5.0
    stream: StreamConfig = dataclasses.field(default_factory=StreamConfig)


class Trainer:
    """Trains a :class:`Network` in slices and leaves its averaged weights in ``out``.

    ``out`` then holds ``checkpoint.pt`` (to continue from), ``model.safetensors`` (averaged weights, loadable with
    ``DiScoFormer.from_pretrained(out)``), ``losses.csv`` and ``validation.csv``.

    Under ``torchrun`` every process trains on its own stream and gradients are averaged.

    Hidden matrices are trained with Muon, everything else with AdamW: in a trial on d = 10, n = 256 the relative score error
    after 300 steps stood at .22 so, and at .34 with AdamW alone.

    Arguments:
        model: sizes of the network.
        config: how to train.
        out: folder for the results.
        device: "cpu" or "cuda".

    Example:
        >>> trainer = Trainer(DiScoFormerConfig(layers=1, width=16, hidden=16), TrainingConfig(), "out")
        >>> trainer.step
        0
    """

    def __init__(
        self,
        model: DiScoFormerConfig,
        config: TrainingConfig,
        out: str | os.PathLike[str],
        device: torch.device | str = "cpu",
    ) -> None:
        stream = dataclasses.replace(config.stream, columns=model.symmetry == "axes")
        self.model_config, self.config, self.out = model, dataclasses.replace(config, stream=stream), Path(out)
        self.device = distributed.local_device(torch.device(device))
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):
            torch.manual_seed(config.seed)
            self.network = Network(model).to(self.device)
        with torch.device("cpu"):  # what counts the averages
            self.averaged = AveragedModel(self.network, multi_avg_fn=get_ema_multi_avg_fn(config.average))
        self.optimizers = _optimizers(self.network, config)
        self.generator = torch.Generator(self.device).manual_seed(config.seed * 1_000 + distributed.rank() + 1)
        self.step, self.minutes, self.skipped = 0, 0.0, 0

    def resume(self, folder: str | os.PathLike[str]) -> None:
        """Continues from the checkpoint in ``folder``.

        Raises:
            FileNotFoundError: if it holds none.
            ValueError: if the checkpoint is of another network.
        """
        state = load_checkpoint(Path(folder) / CHECKPOINT)
        if state.get("model_config") != self.model_config.to_dict():
            raise ValueError(f"the checkpoint in {folder} is of another network: {state.get('model_config')}")
        self.network.load_state_dict(state["network"])
        self.averaged.load_state_dict(state["averaged"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.step, self.minutes = state["step"], state["minutes"]
        # A generator's state belongs to its device and process: others start a stream of their own from the step.
        if distributed.rank() == 0 and state["device"] == self.device.type:
            self.generator.set_state(state["generator"])
        else:
            self.generator.manual_seed(self.config.seed * 1_000 + distributed.rank() + 1 + self.step * 1_000_003)

    def start_from(self, weights: str | os.PathLike[str]) -> None:
        """Takes over trained weights before the first step; of a network with fewer blocks, the missing ones are added silent.

        The determinant of its kernels may have been another.

        Raises:
            ValueError: if the file holds a network of another kind, or a deeper one.
        """
        state, values = load_weights(Path(weights))
        config = DiScoFormerConfig.from_dict(values)
        layers = self.model_config.layers
        same = dataclasses.replace(config, layers=layers, determinant=self.model_config.determinant)
        if same != self.model_config or config.layers > layers:
            raise ValueError(f"{weights} holds another network: {values}")
        state = deepen({name.removeprefix("network."): value for name, value in state.items()}, config, layers)
        self.network.load_state_dict(state)
        self.averaged.module.load_state_dict(state)

    def run(self, minutes: float, *, progress: bool = True, max_steps: int | None = None, workers: int = 0) -> None:
        """Trains for ``minutes`` (or ``max_steps``) and saves; an interrupt saves too and ends the slice early.

        With ``workers`` as many processes draw the batches, on the CPU, while the network is trained, on a GPU say.
        """
        work = self._worker()
        with torch.cuda.stream(work.stream) if isinstance(work, Graphs) else contextlib.nullcontext():
            self._run(work, minutes, max_steps, self._stream(workers), progress)

    def _run(self, work: Work, minutes: float, max_steps: int | None, stream: Iterator[Batch], progress: bool) -> None:
        config = self.config
        log_every = _LOG_EVERY if isinstance(work, Graphs) else 1
        start = saved = time.monotonic()
        first_minutes, first_step, end = self.minutes, self.step, 60 * minutes
        decay, decaying = 60 * config.decay_minutes, False
        bar = tqdm(total=round(end), unit="s", disable=not (progress and distributed.rank() == 0), desc="training")
        try:
            while True:
                elapsed = distributed.agree(time.monotonic() - start, self.device)
                if elapsed >= end or (max_steps is not None and self.step - first_step >= max_steps):
                    break
                bar.update(round(elapsed) - bar.n)
                self.minutes = first_minutes + elapsed / 60
                if decay and elapsed >= end - decay and not decaying:
                    self._save()
                    decaying = True
                rate = min(1.0, (self.step + 1) / config.warmup_steps)
                rate *= (end - elapsed) / decay if decaying else 1.0
                losses, name = self._step(work, stream, rate)
                if distributed.rank() == 0:
                    if self.step % log_every == 0:
                        self._log(name, losses, rate)
                        bar.set_postfix(step=self.step, loss=f"{losses.total:.3f}", refresh=False)
                    if time.monotonic() - saved > 60 * config.save_minutes:
                        self._save(checkpoint=not decaying)
                        saved = time.monotonic()
        except KeyboardInterrupt:
            bar.write("interrupted: saving what was trained")
        finally:
            bar.close()
        if distributed.rank() == 0:
            self._save(checkpoint=not decaying)

    def _stream(self, workers: int) -> Iterator[Batch]:
        if not workers:
            return Stream(self.config.stream, self.generator)
        seed = int(torch.randint(2**40, (), generator=self.generator, device=self.device))
        draws = Batches(self.config.stream, seed)
        loader = DataLoader(
            draws,
            batch_size=None,
            num_workers=workers,
            pin_memory=self.device.type == "cuda",
            multiprocessing_context="spawn",
            prefetch_factor=4,
        )
        return iter(loader)

    def _worker(self) -> Work:
        if self.device.type == "cuda" and not distributed.is_used() and self.config.stream.grid:
            for parameter in self.network.parameters():
                parameter.grad = torch.zeros_like(parameter)
            return Graphs(self._finite_work, self.device)
        return functools.partial(self._work, distributed.wrap(self.network))

    def _step(self, work: Work, stream: Iterator[Batch], rate: float) -> tuple[Losses, str]:
        graphs = isinstance(work, Graphs)
        for optimizer, base in zip(self.optimizers, (self.config.matrix_rate, self.config.learning_rate), strict=True):
            optimizer.param_groups[0]["lr"] = rate * base
            optimizer.zero_grad(set_to_none=not graphs)
        for _ in range(self.config.accumulate):
            batch = next(stream)
            n, d = batch.context.shape[1:]
            wanted = bool(self.config.consistency) and self.step % _CONSISTENT_EVERY == 0
            losses = work(batch, wanted and d <= _CONSISTENT_DIM and n <= _CONSISTENT_ROWS)
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.config.max_norm)
        # A graph's gradients are finite; to ask would make the GPU wait.
        if graphs or torch.isfinite(norm):
            for optimizer in self.optimizers:
                optimizer.step()
            self.averaged.update_parameters(self.network)
        else:
            self.skipped += 1
        self.step += 1
        return Losses(*(value.detach() for value in losses)), batch.family

    def _work(self, network: nn.Module, batch: Batch, consistent: bool) -> Losses:
        """Forward and backward pass."""
        losses = self._losses(network, batch.to(self.device), consistent)
        (losses.total / self.config.accumulate).backward()
        return losses

    def _finite_work(self, batch: Batch, consistent: bool) -> Losses:
        losses = self._work(self.network, batch, consistent)
        for parameter in self.network.parameters():
            assert parameter.grad is not None
            parameter.grad.nan_to_num_(0.0, 0.0, 0.0)
        return losses

    def _losses(self, network: nn.Module, batch: Batch, consistent: bool = False) -> Losses:
        with torch.autocast(self.device.type, torch.bfloat16):
            log_prob, score = network(batch.context, batch.query, batch.counts, self.config.stream.keys, batch.frame)
        answered = log_prob.shape[1]
        losses = training_loss(
            log_prob.float(),
            score.float(),
            batch.log_prob[:, -answered:],
            batch.score[:, -answered:],
            context=answered - batch.query.shape[1],
            far=batch.far,
        )
        if not consistent:
            return losses
        queries = batch.query[:, : batch.query.shape[1] - batch.far][:, -_CONSISTENT_QUERIES:]
        keys = self.config.stream.keys
        gap = consistency_loss(self.network, batch.context, queries, keys, batch.frame, batch.counts)
        return losses._replace(total=losses.total + self.config.consistency * gap)

    def validate(self) -> dict[str, float]:
        """Relative score error of the averaged weights on a few fixed data sets of the published family, by (d, n)."""
        generator = torch.Generator(self.device).manual_seed(_VALIDATION_SEED)
        results = {}
        for d, n in _VALIDATION_CELLS:
            batch = make_batch("paper", 8, d, n, 256, generator, columns=self.config.stream.columns)
            with torch.no_grad():
                network, keys = self.averaged.module, self.config.stream.keys
                _, score = network(batch.context, batch.query, batch.counts, keys, batch.frame)
            # The queries that are no broadened draws.
            true = batch.score[:, n + 64 :]
            error = (score[:, 64 - 256 :] - true).square().sum((1, 2)) / true.square().sum((1, 2))
            results[f"d{d}_n{n}"] = float(error.mean())
        return results

    def _log(self, family: str, losses: Losses, rate: float) -> None:
        row = {"step": self.step, "minutes": round(self.minutes, 3), "family": family, "rate": f"{rate:.3g}"}
        values = {name: f"{float(value):.5g}" for name, value in losses._asdict().items()}
        _append(self.out / LOSSES, row | values | {"skipped": self.skipped})

    def _save(self, checkpoint: bool = True) -> None:
        if distributed.rank() != 0:
            return
        state = {f"network.{name}": value for name, value in self.averaged.module.state_dict().items()}
        save_weights(self.out / WEIGHTS, state, self.model_config.to_dict())
        validation = {name: f"{value:.4f}" for name, value in self.validate().items()}
        _append(self.out / VALIDATION, {"step": self.step, "minutes": round(self.minutes, 2)} | validation)
        if checkpoint:
            save_checkpoint(self.out / CHECKPOINT, self._state())

    def _state(self) -> dict[str, Any]:
        return {
            "model_config": self.model_config.to_dict(),
            "network": self.network.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "generator": self.generator.get_state(),
            "device": self.device.type,
            "step": self.step,
            "minutes": self.minutes,
        }


def _optimizers(network: Network, config: TrainingConfig) -> tuple[torch.optim.Optimizer, torch.optim.Optimizer]:
    """Muon for the hidden layers' matrices; AdamW for biases, norms, embeddings, ladders and the output layer."""
    outer = {id(p) for p in network.heads.output.parameters()} | {id(p) for p in network.embed_scalars.parameters()}
    hidden = [p for m in network.modules() if isinstance(m, nn.Linear) for p in [m.weight] if id(p) not in outer]
    matrices = {id(p) for p in hidden}
    rest = [p for p in network.parameters() if id(p) not in matrices]
    return (
        Muon(hidden, lr=config.matrix_rate, weight_decay=config.weight_decay),
        torch.optim.AdamW(rest, lr=config.learning_rate, weight_decay=config.weight_decay, betas=(0.9, 0.99)),
    )


def load_config(values: dict[str, Any]) -> tuple[DiScoFormerConfig, TrainingConfig]:
    """The network's and the training's configuration from plain values ``{"model": {...}, "training": {...}}``.

    Raises:
        ValueError: if a key is unknown or a value is wrong.
    """
    unknown = sorted(set(values) - {"model", "training"})
    if unknown:
        raise ValueError(f"unknown section(s) {', '.join(unknown)}: a configuration has 'model' and 'training'")
    training = dict(values.get("training", {}))
    stream = _known(StreamConfig, training.pop("stream", {}), "training.stream")
    config = TrainingConfig(**_known(TrainingConfig, training, "training"), stream=StreamConfig(**stream))
    for name in ("learning_rate", "matrix_rate"):
        if not (getattr(config, name) > 0 and math.isfinite(getattr(config, name))):
            raise ValueError(f"{name} must be positive, got {getattr(config, name)}")
    return DiScoFormerConfig.from_dict(values.get("model", {})), config


def _known(kind: type, values: dict[str, Any], where: str) -> dict[str, Any]:
    known = {field.name for field in dataclasses.fields(kind)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise ValueError(f"unknown key(s) {', '.join(unknown)} in {where}; known are {', '.join(sorted(known))}")
    return values


def _append(path: Path, row: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    new = not path.exists()
    with open(path, "a", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        if new:
            writer.writeheader()
        writer.writerow(row)
