"""Files that were damaged: an error that names the file, or finite numbers, whatever byte is wrong."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from disco_samplers import Draws, read, save
from disco_samplers.draws import DrawsWarning

TEXTS = {
    "stan.csv": "# method = sample\nlp__,divergent__,mu,theta.1\n# Adaptation terminated\n"
    + "".join(f"-{i}.5,0,{i}.25,{i * i}e-1\n" for i in range(6)),
    "cobaya.txt": "# weight minuslogpost a b chi2\n" + "".join(f" {1 + i % 2} 3.{i} 0.{i} -{i} 2\n" for i in range(6)),
    "nested.txt": "weight logl logl_birth a\n" + "".join(f"0.{i} -{9 - i} -1e30 {i}.5\n" for i in range(6)),
    "x_dead-birth.txt": "".join(f"0.{i} {i} {i} -1e30\n" for i in range(6)),
    "decimal.csv": "a;b\n" + "".join(f"{i},5;NA{i}"[:5] + "\n" for i in range(3)) + "".join(f"{i},25;{i}\n" for i in range(6)),
    "posterior.csv": ".chain,.iteration,.draw,lp__,mu\n" + "".join(f"{i // 3},{i % 3},{i},-{i}.5,{i}.25\n" for i in range(6)),
    "plain.csv": "chain,draw,mu,.log_weight\n" + "".join(f"{i // 3},{i % 3},{i}.5,-{i}\n" for i in range(6)),
}
BYTES = [b"", b"\0", b",", b";", b"\n", b"#", b'"', b"-", b"e", b"9" * 30, b"nan", b"\xff", b"_", b" ", b"1e999", b"[", b"\t"]


def damaged(content, rng):
    """The content with a run of bytes lost, doubled or replaced, or its end cut off."""
    for _ in range(rng.integers(1, 4)):
        at, length = rng.integers(0, len(content) + 1), rng.integers(0, 12)
        kind = rng.integers(0, 4)
        if kind == 0:
            content = content[:at] + content[at + length :]
        elif kind == 1:
            content = content[: at + length] + content[at:]
        elif kind == 2:
            content = content[:at] + BYTES[rng.integers(len(BYTES))] + content[at + 1 :]
        else:
            content = content[:at] + bytes(rng.integers(0, 256, 3).tolist()) + content[at + 3 :]
    return content


def judge(path):
    """Whether a file was read; what else may happen is one error, of one line, that names it."""
    said = ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DrawsWarning)
            draws = read(path)
    except ValueError as error:
        said = str(error)
    if said:
        assert path.name in said
        assert "\n" not in said
        return False
    assert np.isfinite(draws.values.numpy()).all()
    assert draws.weights is None or np.isfinite(draws.weights.numpy()).all()
    return True


@pytest.mark.parametrize("name", TEXTS)
def test_damaged_text(name, tmp_path):
    rng = np.random.default_rng(list(name.encode()))
    path = tmp_path / name
    content = TEXTS[name].encode()
    read_ones = 0
    for _ in range(300):
        path.write_bytes(damaged(content, rng))
        read_ones += judge(path)
    assert 0 < read_ones < 300 or name == "decimal.csv"


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".parquet", ".feather", ".nc", ".h5", ".csv.gz", ".csv.xz"])
def test_damaged_binary(suffix, tmp_path):
    for module in {".nc": ["arviz", "h5netcdf", "h5py"], ".h5": ["h5py"], ".parquet": ["pyarrow"], ".feather": ["pyarrow"]}.get(
        suffix, []
    ):
        pytest.importorskip(module)
    rng = np.random.default_rng(list(suffix.encode()))
    path = tmp_path / f"t{suffix}"
    values = rng.normal(size=(2, 20, 2))
    if suffix == ".h5":
        import h5py

        with h5py.File(path, "w") as file:
            group = file.create_group("mcmc")
            group.attrs["iteration"] = 20
            group["chain"], group["log_prob"] = values.swapaxes(0, 1), values[..., 0].T
    else:
        save(path, Draws(values, names=["a", "b"]))
    content = path.read_bytes()
    for _ in range(6 if suffix == ".nc" else 60):
        path.write_bytes(damaged(content, rng))
        judge(path)
