"""The network: the mathematics against its definitions, distortion, and training as a command."""

import gc
import os
import re
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from conftest import REPO, error_line, run, write_rows

import train_network
from train_network import SHAPES, backward, cross_entropy, distort, forward, init_params, load_network


@pytest.fixture
def csvs(tmp_path):
    """Options that name two small CSV files."""
    write_rows(tmp_path / "train.csv", 200, 1)
    write_rows(tmp_path / "test.csv", 50, 2)
    return ["--train", "train.csv", "--test", "test.csv"]


# The mathematics.


def make_problem(*sizes):
    """Return a network of these sizes, X and Y of 7 images, in float64, with biases that are not 0."""
    rng = np.random.default_rng(0)
    params = {}
    for layer, (inputs, outputs) in enumerate(zip(sizes, sizes[1:]), 1):
        params[f"w{layer}"] = rng.normal(0, np.sqrt(2 / inputs), (outputs, inputs))
        params[f"b{layer}"] = rng.normal(0, 0.5, (outputs, 1))
    return params, rng.random((sizes[0], 7)), np.eye(10)[:, rng.integers(0, 10, 7)]


def loss_along(params, name, direction, X, Y):
    """Return the derivative of the loss along `direction` in params[name], as a central difference."""
    h = 1e-5
    up, down = (params | {name: params[name] + sign * h * direction} for sign in (1, -1))
    return (cross_entropy(forward(up, X)[-1], Y) - cross_entropy(forward(down, X)[-1], Y)) / (2 * h)


def test_forward_is_the_formula():
    params, X, _ = make_problem(784, 256, 64, 10)
    W1, b1, W2, b2, W3, b3 = params.values()
    for x, p in zip(X.T[..., np.newaxis], forward(params, X)[-1].T):
        z = W3 @ np.maximum(0, W2 @ np.maximum(0, W1 @ x + b1) + b2) + b3
        np.testing.assert_allclose(p, (np.exp(z) / np.exp(z).sum())[:, 0], rtol=1e-12)


def test_a_network_small_enough_to_work_by_hand():
    # 2 -> 1 -> 1 -> 2, x = (1, 2): z1 = 0.5 - 2 + 3 = 1.5, z2 = 2 * 1.5 - 1 = 2, z3 = (2, 0), p = e^2 / (e^2 + 1), ...
    one = np.array([[1.0]])
    params = {"w1": np.array([[0.5, -1]]), "b1": 3 * one, "w2": 2 * one, "b2": -one}
    params |= {"w3": np.array([[1.0], [0]]), "b3": np.zeros((2, 1))}
    X, Y = np.array([[1.0], [2]]), np.array([[0.0], [1]])
    A1, A2, P = forward(params, X)
    p = np.exp(2) / (np.exp(2) + 1)
    np.testing.assert_allclose([A1[0, 0], A2[0, 0], *P[:, 0]], [1.5, 2, p, 1 - p])
    grads = backward(params, X, A1, A2, P, Y)  # dZ3 = (p, -p), dZ2 = p, dZ1 = 2 p
    expected = {
        "w1": [[2 * p, 4 * p]],
        "b1": 2 * p,
        "w2": 1.5 * p,
        "b2": p,
        "w3": [[2 * p], [-2 * p]],
        "b3": [[p], [-p]],
    }
    for name, value in expected.items():
        np.testing.assert_allclose(grads[name], np.broadcast_to(value, params[name].shape), err_msg=name)


def test_the_gradient_of_every_parameter_agrees_with_finite_differences():
    params, X, Y = make_problem(20, 12, 9, 10)
    grads = backward(params, X, *forward(params, X), Y)
    assert list(grads) == list(params)
    for name, p in params.items():
        units = np.eye(p.size).reshape(p.size, *p.shape)  # a 1 at each place in turn
        numeric = np.array([loss_along(params, name, unit, X, Y) for unit in units]).reshape(p.shape)
        assert np.abs(numeric - grads[name]).max() < 1e-6 * np.abs(numeric).max(), name


