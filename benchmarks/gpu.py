"""The quarter of an hour on a GPU: checks, timings and training, one command each.

    python benchmarks/gpu.py check                                     at most 90 s: the `gpu` tests
    python benchmarks/gpu.py time --out DIR                            at most 90 s: answers beside tiled KDE; a plasma's steps
    python benchmarks/gpu.py rate --config FILE                        20 s: sets a second by size of batch
    python benchmarks/gpu.py train --config FILE --seconds S --out DIR training, its results copied to DIR as it goes

Needs torch, numpy, safetensors, tqdm, huggingface_hub and pytest alone, and no installation: run it from the repository's root
with PYTHONPATH=. there. Training keeps its checkpoint under --keep, so that another command on the same machine can go on;
what is copied to --out (weights and curves) stays below 16 MiB a file. Rehearse it with --device cpu.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import torch

from disco_samplers import DiScoFormer
from disco_samplers.reference import KDE
from disco_samplers.training.config import load_config
from disco_samplers.training.passes import Passes
from disco_samplers.training.stream import Stream
from disco_samplers.training.trainer import LOSSES, VALIDATION, WEIGHTS, Trainer
from integrations.plasma import Blob, DiscoScore  # as it lies in the repository, without an installation
from integrations.plasma.runfile import read_run

KINDS = (LOSSES, VALIDATION, WEIGHTS)


def check(options: argparse.Namespace) -> None:
    """The tests that run on a GPU."""
    plain = ["-o", "addopts=", "-o", "filterwarnings=default", "-p", "no:cacheprovider", "-p", "no:randomly"]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-x" if options.device == "cpu" else "-v",
        *plain,
        "-m",
        "gpu",
        "tests/test_gpu.py",
    ]
    raise SystemExit(subprocess.run(command, check=False, timeout=90).returncode)


def seconds(work: Callable[[], object], device: str, repeats: int = 5) -> float:
    """The median time of a call, after two that do not count."""
    times = []
    for _ in range(repeats + 2):
        _wait(device)
        start = time.perf_counter()
        work()
        _wait(device)
        times.append(time.perf_counter() - start)
    return statistics.median(times[2:])


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def timing(options: argparse.Namespace) -> None:
    """Density and score beside a tiled KDE on the same device, and the sizes published for Flash-SD-KDE."""
    name = torch.cuda.get_device_name() if options.device == "cuda" else "cpu"
    rows = []
    sizes = [(2048, 2048, 10), (32_768, 4096, 16), (65_536, 65_536, 10), (4096, 4096, 100), (65_536, 65_536, 2)]
    for n, m, d in sizes if options.device == "cuda" else [(256, 256, 3)]:
        generator = torch.Generator(options.device).manual_seed(0)
        x = torch.randn(n, d, device=options.device, generator=generator)
        y = torch.randn(m, d, device=options.device, generator=generator)
        repeats = 5 if n * m < 2**29 else 2
        kde = KDE(x, 0.5)
        row: dict[str, object] = {"device": name, "n": n, "m": m, "d": d}
        row["KDE, tiled, density and score"] = seconds(lambda y=y, kde=kde: kde.log_prob_and_score(y), options.device, repeats)
        for weights in ("axes", "rotations"):
            model = DiScoFormer.from_pretrained(weights, map_location=options.device)
            estimate = model.condition(x)
            row[f"{weights}: condition"] = seconds(lambda x=x, model=model: model.condition(x), options.device, repeats)
            row[f"{weights}: density and score"] = seconds(
                lambda y=y, estimate=estimate: estimate.log_prob_and_score(y), options.device, repeats
            )
        rows.append(row)
        print(json.dumps(row), flush=True)
    rows.append({"device": name} | plasma(options.device))
    print(json.dumps(rows[-1]), flush=True)
    if options.out:
        Path(options.out).mkdir(parents=True, exist_ok=True)
        (Path(options.out) / "gpu_times.json").write_text(json.dumps(rows, indent=1))


def plasma(device: str) -> dict[str, object]:
    """A collisional run, from its file as it is: seconds of its scores and of the steps from one collision to the next."""
    run = read_run("two-stream-landau" if device == "cuda" else "landau-dougherty", device=device).simulation
    view = run.collision_view(run.state.species[0])
    row: dict[str, object] = {"particles": len(view[0]), "cells": view[3]}
    for name, score in {"blob": Blob(), "DiScoFormer": DiscoScore(), "DiScoFormer, 128 keys": DiscoScore(keys=128)}.items():
        row[f"{name}: score"] = seconds(lambda score=score: score(*view), device, 2)
    row[f"{run.collide_every} steps"] = seconds(lambda: [run.step() for _ in range(run.collide_every)], device, 2)
    return row


def rate(options: argparse.Namespace) -> None:
    """Seconds of a training step's parts, by size of batch."""
    model, config = load_config(json.loads(Path(options.config).read_text()))
    trainer = Trainer(model, config, options.keep, options.device)
    passes = Passes(trainer.network, trainer.config, trainer.device)
    print(f"{sum(p.numel() for p in trainer.network.parameters()):,} parameters", flush=True)
    shared = shutil.disk_usage("/dev/shm") if Path("/dev/shm").exists() else None
    print("shared memory:", shared and f"{shared.free / 2**30:.1f} GiB", flush=True)
    for factor in (1, 2):
        stream = dataclasses.replace(trainer.config.stream, budget=config.stream.budget * factor)
        generator = torch.Generator().manual_seed(1)
        batches = [next(Stream(stream, generator)).to(trainer.device) for _ in range(6)]
        sets = sum(len(batch.context) for batch in batches)

        def forth_and_back(batches: list = batches) -> None:
            for batch in batches:
                passes(batch, False)

        spent = seconds(forth_and_back, options.device, 2)
        sizes = [tuple(batch.context.shape) for batch in batches]
        print(f"budget x{factor}: {sets / spent:.0f} sets/s, {1e3 * spent / len(batches):.0f} ms a batch; {sizes}", flush=True)
        if options.device == "cuda":
            print(f"  peak {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB", flush=True)
    if options.device == "cuda":
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
            forth_and_back()
            torch.cuda.synchronize()
        kernels = sorted(profile.key_averages(), key=lambda kernel: -kernel.self_device_time_total)
        total = sum(kernel.self_device_time_total for kernel in kernels)
        print(f"kernels busy {total / 1e3 / len(batches):.0f} ms a batch", flush=True)
        for kernel in kernels[:14]:
            print(f"{kernel.self_device_time_total / total:6.1%} {kernel.count:5d} {kernel.key[:90]}", flush=True)
    steps = seconds(lambda: [optimizer.step() for optimizer in trainer.optimizers], options.device, 3)
    print(f"optimizers: {1e3 * steps:.0f} ms", flush=True)
    if not options.workers:
        return
    stream_of_workers = trainer._stream(options.workers)
    next(stream_of_workers)
    start, sets = time.perf_counter(), 0
    while time.perf_counter() - start < options.seconds:
        sets += len(next(stream_of_workers).context)
    print(f"{options.workers} workers draw {sets / (time.perf_counter() - start):.0f} sets/s", flush=True)


