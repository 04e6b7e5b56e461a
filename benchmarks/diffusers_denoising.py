"""How well is noise taken off an image's pixels, by patches around them, without training on the images?

Mean squared error of the denoised pixel on images that nothing has read, pixels in [-1, 1], at some positions in the middle, by
noise level. --data: an .npz file with ``images``, (N, H, W) of whole numbers to 255, such as the 10,000 test images of MNIST
(LeCun, Cortes, Burges, 1998); by default scikit-learn's bundled digits of 8 x 8. Images are dealt once: some to read, some to
choose sizes and weights on, some to judge by.

For every pixel the patch around it is compared with patches of the images read at the same place or, "nearby", at most one
pixel from it. "exact" is the mean of these patches' middle weighted by the noise's density, "linear" the best linear answer
(Wiener), "noised" DiScoFormer that reads noised copies of the patches, "told" the one that is told the noise and reads clean
ones. Of each the size that is best on the images for choosing is taken; a stack adds all sizes by least squares there.
"windows" is what ``DiscoScoreModel.from_data(images, locality="auto")`` does: exact answers of overlapping windows, nearby,
stacked.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from disco_samplers.integrations.diffusers import LocalData, Near, NoisedData
from disco_samplers.integrations.diffusers.stack import stacked
from report import write
from sklearn.datasets import load_digits
from torch import Tensor

from disco_samplers import DiscoDenoiser, DiScoFormer
from disco_samplers.reference import OptimalDenoiser

LEVELS = (0.3, 0.6, 1.2, 2.5)
SIZES = (3, 5, 7, 9, 13)
NETWORK_SIZES = (3, 5, 9)
CONTEXT = 2500


def split(path: str | None, read: int, chosen: int, judged: int, seed: int) -> list[Tensor]:
    """Images (n, 1, H, W) to read, to choose on and to judge by."""
    if path is None:
        images = torch.from_numpy(load_digits().images).float() / 8 - 1
    else:
        images = torch.from_numpy(np.load(path)["images"]).float() / 127.5 - 1
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    return list(images[order][: read + chosen + judged, None].split([read, chosen, judged]))


def patches(images: Tensor, row: int, column: int, size: int) -> Tensor:
    """Patches (n, size^2) around a pixel; beyond the image there is its edge's colour."""
    half = size // 2
    wide = torch.nn.functional.pad(images, (half,) * 4, mode="replicate")
    return wide[:, 0, row : row + size, column : column + size].flatten(1)


def near(images: Tensor, row: int, column: int, size: int, reach: int) -> Tensor:
    """Those around all pixels at most ``reach`` from it."""
    steps = range(-reach, reach + 1)
    return torch.cat([patches(images, row + i, column + j, size) for i in steps for j in steps])


def linear(y: Tensor, x: Tensor, sigma: float) -> Tensor:
    center = x.mean(0)
    covariance = torch.cov(x.T, correction=0)
    return center + (y - center) @ torch.linalg.solve(covariance + sigma**2 * torch.eye(len(center)), covariance)


def some(x: Tensor, count: int) -> Tensor:
    return x[torch.randperm(len(x), generator=torch.Generator().manual_seed(0))[:count]]


def noised(x: Tensor, sigma: float, model: DiScoFormer, copies: int) -> NoisedData:
    options = {"context_size": CONTEXT, "replicas": copies, "seed": 0, "adapt": 0, "cache_size": 1}
    return NoisedData(model, some(x, CONTEXT), lambda level: 0.0, **options)


def answers(read: Tensor, asked: list[Tensor], sigma: float, places: list[tuple[int, int]], copies: int) -> dict:
    """Of each method and size the denoised pixels, (positions, images) of each of the sets that are asked for."""
    rotations, denoiser = DiScoFormer.from_pretrained("rotations"), DiscoDenoiser.from_pretrained()
    found: dict[tuple[str, int], list[list[Tensor]]] = {}
    for row, column in places:
        for size in SIZES:
            if size > read.shape[2]:
                continue
            middle = size * size // 2
            own, nearby = (near(read, row, column, size, reach) for reach in (0, 1))
            exact = {"exact": OptimalDenoiser(own), "exact, nearby": OptimalDenoiser(nearby)}
            methods = {name: lambda y, d=d: d(y, sigma) for name, d in exact.items()}
            methods["linear"] = lambda y, x=own: linear(y, x, sigma)
            if size in NETWORK_SIZES:
                blurred = noised(own, sigma, rotations, copies)
                methods["noised"] = lambda y, b=blurred: y - sigma * b.noise(y, sigma)
                for name, x in (("told", own), ("told, nearby", nearby)):
                    methods[name] = denoiser.condition(some(x, CONTEXT), sigma).denoise
            for name, method in methods.items():
                drawn = [method(patches(images, row, column, size))[:, middle] for images in asked]
                found.setdefault((name, size), []).append(drawn)
    return {key: [torch.stack(part) for part in zip(*each, strict=True)] for key, each in found.items()}