def test_the_gradients_of_the_real_network_agree_with_finite_differences():
    params, X, Y = make_problem(784, 256, 64, 10)
    grads = backward(params, X, *forward(params, X), Y)
    rng = np.random.default_rng(1)
    for name, p in params.items():
        for _ in range(20):  # a random direction has a share of every weight in it
            direction = rng.choice([-0.1, 0.1], p.shape)
            numeric = loss_along(params, name, direction, X, Y)
            assert abs(numeric - (grads[name] * direction).sum()) < 1e-6 * np.linalg.norm(grads[name]), name


def test_softmax_does_not_overflow_and_takes_any_scale():
    params, X, _ = make_problem(784, 256, 64, 10)
    params["b3"] += 1e4 * np.arange(10)[:, np.newaxis]
    P = forward(params, X)[-1]
    assert np.isfinite(P).all() and np.allclose(P.sum(axis=0), 1)


# Distortion.


def blob(y, x):
    """Return an image (784, 1) of a round spot with its centre at y, x."""
    row, column = np.indices((28, 28))
    return np.exp(-((row - y) ** 2 + (column - x) ** 2) / 8).reshape(784, 1).astype(np.float32)


def centre_of_mass(image):
    image = image.reshape(28, 28)
    return np.array([(np.indices((28, 28))[axis] * image).sum() / image.sum() for axis in (0, 1)])


def test_distortion_moves_ink_a_little_and_differently_each_time():
    rng = np.random.default_rng(0)
    moves = np.array([centre_of_mass(distort(blob(14, 9), rng, 1)) - (14, 9) for _ in range(300)])
    assert np.abs(moves.mean(axis=0)).max() < 0.3  # no drift
    assert (moves.std(axis=0) > 0.5).all() and np.abs(moves).max() < 5


def test_distortion_keeps_the_amount_of_ink_and_its_range():
    rng = np.random.default_rng(0)
    ink = [distort(blob(13, 14), rng, 1).sum() / blob(13, 14).sum() for _ in range(300)]
    assert 0.95 < np.mean(ink) < 1.1
    out = distort(np.ones((784, 50), np.float32), rng, 1)
    np.testing.assert_allclose(out, 1, atol=1e-5)  # every pixel is an average of four


def test_a_distortion_of_no_strength_takes_every_pixel_from_its_own_place():
    X = np.random.default_rng(0).random((784, 40), np.float32)
    points = train_network.random_points(np.random.default_rng(0), 0)
    np.testing.assert_allclose(points, np.indices((28, 28)).reshape(2, 784), atol=1e-12)
    np.testing.assert_allclose(distort(X, np.random.default_rng(0), 0), X, atol=0.002)  # 0.001 is kept from the border


def test_between_four_pixels_the_nearer_weigh_more():
    X = np.arange(784, dtype=np.float32).reshape(784, 1)  # 28 more from row to row, 1 from column to column
    y, x = np.random.default_rng(0).uniform(0, 26.9, (2, 784))
    np.testing.assert_allclose(train_network.interpolate(X, np.array([y, x]))[:, 0], 28 * y + x, rtol=1e-4)


def test_distortion_treats_an_image_alike_wherever_it_stands_among_its_32_neighbours():
    out = distort(np.repeat(blob(14, 14), 70, axis=1), np.random.default_rng(0), 1)
    assert (out[:, :32] == out[:, :1]).all() and (out[:, 64:] == out[:, 64:65]).all()
    assert (out[:, 0] != out[:, 32]).any() and (out[:, 32] != out[:, 64]).any()


# Training.


def train(*args, cwd, **options):
    return run("train_network.py", *args, cwd=cwd, **options)


def accuracies(result):
    return [float(value) for value in re.findall(r"test accuracy (.*)%", result.stdout)]


def test_training_prints_a_line_an_epoch_and_saves_the_network(tmp_path, csvs):
    result = train(*csvs, "--epochs", "12", cwd=tmp_path, check=0)
    lines = result.stdout.splitlines()
    assert len(lines) == 12 and lines[2].startswith("epoch 3/12: loss ")
    assert accuracies(result)[-1] > 90
    assert "predict.py" in result.stderr
    with np.load(tmp_path / "network.npz") as file:
        found = {name: (array.shape, array.dtype) for name, array in file.items()}
    shapes = {"w1": (256, 784), "b1": (256,), "w2": (64, 256), "b2": (64,), "w3": (10, 64), "b3": (10,)}
    assert found == {name: (shape, np.float32) for name, shape in shapes.items()}


