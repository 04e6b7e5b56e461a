import json
import os
import pickle
import shutil
import stat
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.torch import save_file

from disco_samplers import DiScoFormer, DiScoFormerConfig
from disco_samplers.estimate import hub
from disco_samplers.estimators import SHIPPED
from disco_samplers.files import load_checkpoint, load_weights, replacing, save_checkpoint, save_weights, write
from disco_samplers.files.weights import FORMAT

NAME = "model.safetensors"


def save(model, path, **changes):
    save_weights(path, model.state_dict(), model.config.to_dict() | changes)
    return path


def assert_same(a, b):
    assert a.config == b.config
    assert a.state_dict().keys() == b.state_dict().keys()
    for name, value in a.state_dict().items():
        assert torch.equal(value, b.state_dict()[name]), name


def test_round_trip(model, tmp_path):
    save(model, tmp_path / NAME)
    state, config = load_weights(tmp_path / NAME)
    assert config == model.config.to_dict()
    for name, value in model.state_dict().items():
        assert torch.equal(state[name], value)
        assert state[name].dtype == value.dtype


def test_config_is_json_in_the_header(small, tmp_path):
    content = save(small, tmp_path / NAME).read_bytes()
    size = int.from_bytes(content[:8], "little")
    metadata = json.loads(content[8 : 8 + size])["__metadata__"]
    assert metadata["format"] == FORMAT
    assert json.loads(metadata["config"]) == small.config.to_dict()


@pytest.mark.parametrize("where", ["folder", "file", "text"])
def test_from_pretrained(model, tmp_path, where):
    path = save(model, tmp_path / NAME)
    loaded = DiScoFormer.from_pretrained({"folder": tmp_path, "file": path, "text": str(tmp_path)}[where])
    assert_same(loaded, model)
    assert not loaded.training
    assert not any(p.requires_grad for p in loaded.parameters())
    x = torch.randn(30, 2, generator=torch.Generator().manual_seed(0))
    assert torch.equal(loaded.condition(x).score(x), model.condition(x).score(x))


def test_save_pretrained(model, tmp_path):
    model.save_pretrained(tmp_path / "new")
    assert_same(DiScoFormer.from_pretrained(tmp_path / "new"), model)


def test_the_card_says_what_the_model_is(model, tmp_path):
    model.save_pretrained(tmp_path)
    card = (tmp_path / "README.md").read_text()
    assert "[More Information Needed]" not in card
    assert "{{" not in card
    assert "arxiv.org/abs/2511.05924" in card
    assert "license: mit" in card
    assert "library_name: disco-samplers" in card
    assert (
        f'{sum(p.numel() for p in model.parameters()):,} parameters, 2 blocks, 4 heads, symmetry "{model.config.symmetry}"'
        in card
    )
    example = card.partition("```python\n")[2].partition("```")[0].replace("OWNER/MODEL", str(tmp_path))
    names = {"samples": torch.randn(30, 2, generator=torch.Generator().manual_seed(0)), "points": torch.zeros(3, 2)}
    exec(example, names)
    assert names["score"].shape == (3, 2)


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_weights_keep_their_card(name, tmp_path):
    model = DiScoFormer.from_pretrained(name)
    model.save_pretrained(tmp_path / "same")
    card = (tmp_path / "same" / "README.md").read_text()
    assert f"Model card: {name}" in card
    assert "score error" in card
    assert "arxiv.org/abs/2511.05924" in card
    model.network.heads.output.bias += 1.0
    model.save_pretrained(tmp_path / "trained")
    assert "for their makers to measure" in (tmp_path / "trained" / "README.md").read_text()


def test_file_of_any_name(small, tmp_path):
    assert_same(DiScoFormer.from_pretrained(save(small, tmp_path / "mine.safetensors")), small)


