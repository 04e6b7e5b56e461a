"""Images from part of what is known of them: a hole filled, block means sharpened, noise taken off; without training.

Images that nothing has read are measured: a square of 3/7 of the side in the middle is missing; means over blocks of 2 x 2
(4 x 4 for sides from 20 on) are known; all pixels are known with noise of .6. From each some draws are made by the same
scheduler and number of steps. PSNR, in decibels, is of the mean of the draws over the pixels that are not known exactly (peak
to peak 2). Coverage is the share of these pixels that lie between the smallest and the largest of the draws, give or take .02:
of K honest draws (K - 1) / (K + 1), and more where pixels are flat.
Methods: "patches" is ``DiscoScoreModel.from_data(images, locality="auto").measured(...)``; "linear" the normal law of the
images read (Wiener: posterior mean and draws in closed form); "rows" the images read, weighted by how well they fit, with the
width of fit that is best on images held out; "EPLL" the likeliest image by a mixture of 40 normal laws of patches of 7 x 7
(of 8 x 8 digits 6 x 6), at the step that is best on images held out, which has no draws (benchmarks/image_epll.py); "blank" the
mean of the images read.
"""

from __future__ import annotations

import argparse
import time

import matplotlib.pyplot as plt
import torch
from diffusers import DPMSolverMultistepScheduler
from diffusers_denoising import split
from disco_samplers.integrations.diffusers import DiscoPipeline, DiscoScoreModel, Measurement
from image_epll import PatchMixture
from report import write
from torch import Tensor

NOISE = 0.6
EXACT = 0.05
"""Noise that is told of pixels and means that are known: the linear answer wants some."""


def measured(kind: str, images: Tensor, times: int, seed: int) -> Measurement:
    """What is known of images, each given so many times."""
    if kind == "hole":
        return Measurement.of_pixels(images.repeat_interleave(times, 0), ~hole(images), EXACT)
    if kind == "means":
        factor = 4 if images.shape[-1] >= 20 else 2
        means = torch.nn.functional.avg_pool2d(images, factor)
        return Measurement.of_means(means.repeat_interleave(times, 0), factor, EXACT)
    noisy = images + NOISE * torch.randn(images.shape, generator=torch.Generator().manual_seed(seed))
    return Measurement.of_all(noisy.repeat_interleave(times, 0), NOISE)


def hole(images: Tensor) -> Tensor:
    """The square (C, H, W) that is missing."""
    side = images.shape[-1]
    low, high = round(2 * side / 7), round(5 * side / 7)
    missing = torch.zeros(images.shape[1:], dtype=torch.bool)
    missing[:, low:high, low:high] = True
    return missing


def matrix_of(measurement: Measurement, shape: torch.Size) -> Tensor:
    """A as a matrix (measured, pixels)."""
    return measurement.forward(torch.eye(shape.numel()).view(-1, *shape)).flatten(1).T


def linear(read: Tensor, measurement: Measurement, count: int, generator: torch.Generator) -> Tensor:
    """Draws (images, count, pixels) of the posterior of a normal law of the images read."""
    x = read.flatten(1).double()
    matrix = matrix_of(measurement, read.shape[1:]).double()
    kept = matrix.abs().sum(1) > 0
    matrix, values = matrix[kept], measurement.values.flatten(1)[:, kept].double()
    center, covariance = x.mean(0), torch.cov(x.T) + 1e-6 * torch.eye(x.shape[1]).double()
    cross = covariance @ matrix.T
    inner = matrix @ cross + measurement.noise**2 * torch.eye(len(matrix)).double()
    gain = torch.linalg.solve(inner, cross.T).T
    mean = center + (values - matrix @ center) @ gain.T
    spread = covariance - gain @ cross.T
    level, vectors = torch.linalg.eigh(spread)
    root = vectors * level.clamp_min(0).sqrt()
    noise = torch.randn(len(values), count, x.shape[1], generator=generator, dtype=torch.float64)
    return (mean[:, None] + noise @ root.T).float()


def rows(read: Tensor, held: Tensor, measurement: Measurement, trial: Measurement, count: int, seed: int) -> Tensor:
    """Draws of the images read by how well they fit, with the width of fit that is best for the trial, of images held out."""

    def gaps(of: Measurement) -> Tensor:
        return torch.cdist(of.values.flatten(1), of.forward(read).flatten(1)).square()

    flat, truth, far = read.flatten(1), held.flatten(1), gaps(trial)
    widths = [0.3, 0.6, 1.0, 1.5, 2.5, 4.0]
    losses = [float(((-far / (2 * w**2)).softmax(1) @ flat - truth).square().mean()) for w in widths]
    width = widths[losses.index(min(losses))]
    share = (-gaps(measurement) / (2 * width**2)).softmax(1)
    return flat[torch.multinomial(share, count, replacement=True, generator=torch.Generator().manual_seed(seed))]


def epll(mixture: PatchMixture, read: Tensor, held: Tensor, measurement: Measurement, trial: Measurement) -> Tensor:
    """The likeliest images (images, pixels) by a mixture of patches, at the step that is best for those held out.

    They start from the posterior mean of the normal law.
    """
    matrix = matrix_of(measurement, read.shape[1:])

    def steps(of: Measurement) -> list[Tensor]:
        start = linear(read, of, 200, torch.Generator().manual_seed(0)).mean(1)
        return mixture.restore(start, matrix, of.values.flatten(1), of.noise)

    losses = [float((x - held.flatten(1)).square().mean()) for x in steps(trial)]
    return steps(measurement)[losses.index(min(losses))]