def test_quiet_says_nothing(tmp_path, csvs):
    result = train(*csvs, "--epochs", "1", "-q", cwd=tmp_path, check=0)
    assert result.stdout == result.stderr == ""


@pytest.mark.parametrize("option", ["--seed=1", "--no-distortion"])
def test_the_same_command_gives_the_same_file_however_many_cores_there_are(tmp_path, csvs, option):
    env = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    for name, threads in ("a.npz", {}), ("b.npz", {"OPENBLAS_NUM_THREADS": "1"}):
        train(*csvs, option, "--epochs", "2", "-o", name, cwd=tmp_path, check=0, env=env | threads)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def results(**options):
    """Return the iterator of a training of 3 epochs on 200 images of noise."""
    rng = np.random.default_rng(1)
    pixels, labels = rng.integers(0, 256, (200, 784), np.uint8), np.arange(200, dtype=np.uint8) % 10
    return train_network.train(init_params(rng), pixels, labels, rng, epochs=3, batch_size=50, **options)


@pytest.mark.parametrize("distortion", [True, False])
def test_batches_made_ahead_are_those_made_in_turn(monkeypatch, distortion):
    with_thread = list(results(distortion=distortion))
    monkeypatch.setattr(train_network, "ahead", iter)
    for (loss, network), (other_loss, other) in zip(with_thread, results(distortion=distortion)):
        assert loss == other_loss and all((network[name] == other[name]).all() for name in SHAPES)


def test_an_error_in_the_second_thread_ends_the_training_and_the_thread(monkeypatch):
    def distort_until_the_third_epoch(X, rng, strength):
        if strength < 0.9:
            raise MemoryError
        return X

    monkeypatch.setattr(train_network, "distort", distort_until_the_third_epoch)
    threads, epochs = threading.active_count(), results()
    assert next(epochs) and next(epochs) and threading.active_count() == threads + 1
    with pytest.raises(MemoryError):
        next(epochs)
    gc.collect()  # the error still holds what it came through
    assert ends_at(threads)


def ends_at(count):
    """Does the number of threads fall to `count`, once a batch that is being made is done?"""
    for _ in range(500):
        if threading.active_count() == count:
            return True
        time.sleep(0.01)
    return False


def test_a_training_that_is_given_up_leaves_no_thread():
    threads, epochs = threading.active_count(), results()
    assert next(epochs) and threading.active_count() == threads + 1
    epochs.close()
    assert ends_at(threads)


@pytest.mark.parametrize(
    "option", ["--seed 2", "--no-distortion", "--momentum 0.5", "--weight-decay 0.1", "--batch-size 50", "--epochs 3"]
)
def test_every_option_changes_the_network(tmp_path, csvs, option):
    train(*csvs, "--epochs", "2", "-o", "a.npz", cwd=tmp_path, check=0)
    train(*csvs, "--epochs", "2", *option.split(), "-o", "b.npz", cwd=tmp_path, check=0)
    assert (tmp_path / "a.npz").read_bytes() != (tmp_path / "b.npz").read_bytes()


def test_resume_goes_on_from_a_saved_network(tmp_path, csvs):
    train(*csvs, "--epochs", "10", "-o", "a.npz", cwd=tmp_path, check=0)
    args = ["--resume", "a.npz", "--learning-rate", "1e-9", "--epochs", "1", "-o", "b.npz"]
    result = train(*csvs, *args, cwd=tmp_path, check=0)
    assert accuracies(result)[0] > 90
    a, b = load_network(tmp_path / "a.npz"), load_network(tmp_path / "b.npz")
    for name in SHAPES:
        np.testing.assert_allclose(a[name], b[name], atol=1e-3)


def test_one_image_is_enough_to_train_on(tmp_path, csvs):
    write_rows(tmp_path / "train.csv", 1)
    train(*csvs, "--epochs", "1", cwd=tmp_path, check=0)