def test_missing(tmp_path):
    for path in (tmp_path, tmp_path / "no", str(tmp_path / "no.safetensors"), "./no", "no-such-folder"):
        with pytest.raises(FileNotFoundError, match="no weights file at"):
            DiScoFormer.from_pretrained(path)


def test_unknown_config_key(small, tmp_path):
    save(small, tmp_path / NAME, rotary=True)
    with pytest.raises(ValueError, match=r"unknown config key.*rotary"):
        DiScoFormer.from_pretrained(tmp_path)


def test_tensors_that_do_not_fit_the_config(small, tmp_path):
    save(small, tmp_path / NAME, width=24)
    with pytest.raises(ValueError, match="do not fit the configuration"):
        DiScoFormer.from_pretrained(tmp_path)


@pytest.mark.parametrize("kept", [0, 5, 8, 100, -1])
def test_truncated(small, tmp_path, kept):
    path = save(small, tmp_path / NAME)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        DiScoFormer.from_pretrained(tmp_path)


def test_other_files_are_refused(tmp_path):
    path = tmp_path / NAME
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match="not of a DiScoFormer"):
        load_weights(path)
    save_file({"a": torch.zeros(1)}, path, metadata={"format": FORMAT})
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        load_weights(path)
    path.write_text("hello")
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        load_weights(path)


