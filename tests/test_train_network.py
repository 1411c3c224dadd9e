"""The network: the mathematics against its definitions, distortion, training as a command, and network.npz."""

import itertools
import os
import re
import threading
import time
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest
from conftest import run, write_random_csv

import train_network
from data_tocsv import InputError, read_csv
from train_network import SHAPES, backward, classify, cross_entropy, distort, forward, init_params, load_network, main


@pytest.fixture
def csvs(tmp_path, monkeypatch):
    """Work in a folder of two small CSV files; return the options that name them."""
    monkeypatch.chdir(tmp_path)
    write_random_csv(tmp_path / "train.csv", 200, 1)
    write_random_csv(tmp_path / "test.csv", 50, 2)
    return ["--train=train.csv", "--test=test.csv"]


@pytest.fixture
def params():
    return init_params(np.random.default_rng(0))


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


def test_a_new_network_has_no_biases_and_he_s_weights(params):
    for name, p in params.items():
        assert p.shape == SHAPES[name] and p.dtype == np.float32
        assert p.std() == pytest.approx(np.sqrt(2 / p.shape[1]) if name[0] == "w" else 0, rel=0.1)


def test_softmax_does_not_overflow(params):
    params["b3"] += 1e4 * np.arange(10)[:, np.newaxis]
    P = forward(params, np.zeros((784, 7)))[-1]
    assert np.isfinite(P).all() and np.allclose(P.sum(axis=0), 1)
    assert np.isfinite(cross_entropy(P, np.eye(10)[:, :7]))  # though the probability of the right digit is 0


def chosen(limit, normal=np.zeros):
    """Return a random generator whose numbers are 0, except the largest that is uniform up to `limit`, and `normal`."""
    return SimpleNamespace(
        uniform=lambda low, high, size=(): np.full(size, high * (-low == high == limit)), standard_normal=normal
    )


MOVES = {  # the limit, and where half of it moves z, which is y + 1j * x from the centre
    "turn": (12, lambda z: z * np.exp(1j * np.radians(6))),
    "slant": (0.15, lambda z: z - 0.075j * z.real),
    "stretch": (0.12, lambda z: z / 1.06),
    "shift": (1.5, lambda z: z - 0.75 - 0.75j),
}


@pytest.mark.parametrize("limit, moved", MOVES.values(), ids=MOVES)
def test_distortion_turns_slants_stretches_and_shifts(limit, moved):
    z = np.array([1, 1j]) @ (np.indices((28, 28)).reshape(2, 784) - 13.5)
    spot = np.exp(-(np.abs(z - (-5.5 + 3.5j)) ** 2) / 8)
    image = distort(spot.reshape(784, 1), chosen(limit), 0.5)[:, 0]
    assert abs(z @ image / image.sum() - moved(-5.5 + 3.5j)) < 0.04  # the centre of mass


def test_distortion_moves_neighbours_together_and_distant_pixels_apart():
    rng = chosen(None, np.random.default_rng(0).standard_normal)
    moves = np.array([train_network.random_grid(rng, 0.5) for _ in range(500)]) - train_network.GRID - 13.5
    moves = moves.reshape(1000, 28, 28) / (0.5 * 0.8)
    assert np.abs(moves.mean(axis=0)).max() < 0.2 and np.abs(moves.std(axis=0) - 1).max() < 0.2
    for distance in 1, 4, 8, 16:  # the correlation of blurred white noise
        pairs = [np.mean(moves[:, 6, 6] * other) for other in (moves[:, 6 + distance, 6], moves[:, 6, 6 + distance])]
        np.testing.assert_allclose(pairs, np.exp(-((distance / 8) ** 2)), atol=0.1)


def test_32_images_are_distorted_alike():
    X = distort(np.repeat(np.arange(784.0)[:, np.newaxis], 40, axis=1), np.random.default_rng(0), 1)
    assert (X[:, :32] == X[:, :1]).all() and (X[:, 32:] == X[:, -1:]).all() and not np.allclose(X[:, 0], X[:, -1])


