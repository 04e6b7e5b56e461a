"""The same answers on a GPU as on the CPU: `pytest -m gpu` on a machine with CUDA.

Float32 on both sides, so what is compared is arithmetic in another order: tolerances are relative to the answers' own size.
"""

import math
from importlib.resources import files

import pytest
import torch

from disco_samplers import DiScoFormer
from disco_samplers.model.attention import attend
from disco_samplers.training import Trainer, TrainingConfig
from disco_samplers.training.passes import FinitePasses, Passes, work_of
from disco_samplers.training.stream import StreamConfig, make_batch

AXES = str(files("disco_samplers") / "weights" / "axes" / "model.safetensors")

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


def _gap(ours, reference):
    ours, reference = ours.detach().double().cpu(), reference.detach().double().cpu()
    return float((ours - reference).norm() / reference.norm())


def _features(b, h, m, n, e, seed=0):
    generator = torch.Generator().manual_seed(seed)
    q, k, v = (torch.randn(b, h, size, e, generator=generator) for size in (m, n, n))
    v[..., -1] = 1
    return 0.5 * q, k, v


@pytest.mark.parametrize("shape", [(2, 3, 70, 130, 16), (1, 6, 500, 1000, 40), (1, 2, 33, 65, 312), (70_000, 1, 3, 5, 16)])
def test_attention_and_its_gradients(shape):
    q, k, v = _features(*shape)
    exact = [t.double().requires_grad_() for t in (q, k, v)]
    ours = [t.cuda().requires_grad_() for t in (q, k, v)]
    weights = torch.randn(shape[0], shape[1], shape[2], generator=torch.Generator().manual_seed(1))
    answers = []
    for tensors in (exact, ours):
        out, lse = attend(*tensors)
        w = weights.to(out)
        ((out[..., :-1].sum(-1) * w).sum() + (lse * w.square()).sum()).backward()
        answers.append((out, lse))
    for mine, right in zip(answers[1], answers[0], strict=True):
        assert _gap(mine, right) < 2e-5
    for mine, right in zip(ours, exact, strict=True):
        assert _gap(mine.grad, right.grad) < 2e-4


def test_second_derivatives_of_attention():
    grads = []
    for device, dtype in (("cpu", torch.float64), ("cuda", torch.float32)):
        q, k, v = (t.to(device, dtype) for t in _features(1, 2, 20, 50, 24))
        q.requires_grad_()
        out, lse = attend(q, k, v)
        (first,) = torch.autograd.grad((out.sin().sum() + lse.square().sum()), q, create_graph=True)
        (second,) = torch.autograd.grad(first.square().sum(), q)
        grads.append(second)
    assert _gap(grads[1], grads[0]) < 2e-4


@pytest.mark.parametrize("weights", ["axes", "rotations"])
@pytest.mark.parametrize(("d", "n"), [(1, 300), (2, 3000), (10, 1000), (40, 500)])
def test_estimates_are_those_of_the_cpu(weights, d, n):
    generator = torch.Generator().manual_seed(d)
    x = torch.randn(n, d, generator=generator).exp()
    y = torch.randn(200, d, generator=generator).exp()
    right = DiScoFormer.from_pretrained(weights).condition(x).log_prob_and_score(y)
    ours = DiScoFormer.from_pretrained(weights, map_location="cuda").condition(x.cuda()).log_prob_and_score(y.cuda())
    assert ours[0].device.type == "cuda"
    assert float((ours[0].cpu() - right[0]).abs().max()) < 2e-3 * math.sqrt(d)
    assert _gap(ours[1], right[1]) < 1e-3


def test_many_data_sets_at_once():
    # CUDA grids end at 65,535 blocks in some directions.
    x = torch.randn(66_000, 8, 2, generator=torch.Generator().manual_seed(0))
    estimate = DiScoFormer.from_pretrained(map_location="cuda").condition(x.cuda())
    some = torch.tensor([0, 1, 65_999])
    right = DiScoFormer.from_pretrained().condition(x[some]).score(x[some, :2])
    assert _gap(estimate.score(x[:, :2].cuda())[some.cuda()], right) < 1e-3


def test_adapting_and_sampling():
    x = torch.randn(300, 2, generator=torch.Generator().manual_seed(0)).exp()
    estimate = DiScoFormer.from_pretrained(map_location="cuda").condition(x.cuda()).adapt(progress=False)
    draws = estimate.sample(50, generator=torch.Generator("cuda").manual_seed(1))
    assert draws.device.type == "cuda"
    assert bool(torch.isfinite(draws).all())


@pytest.mark.parametrize("family", ["paper", "edged", "ridged"])
def test_training_step(family, tmp_path):
    gradients = []
    batch = make_batch(family, 4, 3, 128, 64, torch.Generator().manual_seed(0), far=4, weighted=True, columns=True)
    for device in ("cpu", "cuda"):
        trainer = Trainer(DiScoFormer.from_pretrained().config, TrainingConfig(), tmp_path, device)
        trainer.start_from(AXES)
        Passes(trainer.network, trainer.config, trainer.device)(batch, False)
        gradients.append(torch.cat([p.grad.flatten().cpu() for p in trainer.network.parameters() if p.grad is not None]))
    # bf16 autocast on both sides, rounded in different orders.
    assert _gap(gradients[1], gradients[0]) < 0.1


def test_recorded_steps_are_those_taken_one_by_one(tmp_path):
    config = TrainingConfig(consistency=0.2, stream=StreamConfig(grid=True))
    trainer = Trainer(DiScoFormer.from_pretrained().config, config, tmp_path, "cuda")
    trainer.start_from(AXES)
    batches = [
        make_batch("paper", 3, 2, n, 64, torch.Generator().manual_seed(seed), far=4, weighted=seed % 2 == 0, columns=True)
        for seed, n in enumerate((160, 4096, 160, 4096, 160))
    ]
    work = work_of(trainer.network, trainer.config, trainer.device)
    plain = FinitePasses(trainer.network, trainer.config, trainer.device)
    with torch.cuda.stream(work.stream):
        for batch in batches:
            gradients = []
            for way in (plain, work):
                torch._foreach_zero_([p.grad for p in trainer.network.parameters()])
                losses = way(batch, True)
                gradients.append(torch.cat([p.grad.flatten() for p in trainer.network.parameters()]))
            assert float(losses.total.detach()) > 0
            assert _gap(gradients[1], gradients[0]) < 0.02
    torch.cuda.synchronize()