class Bomb:
    """Leaves a trace if it is ever unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


@pytest.mark.parametrize("writer", ["pickle", "torch"])
def test_pickles_are_never_executed(tmp_path, writer):
    bomb = Bomb(tmp_path / "executed")
    for name in (NAME, "checkpoint.pt"):
        with open(tmp_path / name, "wb") as file:
            pickle.dump(bomb, file) if writer == "pickle" else torch.save({"bomb": bomb}, file)
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        load_weights(tmp_path / NAME)
    with pytest.raises(ValueError, match="not a whole training checkpoint"):
        load_checkpoint(tmp_path / "checkpoint.pt")
    assert not (tmp_path / "executed").exists()


def test_hub(small, tmp_path, monkeypatch):
    save(small, tmp_path / NAME)
    asked = []

    def download(repo_id, filename, **options):
        asked.append((repo_id, filename, options["revision"], options["token"]))
        return str(tmp_path / filename)

    def never(*args, **options):
        raise RuntimeError("a file was asked for that is not needed")

    monkeypatch.setattr(hub, "hf_hub_download", download)
    # The mixin's own method would ask for a config.json, which fails offline.
    monkeypatch.setattr("huggingface_hub.hub_mixin.hf_hub_download", never)
    loaded = DiScoFormer.from_pretrained("someone/disco", revision="v1", token="secret")
    assert_same(loaded, small)
    assert asked == [("someone/disco", NAME, "v1", "secret")]
    assert not loaded.training


def test_paths_never_go_to_the_hub(monkeypatch, tmp_path):
    def never(*args, **options):
        raise RuntimeError("the hub was asked")

    monkeypatch.setattr(hub, "hf_hub_download", never)
    monkeypatch.setattr("huggingface_hub.hub_mixin.hf_hub_download", never)
    for name in (
        "./a/b",
        "/no/such/folder",
        "~/a",
        "a/b/c",
        "name",
        tmp_path / "x" / "y",
        Path("runz/mine"),
        "runz/a.safetensors",
    ):
        with pytest.raises(FileNotFoundError):
            DiScoFormer.from_pretrained(name)


def test_a_mistyped_folder_is_not_looked_for_on_the_hub(small, tmp_path, monkeypatch):
    monkeypatch.setattr(hub, "hf_hub_download", lambda *_, **__: pytest.fail("the hub was asked"))
    save(small, tmp_path / "runs" / "mine" / NAME)
    monkeypatch.chdir(tmp_path)
    assert_same(DiScoFormer.from_pretrained("runs/mine"), small)
    with pytest.raises(FileNotFoundError, match="no weights file at runs/mnie/model"):
        DiScoFormer.from_pretrained("runs/mnie")


@pytest.mark.parametrize("error", [LocalEntryNotFoundError("offline"), ConnectionError("no network")])
def test_what_is_neither_here_nor_on_the_hub(monkeypatch, error):
    def fails(*args, **options):
        raise error

    monkeypatch.setattr(hub, "hf_hub_download", fails)
    monkeypatch.setattr(hub, "reachable", lambda: True)
    with pytest.raises(FileNotFoundError, match="no weights called runz/mine: there is no such folder here, and"):
        DiScoFormer.from_pretrained("runz/mine")


def test_without_a_network_nothing_is_waited_for(small, tmp_path, monkeypatch):
    def unknown(*args):
        raise OSError("name or service not known")

    asked = []

    def cached(*args, local_files_only):
        asked.append(local_files_only)
        if args[0] == "runz/mine":
            raise LocalEntryNotFoundError("not in the cache")
        return str(tmp_path / NAME)

    save(small, tmp_path / NAME)
    monkeypatch.setattr(hub, "getproxies", dict)
    monkeypatch.setattr("socket.getaddrinfo", unknown)
    monkeypatch.setattr(hub, "hf_hub_download", cached)
    assert_same(DiScoFormer.from_pretrained("someone/disco"), small)
    with pytest.raises(FileNotFoundError, match="runz/mine: there is no such folder here, and the hub cannot be reached"):
        DiScoFormer.from_pretrained("runz/mine")
    assert asked == [True, True]
    with pytest.raises(FileNotFoundError, match=r"no weights file at mine\.safetensors;"):
        DiScoFormer.from_pretrained("mine.safetensors")


@pytest.mark.parametrize("name", [None, "rotations", "someone/disco"])
@pytest.mark.parametrize("option", [{"device": "cuda"}, {"nonsense": 3}, {"Revision": "v1"}])
def test_unknown_options_of_loading(monkeypatch, name, option):
    monkeypatch.setattr(hub, "hf_hub_download", lambda *_, **__: pytest.fail("the hub was asked"))
    with pytest.raises(TypeError, match=f"from_pretrained has no option {next(iter(option))}: the device is map_location="):
        DiScoFormer.from_pretrained(name, **option)


def test_a_revision_of_what_is_not_on_the_hub(small, tmp_path):
    save(small, tmp_path / NAME)
    for name in ("axes", tmp_path):
        with pytest.raises(ValueError, match="revision is of a model on the hub"):
            DiScoFormer.from_pretrained(name, revision="v1")
        DiScoFormer.from_pretrained(name, local_files_only=True, token="secret")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_loading_changes_no_state_and_depends_on_none(small, tmp_path, dtype):
    save(small, tmp_path / NAME)
    random, default = torch.get_rng_state(), torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.inference_mode():
            loaded = DiScoFormer.from_pretrained(tmp_path)
    finally:
        torch.set_default_dtype(default)
    assert_same(loaded, small)
    assert torch.equal(torch.get_rng_state(), random)
    assert not any(p.is_inference() for p in loaded.parameters())
    save(small.to(torch.float64), tmp_path / NAME)
    assert DiScoFormer.from_pretrained(tmp_path).dtype == torch.float32


def test_a_device_without_float64(small, monkeypatch):
    for where in ("mps", "mps:0", torch.device("mps")):
        with pytest.raises(ValueError, match=f"map_location {where} does not work: whitening needs float64"):
            DiScoFormer.from_pretrained(map_location=where)
    estimate = small.condition(torch.arange(10.0).view(5, 2) ** 2)
    with pytest.raises(ValueError, match="device mps does not work: whitening needs float64"):
        estimate.to(device="mps")
    monkeypatch.setattr(DiScoFormer, "device", torch.device("mps"))
    with pytest.raises(ValueError, match="a model on mps does not work: whitening needs float64"):
        small.condition(torch.zeros(5, 2))


def test_shipped_weights(disco):
    assert disco.config == DiScoFormerConfig.from_dict(disco.config.to_dict())
    assert all(torch.isfinite(p).all() for p in disco.parameters())
    assert disco.network.heads.output.weight.any()
    assert not disco.training


@pytest.mark.parametrize("name", [f for f in DiScoFormerConfig().to_dict() if f not in ("symmetry", "determinant")])
@pytest.mark.parametrize("value", [0, -1, 1.5, "4", True, None])
def test_wrong_sizes(name, value):
    with pytest.raises(ValueError, match=f"{name} must be a positive integer"):
        DiScoFormerConfig(**{name: value})


def test_wrong_symmetry_and_unknown_keys():
    with pytest.raises(ValueError, match="symmetry must be one of"):
        DiScoFormerConfig(symmetry="translations")
    with pytest.raises(ValueError, match="unknown config key"):
        DiScoFormerConfig.from_dict({"depth": 3})
    assert DiScoFormerConfig.from_dict({}) == DiScoFormerConfig()


def test_training_checkpoint_round_trip(tmp_path):
    path = tmp_path / "deep" / "checkpoint.pt"
    state = {"step": 3, "weights": {"a": torch.arange(3.0)}, "losses": [1.0, 0.5], "name": "run"}
    save_checkpoint(path, state)
    loaded = load_checkpoint(path)
    assert torch.equal(loaded.pop("weights")["a"], torch.arange(3.0))
    assert loaded == {"step": 3, "losses": [1.0, 0.5], "name": "run"}
    with pytest.raises(FileNotFoundError, match="no checkpoint at"):
        load_checkpoint(tmp_path / "no.pt")
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(ValueError, match="not a whole training checkpoint"):
        load_checkpoint(path)
    torch.save(torch.zeros(2), path)
    with pytest.raises(ValueError, match="not a training checkpoint"):
        load_checkpoint(path)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_interrupted_write_leaves_the_old_file(tmp_path, error):
    target = tmp_path / "result.npy"
    target.write_bytes(b"old")

    def interrupted():
        with replacing(target) as temporary:
            assert temporary.suffix == ".npy"
            temporary.write_bytes(b"half of the ne")
            raise error

    with pytest.raises(error):
        interrupted()
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["result.npy"]


def test_a_write_replaces_the_whole_file(tmp_path):
    target = tmp_path / "folder" / "result.npy"
    write(target, lambda temporary: np.save(temporary, np.arange(1000)))
    write(str(target), lambda temporary: np.save(temporary, np.arange(3)))
    np.testing.assert_array_equal(np.load(target), np.arange(3))
    assert os.listdir(target.parent) == ["result.npy"]


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o000])
def test_written_files_follow_the_umask(tmp_path, monkeypatch, umask):
    old = os.umask(umask)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(os, "umask", lambda mask: pytest.fail("other threads would write files open to all"))
            write(tmp_path / "file", lambda temporary: temporary.write_text("x"))
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o666 & ~umask


def test_push_to_hub_uploads_what_from_pretrained_reads(small, tmp_path, monkeypatch):
    uploaded = {}

    class Api:
        def __init__(self, token=None):
            self.token = token

        def create_repo(self, repo_id, **options):
            return type("Repo", (), {"repo_id": repo_id})

        def upload_folder(self, *, repo_id, folder_path, **options):
            for path in folder_path.iterdir():
                shutil.copy(path, tmp_path / path.name)
            uploaded["repo"] = repo_id
            return "done"

    monkeypatch.setattr("huggingface_hub.hub_mixin.HfApi", Api)
    assert small.push_to_hub("someone/model") == "done"
    assert uploaded["repo"] == "someone/model"
    again = DiScoFormer.from_pretrained(tmp_path)
    assert again.config == small.config
    assert all(torch.equal(value, small.state_dict()[name]) for name, value in again.state_dict().items())