def test_interpolation_is_exact_on_a_slope_and_repeats_the_border():
    X = np.arange(784, dtype=np.float32).reshape(784, 1)  # 28 more from row to row, 1 from column to column
    points = np.random.default_rng(0).uniform(-3, 30, (2, 784))
    y, x = points.clip(0, 27)
    np.testing.assert_allclose(train_network.interpolate(X, points)[:, 0], 28 * y + x, atol=0.03)


@pytest.mark.parametrize("epochs", [1, 2])
def test_training_is_this_loop(params, epochs):
    """Shuffled batches, a rate that rises in the first epoch and falls to 0, momentum, and weight decay."""
    rng = np.random.default_rng(0)
    pixels, labels = rng.integers(0, 256, (300, 784), np.uint8), rng.integers(0, 10, 300, np.uint8)
    params, expected = ({name: p.astype(float) for name, p in params.items()} for _ in range(2))
    losses = train_network.train(params, pixels, labels, np.random.default_rng(1), epochs=epochs, distortion=False)
    velocity, rng, steps = dict.fromkeys(expected, 0), np.random.default_rng(1), 0
    for _ in range(epochs):
        order, loss = rng.permutation(300), 0
        for batch in order[:128], order[128:256], order[256:]:
            X, Y = np.float32(1 / 255) * pixels[batch].T, np.eye(10)[:, labels[batch]]
            A1, A2, P = forward(expected, X)
            loss -= np.log(P[Y == 1]).sum()
            rate = 0.001 * min((steps + 1) / 3, 1) * (1 - steps / (3 * epochs))
            for name, gradient in backward(expected, X, A1, A2, P, Y).items():
                velocity[name] = 0.9 * velocity[name] + gradient
                expected[name] = expected[name] - rate * (velocity[name] + 128 * 0.001 * expected[name])
            steps += 1
        np.testing.assert_allclose(next(losses), loss / 300)
        for name, p in params.items():
            np.testing.assert_allclose(p, expected[name], atol=1e-9)


def test_distortion_becomes_weaker_and_the_loss_is_added_up_in_double_precision(params, monkeypatch):
    strengths, pixels = [], np.zeros((30, 784), np.uint8)
    monkeypatch.setattr(train_network, "distort", lambda X, rng, strength: strengths.append(strength) or X)
    losses = train_network.train(params, pixels, pixels[:, 0], np.random.default_rng(0), epochs=2, batch_size=10)
    assert [type(loss) for loss in losses] == [float, float]
    np.testing.assert_allclose(strengths, [1.3, 1.2, 1.1, 1, 0.9, 0.8])


def test_the_next_batch_is_made_while_one_is_used():
    events = [threading.Event(), threading.Event()]
    batches = train_network.prefetch(event.set() or event for event in events)
    assert next(batches) is events[0] and events[1].wait(9) and list(batches) == events[1:]


def test_training_prints_what_is_so_of_every_epoch_and_saves_the_network(csvs, capsys, monkeypatch):
    monkeypatch.setattr(time, "perf_counter", itertools.count(100, 1.5).__next__)
    assert main(csvs) == 0
    rng, lines = np.random.default_rng(1), []
    params, (labels, pixels), (test_labels, test_pixels) = init_params(rng), read_csv("train.csv"), read_csv("test.csv")
    for epoch, loss in enumerate(train_network.train(params, pixels, labels, rng), 1):
        accuracy = np.mean(classify(params, test_pixels).argmax(axis=0) == test_labels)
        lines.append(f"epoch {epoch}/10: loss {loss:.4f}, test accuracy {accuracy:.2%}, {1.5 * epoch:.1f} s")
    out, err = capsys.readouterr()
    assert out.splitlines() == lines and accuracy > 0.9
    assert "200 training images, 50 test images\n" in err and "next: python predict.py PICTURE_OR_FOLDER\n" in err
    with np.load("network.npz") as file:
        found = {name: (array.shape, array.dtype) for name, array in file.items()}
    shapes = {"w1": (256, 784), "b1": (256,), "w2": (64, 256), "b2": (64,), "w3": (10, 64), "b3": (10,)}
    assert found == {name: (shape, np.float32) for name, shape in shapes.items()}
    assert sorted(os.listdir()) == ["network.npz", "test.csv", "train.csv"]


