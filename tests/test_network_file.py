"""network.npz: what is saved and loaded, and what is refused."""

import os
import shutil
import zipfile

import numpy as np
import pytest
from conftest import error_line, run

import train_network
from data_tocsv import InputError
from train_network import SHAPES, init_params, load_network


@pytest.fixture
def params():
    return init_params(np.random.default_rng(0))


def save_network(params, path):
    with open(path, "wb") as file:
        train_network.save_network(params, file)


def test_a_network_is_loaded_as_it_was_saved(tmp_path, params):
    save_network(params, tmp_path / "network.npz")
    for name, p in load_network(tmp_path / "network.npz").items():
        np.testing.assert_array_equal(p, params[name])
        assert p.dtype == np.float32


@pytest.mark.parametrize("dtype", ["float64", ">f4", ">f8", "int64", "float16"])
@pytest.mark.parametrize("column_biases", [True, False])
def test_networks_of_other_number_types_are_loaded(tmp_path, params, dtype, column_biases):
    for name in ("b1", "b2", "b3"):
        params[name] += 3
    arrays = {name: (100 * p).astype(dtype) for name, p in params.items()}
    flat = {name: p if column_biases or name[0] == "w" else p.ravel() for name, p in arrays.items()}
    np.savez_compressed(tmp_path / "seed.npz", extra=np.arange(3), **{n: np.asfortranarray(p) for n, p in flat.items()})
    for name, p in load_network(tmp_path / "seed.npz").items():
        np.testing.assert_array_equal(p, arrays[name].astype(np.float32))
        assert p.shape == SHAPES[name]


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("unpickled",)


def header(shape, descr="<f4"):
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


def with_member(name, data):
    """Return a function that puts raw data in place of one member of an npz file."""

    def change(path):
        with zipfile.ZipFile(path) as old, zipfile.ZipFile(str(path) + "2", "w", zipfile.ZIP_DEFLATED) as new:
            for info in old.infolist():
                new.writestr(info.filename, data if info.filename == name else old.read(info))
        shutil.move(str(path) + "2", path)

    return change


def with_arrays(**arrays):
    return lambda path: np.savez(path, **({n: p.ravel() for n, p in load_network(path).items()} | arrays))


BROKEN = {  # how a file is broken, and what must be said of it
    "missing": (os.remove, "train_network.py makes one"),
    "empty": (lambda path: path.write_bytes(b""), "not a network"),
    "text": (lambda path: path.write_text("hello"), "not a network"),
    "cut": (lambda path: path.write_bytes(path.read_bytes()[:400_000]), "not a network"),
    "flipped": (lambda path: path.write_bytes(path.read_bytes()[:5000] + b"12345" + path.read_bytes()[5005:]), "not a"),
    "no w2": (lambda path: np.savez(path, **{k: v for k, v in load_network(path).items() if k != "w2"}), "w2"),
    "npy": (lambda path: path.write_bytes(header((1,)) + bytes(4)), "not a network"),
    "wrong shape": (with_arrays(w1=np.zeros((784, 256))), "w1 is (784, 256), not (256, 784)"),
    "complex": (with_member("b2.npy", header((64,), "<c8") + bytes(512)), "complex64"),
    "text array": (with_member("b2.npy", header((64,), "<U1") + bytes(256)), "<U1"),
    "huge shape": (with_member("w1.npy", header((10**9, 10**9)) + bytes(64)), "not a network"),
    "huge header": (with_member("w1.npy", b"\x93NUMPY\x02\x00" + b" " * 10**6), "not a network"),
    "negative shape": (with_member("w1.npy", header((-1, 784)) + bytes(64)), "not a network"),
    "zip bomb": (with_member("w1.npy", header((10**6, 784)) + bytes(10**8)), "w1 is larger than 4 MB"),
    "short data": (with_member("b3.npy", header((10,)) + bytes(4)), "not a network"),
    "folder": (lambda path: (path.unlink(), path.mkdir()), "network.npz: "),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_file_that_is_no_network_is_refused_in_one_line(tmp_path, params, fault):
    path = tmp_path / "network.npz"
    save_network(params, path)
    change, message = BROKEN[fault]
    change(path)
    (tmp_path / "7.png").write_bytes(b"")
    line = error_line(run("predict.py", "7.png", cwd=tmp_path))
    assert "network.npz" in line and message in line, line


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300, 3.3e38])
def test_a_network_with_numbers_that_cannot_be_added_up_is_refused(tmp_path, params, name, value):
    arrays = {name: p.astype(float) for name, p in params.items()}
    arrays[name][3] = value
    np.savez(tmp_path / "network.npz", **arrays)
    with pytest.raises(InputError, match="its numbers are NaN, infinite or too large"):
        load_network(tmp_path / "network.npz")


@pytest.mark.parametrize("value", [1e9, -1e9, 1e15])
def test_a_network_of_huge_finite_weights_is_refused(tmp_path, params, value):
    huge = {name: np.full_like(p, value) for name, p in params.items()}
    save_network(huge, tmp_path / "network.npz")
    with pytest.raises(InputError, match="too large"):
        load_network(tmp_path / "network.npz")


@pytest.mark.parametrize("sign", [1, -1])
def test_no_sum_of_a_network_that_is_taken_leaves_float32(tmp_path, params, sign):
    largest = {name: np.full_like(p, 9.9e8) for name, p in params.items()}
    largest["w3"][::2] *= sign
    save_network(largest, tmp_path / "network.npz")
    with np.errstate(all="raise", under="ignore"):
        P = train_network.classify(load_network(tmp_path / "network.npz"), np.full((2, 784), 255, np.uint8))
    np.testing.assert_allclose(P.sum(axis=0), 1, rtol=1e-6)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_what_could_unpack_to_gigabytes_at_a_stroke_is_refused(tmp_path, params, method):
    with zipfile.ZipFile(tmp_path / "network.npz", "w", method) as archive:
        for name, p in params.items():
            archive.writestr(f"{name}.npy", header(p.shape) + p.tobytes())
    with pytest.raises(InputError, match="compressed in another way"):
        load_network(tmp_path / "network.npz")


def test_pickled_objects_are_never_unpickled(tmp_path, params, monkeypatch):
    monkeypatch.chdir(tmp_path)
    bomb = np.empty((256, 784), object)
    bomb[:] = Bomb()
    np.savez(tmp_path / "network.npz", **(params | {"w1": bomb}))
    with pytest.raises(InputError, match="Object arrays cannot be loaded"):
        load_network(tmp_path / "network.npz")
    assert not (tmp_path / "unpickled").exists()