def patches(model: DiscoScoreModel, measurement: Measurement, steps: int, seed: int) -> Tensor:
    pipe = DiscoPipeline(model.measured(measurement), DPMSolverMultistepScheduler(use_karras_sigmas=True))
    pipe.set_progress_bar_config(disable=True)
    count = len(measurement.values)
    drawn: Tensor = pipe(
        num_samples=count, num_inference_steps=steps, generator=torch.Generator().manual_seed(seed)
    ).samples.flatten(1)
    return drawn


def picture(path: str, shown: list[tuple[str, list[tuple[str, Tensor]]]]) -> None:
    """Draws for each kind what is known, two draws, their mean and the truth, of the first images."""
    titles = [title for title, _ in shown[0][1]]
    figure, axes = plt.subplots(len(shown), len(titles), figsize=(2.2 * len(titles), 1.5 * len(shown)), dpi=110)
    for number, (row, (kind, images)) in enumerate(zip(axes, shown, strict=True)):
        for axis, (title, strip) in zip(row, images, strict=True):
            axis.imshow(torch.cat(list(strip[:3, 0]), 1), cmap="gray", vmin=-1, vmax=1, interpolation="nearest")
            axis.set(xticks=[], yticks=[])
            if not number:
                axis.set_title(title, fontsize=10)
        row[0].set_ylabel(kind, fontsize=10)
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)


NAMES = {"hole": "a hole", "means": "block means", "noise": f"noise {NOISE:g}"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="an .npz file with images (N, H, W); scikit-learn's digits if not given")
    parser.add_argument("--read", type=int, default=None, help="images to read (default: 5000, of the bundled digits 1000)")
    parser.add_argument("--images", type=int, default=32, help="images to restore (default: %(default)s)")
    parser.add_argument("--draws", type=int, default=9, help="draws of each (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=40, help="of the scheduler (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--picture", metavar="FILE", help="draw some of the images")
    options = parser.parse_args()
    started = time.time()
    count = options.read or (5000 if options.data else 1000)
    read, held, judged = split(options.data, count, 100, options.images, options.seed)
    model, mixture = DiscoScoreModel.from_data(read, locality="auto"), PatchMixture(read)
    table, raw, shown = [], [], []
    for kind in ("hole", "means", "noise"):
        measurement = measured(kind, judged, 1, options.seed)
        unknown = hole(judged) if kind == "hole" else torch.ones(judged.shape[1:], dtype=torch.bool)
        generator = torch.Generator().manual_seed(options.seed)
        began = time.time()
        ours = patches(model, measured(kind, judged, options.draws, options.seed), options.steps, options.seed)
        seconds = (time.time() - began) / len(judged)
        answers = {
            "patches": ours.unflatten(0, (len(judged), options.draws)),
            "linear": linear(read, measurement, options.draws, generator),
            "rows": rows(read, held, measurement, measured(kind, held, 1, 1), options.draws, options.seed),
            "EPLL": epll(mixture, read, held, measurement, measured(kind, held, 1, 1))[:, None].expand(-1, options.draws, -1),
            "blank": read.flatten(1).mean(0).expand(len(judged), options.draws, -1),
        }
        known = measurement.values.where(~unknown, 0.0) if kind == "hole" else measurement.values
        found = answers["patches"]
        draws = [part.view_as(judged).clamp(-1, 1) for part in (found[:, 0], found[:, 1], found.mean(1))]
        larger = torch.nn.functional.interpolate(known, size=judged.shape[2:])
        strips = [larger, *draws, judged]
        titles = ["known", "one draw", "another", f"mean of {options.draws}", "truth"]
        shown.append((NAMES[kind], list(zip(titles, strips, strict=True))))
        truth, at = judged.flatten(1), unknown.flatten()
        for name, drawn in answers.items():
            mean = drawn.mean(1).clamp(-1, 1)
            error = (mean - truth)[:, at].square().mean(1)
            psnr = 10 * (4 / error).log10()
            inside = (drawn.amin(1) - 0.02 <= truth) & (truth <= drawn.amax(1) + 0.02)
            covered = inside[:, at].float().mean()
            single = bool((drawn == drawn[:, :1]).all())
            cells = [kind, name, f"{psnr.mean():.2f} ± {psnr.std() / len(psnr) ** 0.5:.2f}", "" if single else f"{covered:.0%}"]
            table.append([*cells, f"{seconds:.1f}" if name == "patches" else ""])
            raw.append({"kind": kind, "method": name, "psnr": psnr.tolist(), "covered": float(covered)})
            print(" | ".join(table[-1]), flush=True)
    if options.picture:
        picture(options.picture, shown)
    expected = (options.draws - 1) / (options.draws + 1)
    name = "digits of 8 x 8" if options.data is None else options.data.rpartition("/")[2]
    write(
        "diffusers_inverse" if options.data is None else "diffusers_inverse_file",
        f"Images from part of what is known of them: {name}",
        __doc__.split("\n", 1)[1].strip() + f"\n\n{name}: {count} images read, {len(judged)} restored, {options.draws} draws, "
        f"{options.steps} steps; coverage should be {expected:.0%}.",
        ["what is known", "method", "PSNR (dB)", "coverage", "seconds an image"],
        table,
        raw,
        started,
    )


if __name__ == "__main__":
    main()
