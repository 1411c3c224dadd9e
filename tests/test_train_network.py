"""The network: the mathematics against its definitions, distortion, training as a command, and network.npz."""

import os
import re

import numpy as np
import pytest
from conftest import run, write_random_csv

import train_network
from data_tocsv import InputError
from train_network import SHAPES, backward, cross_entropy, distort, forward, init_params, load_network, main


@pytest.fixture
def csvs(tmp_path, monkeypatch):
    """Work in a folder of two small CSV files; return the options that name them."""
    monkeypatch.chdir(tmp_path)
    write_random_csv(tmp_path / "train.csv", 200, 1)
    write_random_csv(tmp_path / "test.csv", 50, 2)
    return ["--train=train.csv", "--test=test.csv"]


# The mathematics. The README works a small network by hand.


def test_the_gradient_of_every_parameter_agrees_with_finite_differences():
    rng = np.random.default_rng(0)
    shapes = {"w1": (12, 20), "b1": (12, 1), "w2": (9, 12), "b2": (9, 1), "w3": (10, 9), "b3": (10, 1)}
    params = {name: rng.normal(0, 0.5, shape) for name, shape in shapes.items()}
    X, Y = rng.random((20, 7)), np.eye(10)[:, rng.integers(0, 10, 7)]

    def loss(name, change):
        return cross_entropy(forward(params | {name: params[name] + change}, X)[-1], Y)

    grads = backward(params, X, *forward(params, X), Y)
    assert list(grads) == list(params)
    for name, p in params.items():
        steps = 1e-5 * np.eye(p.size).reshape(p.size, *p.shape)  # of each number in turn
        numeric = np.array([loss(name, step) - loss(name, -step) for step in steps]).reshape(p.shape) / 2e-5
        assert np.abs(numeric - grads[name]).max() < 1e-6 * np.abs(numeric).max(), name


def test_softmax_does_not_overflow():
    rng = np.random.default_rng(0)
    params = init_params(rng)
    params["b3"] += 1e4 * np.arange(10)[:, np.newaxis]
    P = forward(params, rng.random((784, 7)))[-1]
    assert np.isfinite(P).all() and np.allclose(P.sum(axis=0), 1)


# Distortion.


def blob(y, x):
    """Return an image (784, 1) of a round spot with its centre at y, x."""
    row, column = np.indices((28, 28))
    return np.exp(-((row - y) ** 2 + (column - x) ** 2) / 8).reshape(784, 1).astype(np.float32)


def distorted(X, count):
    """Return the results of distorting X several times."""
    rng = np.random.default_rng(0)
    return np.array([distort(X, rng, 1) for _ in range(count)])


def test_distortion_moves_ink_a_little_and_keeps_its_amount():
    images = distorted(blob(14, 9), 300).reshape(300, 784)
    ink = images.sum(axis=1, keepdims=True)
    moves = images @ np.indices((28, 28)).reshape(2, 784).T / ink - (14, 9)  # of the centre of mass
    assert np.abs(moves.mean(axis=0)).max() < 0.3  # no drift
    assert (moves.std(axis=0) > 0.5).all() and np.abs(moves).max() < 5
    assert 0.95 < ink.mean() / blob(14, 9).sum() < 1.1


def test_distortion_turns_and_stretches():
    row, column = np.indices((28, 28))
    bar = (np.abs(row - 13.5) < 2) & (np.abs(column - 13.5) < 8)
    slopes, lengths = [], []
    for image in distorted(bar.reshape(784, 1).astype(np.float32), 200).reshape(200, 784):
        y, x = (np.indices((28, 28)).reshape(2, 784) * image).sum(axis=1, keepdims=True) / image.sum()
        dy, dx = row.ravel() - y, column.ravel() - x
        slopes.append((dy * dx * image).sum() / (dx * dx * image).sum())
        lengths.append(np.sqrt((dx * dx * image).sum() / image.sum()))
    assert 0.1 < np.std(slopes) < 0.2
    assert 0.085 < np.std(lengths) / np.mean(lengths) < 0.15  # without the elastic field 0.07