def test_an_interruption_says_what_was_saved(csvs, monkeypatch):
    saved = 'network.npz holds epoch 1 of 10: go on with --resume "network.npz"'
    for name, message in ("say", saved), ("save_network", "nothing was saved"):
        monkeypatch.setattr(train_network, name, Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt, match=message):
            main(csvs)


def result(*options):
    """Return the bytes of network.npz after training with these options."""
    main([*options, "-q", "-o", "result.npz"])
    with open("result.npz", "rb") as file:
        return file.read()


def test_the_same_command_gives_the_same_file_and_every_option_another(csvs, capsys):
    first = result(*csvs, "--epochs=2")
    assert result(*csvs, "--epochs=2", "--seed=1") == first
    assert result(*csvs, "--epochs=2", "--batch-size=200") == result(*csvs, "--epochs=2", "--batch-size=999999")
    for option in "seed=0", "no-distortion", "momentum=0", "weight-decay=0", "batch-size=50", "epochs=3":
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
    out, err = capsys.readouterr()
    assert re.search(r"test accuracy (9\d|100)", out) and 'next: python predict.py --network "b.npz" PICTURE' in err
    before = load_network("a.npz")
    for name, p in load_network("b.npz").items():
        np.testing.assert_allclose(p, before[name], atol=1e-3)


@pytest.mark.filterwarnings("ignore")  # NumPy warns about overflow
@pytest.mark.parametrize("options", ["1", "1e6", "1e8 --batch-size=200", "1e-3 --weight-decay=1e6"])
def test_training_that_diverges_is_an_error_and_keeps_the_old_file(tmp_path, csvs, options):
    (tmp_path / "network.npz").write_bytes(b"old")
    with pytest.raises(InputError, match="epoch 1: training diverged: lower --learning-rate, .*--weight-decay"):
        main([*csvs, "--batch-size=10", "--learning-rate", *options.split()])  # 1e8: a finite loss
    assert (tmp_path / "network.npz").read_bytes() == b"old"
    assert sorted(os.listdir()) == ["network.npz", "test.csv", "train.csv"]


WRONG = (
    "--epochs=0 --epochs=1.5 --batch-size=1000000000000 --learning-rate=0 --learning-rate=nan --learning-rate=inf "
    "--batch-size=0 --momentum=-0.1 --momentum=nan --weight-decay=-1 --seed=-1 --nonsense --epoch=3 -oresult.csv"
)


@pytest.mark.parametrize("option", WRONG.split())
def test_options_out_of_range_are_usage_errors(csvs, capsys, option):
    with pytest.raises(SystemExit) as error:
        main([*csvs, option])
    assert error.value.code == 2 and not os.path.exists("network.npz")
    lines = capsys.readouterr().err.splitlines()
    assert option[:2] in lines[-1] and "error: " in lines[-1]
    assert ("--learning-rate must be above 0" in lines[-1]) == ("rate" in option)


UNUSABLE = {
    "-onone/x.npz": "no such folder: .*none'",
    "-ofolder.npz": "(directory|denied): 'folder.npz'",
    "--resume=none.npz": "none.npz: no such file: networks are made by train_network.py",
    "--resume=train.csv": "train.csv: not a network: not an npz file",
    "--train=none.csv": "none.csv: no such file: CSV files are made by data_tocsv.py",
}


@pytest.mark.parametrize("option", UNUSABLE)
def test_files_that_cannot_be_used_are_named(csvs, option):
    os.mkdir("folder.npz")
    with pytest.raises((InputError, OSError), match=UNUSABLE[option]):
        main([*csvs, "--epochs=1", option])


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