def train(options: argparse.Namespace) -> None:
    """Trains for the seconds given, start-up included, and copies weights and curves to --out every half minute."""
    end = time.monotonic() + options.seconds
    model, config = load_config(json.loads(Path(options.config).read_text()))
    keep, out = Path(options.keep), Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(model, config, keep, options.device)
    if options.start:
        trainer.start_from(options.start)
    if options.resume:
        trainer.resume(options.resume)
    done = threading.Event()
    copying = threading.Thread(target=_copy, args=(keep, out, done), daemon=True)
    copying.start()
    first = trainer.step
    trainer.run((end - time.monotonic()) / 60, progress=False, workers=options.workers)
    done.set()
    copying.join()
    print(f"{trainer.step - first} steps, {trainer.skipped} skipped; validation {trainer.validate()}", flush=True)


def _copy(keep: Path, out: Path, done: threading.Event) -> None:
    while True:
        last = done.wait(30)
        for name in KINDS:
            if (keep / name).exists():
                shutil.copy(keep / name, out / name)
        if last:
            return


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=("check", "time", "rate", "train"))
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--config", help="JSON with the sections model and training, as disco train takes it")
    parser.add_argument("--seconds", type=float, default=10.0, help="of training, start-up included (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=0, help="processes that draw the data")
    parser.add_argument("--out", default="", help="folder for what is to be brought back")
    parser.add_argument("--keep", default="runs/gpu", help="folder for checkpoints (default: %(default)s)")
    parser.add_argument("--start", help="weights to start from")
    parser.add_argument("--resume", help="folder with a checkpoint to go on from")
    options = parser.parse_args()
    {"check": check, "time": timing, "rate": rate, "train": train}[options.command](options)


if __name__ == "__main__":
    main()