def test_every_pixel_is_an_average_of_pixels():
    np.testing.assert_allclose(distorted(np.ones((784, 50), np.float32), 3), 1, atol=1e-5)


def test_interpolation_is_exact_on_a_slope():
    X = np.arange(784, dtype=np.float32).reshape(784, 1)  # 28 more from row to row, 1 from column to column
    y, x = np.random.default_rng(0).uniform(0, 26.9, (2, 784))
    np.testing.assert_allclose(train_network.interpolate(X, np.array([y, x]))[:, 0], 28 * y + x, rtol=1e-4)


# Training.


def accuracies(out):
    return [float(value) for value in re.findall(r"test accuracy (.*)%", out)]


def test_training_learns_prints_a_line_an_epoch_and_saves_the_network(csvs, capsys):
    assert main([*csvs, "--epochs=12"]) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 12 and out.splitlines()[2].startswith("epoch 3/12: loss ")
    assert accuracies(out)[-1] > 90
    assert "200 training images, 50 test images\n" in err and "next: python predict.py PICTURE_OR_FOLDER\n" in err
    with np.load("network.npz") as file:
        found = {name: (array.shape, array.dtype) for name, array in file.items()}
    shapes = {"w1": (256, 784), "b1": (256,), "w2": (64, 256), "b2": (64,), "w3": (10, 64), "b3": (10,)}
    assert found == {name: (shape, np.float32) for name, shape in shapes.items()}
    assert sorted(os.listdir()) == ["network.npz", "test.csv", "train.csv"]


def test_training_on_the_test_images_gives_a_warning(csvs, capsys):
    for train in "test.csv", "./train.csv":
        main([f"--train={train}", "--test=train.csv", "--epochs=1"])
        assert "warning: --train looks like the test images" in capsys.readouterr().err
    os.rename("train.csv", "latest.csv")
    main(["--train=latest.csv", "--test=test.csv", "--epochs=1"])
    assert "warning" not in capsys.readouterr().err


def result(*options):
    """Return the bytes of network.npz after training with these options."""
    main([*options, "-q", "-o", "result.npz"])
    with open("result.npz", "rb") as file:
        return file.read()


def test_the_same_command_gives_the_same_file_and_every_option_another(csvs, capsys):
    first = result(*csvs, "--epochs=2")
    assert result(*csvs, "--epochs=2", "--seed=1") == first
    for option in "seed=2", "no-distortion", "momentum=0.5", "weight-decay=0.1", "batch-size=50", "epochs=3":
        assert result(*csvs, "--epochs=2", f"--{option}") != first, option
    assert capsys.readouterr() == ("", "")  # they are quiet


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the cores cannot be limited here")
def test_the_file_is_the_same_on_one_core(tmp_path, csvs):
    env = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    one = {"preexec_fn": lambda: os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])}
    for name, options in ("a.npz", {}), ("b.npz", one):
        run("train_network.py", *csvs, "--epochs=2", "-o", name, cwd=tmp_path, check=0, env=env, **options)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_resume_continues_from_a_saved_network(csvs, capsys):
    main([*csvs, "--epochs=12", "-o", "a.npz"])
    capsys.readouterr()
    main([*csvs, "--resume=a.npz", "--learning-rate=1e-9", "--epochs=1", "-o", "b.npz"])
    assert accuracies(capsys.readouterr().out)[0] > 90
    before = load_network("a.npz")
    for name, p in load_network("b.npz").items():
        np.testing.assert_allclose(p, before[name], atol=1e-3)


@pytest.mark.filterwarnings("ignore")  # NumPy warns about overflow
@pytest.mark.parametrize("rate", ["1", "1e6"])
def test_training_that_diverges_is_an_error_and_keeps_the_old_file(tmp_path, csvs, rate):
    (tmp_path / "network.npz").write_bytes(b"old")
    with pytest.raises(InputError, match="epoch 1: training diverged: lower --learning-rate"):
        main([*csvs, "--learning-rate", rate, "--batch-size=10"])
    assert (tmp_path / "network.npz").read_bytes() == b"old"
    assert sorted(os.listdir()) == ["network.npz", "test.csv", "train.csv"]