def measure(read: Tensor, chosen: Tensor, judged: Tensor, sigma: float, places: list, copies: int, seed: int) -> dict:
    """The mean squared error of each method, with the size taken, and of the stacks."""
    generator = torch.Generator().manual_seed(seed)
    asked = [images + sigma * torch.randn(images.shape, generator=generator) for images in (chosen, judged)]
    clean = [torch.stack([images[:, 0, row, column] for row, column in places]) for images in (chosen, judged)]
    every = answers(read, asked, sigma, places, copies)

    def error(part: int, value: Tensor) -> float:
        return float((value - clean[part]).square().mean())

    result = {}
    for name in dict.fromkeys(name for name, _ in every):
        best = min((size for n, size in every if n == name), key=lambda size: error(0, every[name, size][0]))
        result[name] = error(1, every[name, best][1]), f"{best}"

    def stack(*names: str) -> Tensor:
        both = [torch.stack([every[key][part] for key in every if key[0] in names]) for part in (0, 1)]
        weights = stacked(both[0], clean[0]).to(both[1])
        return (weights[:, None, None] * both[1]).sum(0)

    for title, names in {
        "stack": ("exact", "linear"),
        "stack, nearby": ("exact", "exact, nearby", "linear"),
        "stack, nearby, noised": ("exact", "exact, nearby", "linear", "noised"),
        "stack, nearby, told": ("exact", "exact, nearby", "linear", "told", "told, nearby"),
    }.items():
        result[title] = error(1, stack(*names)), ""
    shape = tuple(read.shape[1:])
    local = LocalData(read.flatten(1), shape, lambda level: [], near=Near.of(shape, len(read)), context_size=8192, seed=0)
    few = [local.answers(), [images.flatten(1) for images in asked]]
    both = [torch.stack([answer(y, sigma) for answer in few[0]]).unflatten(2, shape)[:, :, 0] for y in few[1]]
    weights = stacked(both[0], chosen[:, 0])
    pixels = (weights.to(both[1])[:, None, None, None] * both[1]).sum(0)
    result["windows"] = error(1, torch.stack([pixels[:, row, column] for row, column in places])), ""
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="an .npz file with images (N, H, W); scikit-learn's digits if not given")
    parser.add_argument("--read", type=int, default=None, help="images to read (default: 2500, of the bundled digits 1000)")
    parser.add_argument("--judged", type=int, default=300, help="images to judge by, and as many to choose on")
    parser.add_argument("--positions", type=int, default=8, help="pixels (default: %(default)s)")
    parser.add_argument("--copies", type=int, default=1, help="noised copies that DiScoFormer reads (default: %(default)s)")
    parser.add_argument("--levels", type=float, nargs="+", default=LEVELS)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    started = time.time()
    count = options.read or (2500 if options.data else 1000)
    read, chosen, judged = split(options.data, count, options.judged, options.judged, options.seed)
    side = read.shape[2]
    inner = torch.randint(side // 7, side - side // 7, (options.positions, 2), generator=torch.Generator().manual_seed(1))
    places = [(int(row), int(column)) for row, column in inner]
    rows, raw = [], []
    for sigma in options.levels:
        found = measure(read, chosen, judged, sigma, places, options.copies, options.seed)
        rows.append([f"{sigma:g}", *(f"{value:.4f}" + (f" ({size})" if size else "") for value, size in found.values())])
        raw.append({"sigma": sigma, "error": {name: value for name, (value, _) in found.items()}})
        print(" | ".join(rows[-1]), flush=True)
    name = "digits of 8 x 8" if options.data is None else f"{options.data.rpartition('/')[2]}, {side} x {side}"
    write(
        "diffusers_denoising",
        "Noise taken off pixels",
        __doc__.split("\n", 1)[1].strip() + f"\n\n{name}; {count} images read, {len(judged)} judged, {len(places)} positions, "
        f"{options.copies} noised copies.",
        ["noise", *found],
        rows,
        raw,
        started,
    )


if __name__ == "__main__":
    main()