@pytest.mark.skipif(os.name == "nt", reason="head is POSIX's")
def test_a_closed_pipe_does_not_end_the_training(tmp_path, csvs):
    command = f'"{sys.executable}" "{REPO}/train_network.py" {" ".join(csvs)} --epochs 20 | head -n 1'
    result = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, text=True)
    assert result.stdout.count("\n") == 1 and result.stderr.startswith("next: ")
    train(*csvs, "--epochs", "20", "-o", "whole.npz", cwd=tmp_path, check=0)
    assert (tmp_path / "network.npz").read_bytes() == (tmp_path / "whole.npz").read_bytes()


def test_the_images_are_never_written_over(tmp_path, csvs):
    before = (tmp_path / "train.csv").read_bytes()
    assert "give another name" in error_line(train(*csvs, "-o", "train.csv", cwd=tmp_path))
    assert (tmp_path / "train.csv").read_bytes() == before


@pytest.mark.skipif(os.name == "nt", reason="permissions are POSIX's")
def test_a_replaced_file_keeps_its_permissions(tmp_path, csvs):
    (tmp_path / "network.npz").write_bytes(b"old")
    (tmp_path / "network.npz").chmod(0o600)
    train(*csvs, "--epochs", "1", cwd=tmp_path, check=0)
    assert (tmp_path / "network.npz").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("rate", ["1", "1e3", "1e6"])
def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_old_file(tmp_path, csvs, rate):
    (tmp_path / "network.npz").write_bytes(b"old")
    result = train(*csvs, "--learning-rate", rate, "--batch-size", "10", cwd=tmp_path)
    assert "lower --learning-rate" in error_line(result)
    assert (tmp_path / "network.npz").read_bytes() == b"old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["network.npz", "test.csv", "train.csv"]


NONSENSE = {  # options, and what must be said of them
    "--epochs 0": "--epochs must be 1 or more",
    "--epochs -1": "--epochs must be 1 or more",
    "--epochs 1.5": "--epochs: invalid int value",
    "--epochs 1000000000000": "--epochs must be 1 or more, and less than 1,000,000,000",
    "--learning-rate -1": "--learning-rate must be 0 or more",
    "--learning-rate nan": "--learning-rate must be 0 or more",
    "--learning-rate inf": "--learning-rate must be 0 or more, and less than 1,000,000,000",
    "--batch-size 0": "--batch-size must be 1 or more",
    "--momentum 1": "--momentum must be 0 or more, and less than 1",
    "--momentum -0.1": "--momentum must be 0 or more",
    "--momentum nan": "--momentum must be 0 or more",
    "--weight-decay -1": "--weight-decay must be 0 or more",
    "--seed -1": "--seed must be 0 or more",
    "--nonsense": "see train_network.py -h",
    "--epoch 3": "see train_network.py -h",
    "-o missing/network.npz": "missing/network.npz: there is no such folder: make it first",
    "-o .": "ends in .npz: give another name",
    "-o folder.npz/": "ends in .npz: give another name",
    "-o folder.npz": "not a file that can be replaced: give another name",
    "--resume missing.npz": "missing.npz: no such file: train_network.py makes one",
    "--resume train.csv": "train.csv: not a network",
}


@pytest.mark.parametrize("options", NONSENSE)
def test_options_that_make_no_sense_are_refused_in_one_line(tmp_path, csvs, options):
    (tmp_path / "folder.npz").mkdir()
    line = error_line(train(*csvs, *options.split(), cwd=tmp_path))
    assert line.startswith("train_network.py: error: ") and NONSENSE[options] in line
    assert not (tmp_path / "network.npz").exists()


def start(args, cwd):
    """Start training, wait for the second epoch's line, and return the process."""
    command = [sys.executable, REPO / "train_network.py", *args, "--epochs", "100000"]
    process = subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.readline()
    process.stdout.readline()
    return process


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX's")
def test_ctrl_c_leaves_the_network_so_far_and_says_how_many_epochs_it_holds(tmp_path, csvs):
    process = start(csvs, tmp_path)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    epochs = 2 + len(out.splitlines())
    assert "network.npz holds" in err and err.count("\n") == 1
    assert int(err.split("holds")[1].split()[0].replace(",", "")) in (epochs, epochs + 1)
    load_network(tmp_path / "network.npz")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["network.npz", "test.csv", "train.csv"]