WRONG = (
    "--epochs=0 --epochs=1.5 --batch-size=1000000000000 --learning-rate=-1 --learning-rate=nan --learning-rate=inf "
    "--batch-size=0 --momentum=-0.1 --momentum=nan --weight-decay=-1 --seed=-1 --nonsense --epoch=3 -oresult.csv"
)


@pytest.mark.parametrize("option", WRONG.split())
def test_options_out_of_range_are_usage_errors(csvs, capsys, option):
    with pytest.raises(SystemExit) as error:
        main([*csvs, option])
    assert error.value.code == 2 and not os.path.exists("network.npz")
    lines = capsys.readouterr().err.splitlines()
    assert option[:2] in lines[-1] and "error: " in lines[-1]


UNUSABLE = {
    "-onone/x.npz": "none/x.npz",
    "-ofolder.npz": "Is a directory: 'folder.npz'",
    "--resume=none.npz": "none.npz: no such file: networks are made by train_network.py",
    "--train=none.csv": "none.csv: no such file: CSV files are made by data_tocsv.py",
}


@pytest.mark.parametrize("option", UNUSABLE)
def test_files_that_cannot_be_used_are_named(csvs, option):
    os.mkdir("folder.npz")
    with pytest.raises((InputError, OSError), match=UNUSABLE[option]):
        main([*csvs, "--epochs=1", option])


# The network file.


@pytest.fixture
def params():
    return init_params(np.random.default_rng(0))


@pytest.fixture
def path(tmp_path, params):
    """The path of a network's file."""
    with open(tmp_path / "network.npz", "wb") as file:
        train_network.save_network(params, file)
    return tmp_path / "network.npz"


@pytest.mark.parametrize("dtype", ["float64", ">f4", "int64", "float16"])
def test_other_number_types_and_column_biases_are_loaded(path, params, dtype):
    arrays = {name: np.asfortranarray((100 * p + 3).astype(dtype)) for name, p in params.items()}
    np.savez_compressed(path, extra=np.arange(3), **arrays)
    for name, p in load_network(path).items():
        np.testing.assert_array_equal(p, arrays[name].astype(np.float32))
        assert p.shape == SHAPES[name] and p.dtype == np.float32


BAD_ARRAYS = {  # what is changed in a network, and the message
    "transposed": ({"w1": np.zeros((784, 256))}, r"w1 is \(784, 256\), not \(256, 784\)"),
    "short": ({"b3": np.zeros(9)}, r"b3 is \(9,\)"),
    "flat": ({"w3": np.zeros(640)}, r"w3 is \(640,\)"),
    "number": ({"b3": np.array(1.0)}, ""),
    "complex": ({"b2": np.zeros(64, complex)}, "complex"),
    "text": ({"b2": np.zeros(64, "U1")}, "U1"),
    "objects": ({"w1": np.full((256, 784), None)}, "Object arrays cannot be loaded"),
    "missing": ({"w2": None}, "w2"),
    "nan": ({"w2": np.full((64, 256), np.nan)}, "its numbers are NaN, infinite or too large"),
    "too large": ({"b1": np.full(256, -1e9)}, "too large"),
    "too large for float32": ({"b1": np.full(256, 1e300)}, "too large"),
}


@pytest.mark.filterwarnings("ignore")  # NumPy warns about overflow
@pytest.mark.parametrize("fault", BAD_ARRAYS)
def test_wrong_arrays_are_refused(path, params, fault):
    arrays, message = BAD_ARRAYS[fault]
    np.savez(path, **{name: p for name, p in (params | arrays).items() if p is not None})
    with pytest.raises(InputError, match=f"network.npz: not a network: .*{message}"):
        load_network(path)


def test_broken_files_are_refused_in_one_line(path):
    good = path.read_bytes()
    damaged = [good[:400_000], good[:400_000] + bytes(100) + good[400_100:]]
    for data in [b"", b"text", b"\x80\x04K\x01.", b"\x93NUMPY\x01\x00", *damaged]:
        path.write_bytes(data)
        with pytest.raises(InputError, match=r"network.npz: not a network: .+\Z"):
            load_network(path)
