"""Numbers to network: train a 784-256-64-10 neural network to read handwritten digits, with every step written out.

The notation. An image is a column, so a batch of n images is a matrix of n columns, and a network is a dictionary:

    X              (784, n)    the pixels, 0 to 1
    W1, b1         (256, 784), (256, 1)      weights and biases of the first layer; W2, b2, W3, b3 likewise
    Z1, A1         (256, n)    what the first layer adds up, and what it passes on; Z2, A2 (64, n), Z3 (10, n) likewise
    P              (10, n)     the probability of each digit for each image
    Y              (10, n)     1 for the right digit, else 0
    dW1            dLoss/dW1, which has W1's shape, and so on

`forward` goes from X to P, `backward` from P back to dW1, `train` moves every weight a little against its gradient,
thousands of times.
"""

import signal

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) == signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until main begins, Ctrl-C ends us without a traceback

import argparse
import contextlib
import functools
import io
import os
import sys
import time
import zipfile

import numpy as np

from data_tocsv import (
    PIXELS,
    SIZE,
    TEST_CSV,
    TRAIN_CSV,
    InputError,
    Parser,
    check_output,
    command,
    progress,
    put,
    read_csv,
    replacing,
    say,
)

NETWORK = "network.npz"
SHAPES = {"w1": (256, 784), "b1": (256, 1), "w2": (64, 256), "b2": (64, 1), "w3": (10, 64), "b3": (10, 1)}
SHARE = 32  # images that share a distortion: as good a teacher as one each, in a third of the time
CENTRE = (SIZE - 1) / 2
PLACES = np.indices((SIZE, SIZE)).reshape(2, PIXELS) - CENTRE  # (2, 784): y and x of every pixel from the centre
BLUR = np.exp(-((np.subtract.outer(np.arange(SIZE), np.arange(SIZE)) / 4) ** 2) / 2)  # a Gaussian of 4 pixels
BLUR /= np.linalg.norm(BLUR, axis=1, keepdims=True)  # what has standard deviation 1 still has it when blurred


# The network.


def init_params(rng):
    """Return a network to start from: biases 0, weights normal with variance 2 / inputs (He et al. 2015)."""
    params = {}
    for name, shape in SHAPES.items():
        scale = np.sqrt(2 / shape[1]) if name[0] == "w" else 0
        params[name] = (scale * rng.standard_normal(shape)).astype(np.float32)
    return params


def forward(params, X):
    """Return A1 (256, n), A2 (64, n) and P (10, n) for the images X (784, n)."""
    A1 = np.maximum(params["w1"] @ X + params["b1"], 0)  # (256, n) ReLU
    A2 = np.maximum(params["w2"] @ A1 + params["b2"], 0)  # (64, n)
    Z3 = params["w3"] @ A2 + params["b3"]  # (10, n)
    E = np.exp(Z3 - Z3.max(axis=0))  # softmax; less the largest, so that no exp overflows
    return A1, A2, E / E.sum(axis=0)


def backward(params, X, A1, A2, P, Y):
    """Return the gradients of the loss, summed over the batch: a dictionary with the keys and shapes of `params`."""
    dZ3 = P - Y  # (10, n): softmax and cross-entropy together
    dZ2 = (params["w3"].T @ dZ3) * (A2 > 0)  # (64, n)
    dZ1 = (params["w2"].T @ dZ2) * (A1 > 0)  # (256, n)
    return {
        "w1": dZ1 @ X.T,
        "b1": dZ1.sum(axis=1, keepdims=True),
        "w2": dZ2 @ A1.T,
        "b2": dZ2.sum(axis=1, keepdims=True),
        "w3": dZ3 @ A2.T,
        "b3": dZ3.sum(axis=1, keepdims=True),
    }


def cross_entropy(P, labels):
    """Return the loss summed over the batch: -log of the probability given to the right digit."""
    return -np.log(P[labels, np.arange(len(labels))]).sum()


def to_columns(pixels):
    """Return pixels ((n, 784) uint8, 0 to 255) as columns X ((784, n) float32, 0 to 1)."""
    return pixels.T * np.float32(1 / 255)


def classify(params, pixels):
    """Return P, (10, n), for pixels, (n, 784) uint8."""
    return forward(params, to_columns(pixels))[-1]


# The file.


def save_network(params, path):
    """Write a network as npz: float32, biases as (256,), (64,) and (10,)."""
    data = io.BytesIO()  # NumPy's zip file does not take the end of the disk well
    np.savez(data, **{name: p.ravel() if name[0] == "b" else p for name, p in params.items()})
    with replacing(path) as file:
        file.write(data.getvalue())


def load_network(path):
    """Return the network in an npz file: float32 weights and biases of SHAPES.

    Any real number type is taken, and biases in one dimension or two. Raises InputError where the file is no network.
    """
    try:
        if os.path.exists(path) and not os.path.isfile(path):  # to open a pipe is to wait for it
            raise ValueError("not a regular file")
        with zipfile.ZipFile(path) as archive:
            return {name: read_array(archive, name, shape) for name, shape in SHAPES.items()}
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file: run train_network.py first") from error
    except Exception as error:  # on a broken file zipfile raises nearly anything
        reason = (getattr(error, "strerror", None) or str(error)).partition("\n")[0]
        raise InputError(f"{path}: not a network that can be used: {reason}: run train_network.py again") from error


def read_array(archive, name, shape):
    """Return one array of an npz archive as float32 of `shape`; ValueError says what it is if it can't be that."""
    if f"{name}.npy" not in archive.namelist():
        raise ValueError(f"no {name} in it")
    with archive.open(f"{name}.npy") as member:
        version = np.lib.format.read_magic(member)
        read_header = {(1, 0): np.lib.format.read_array_header_1_0}.get(version, np.lib.format.read_array_header_2_0)
        found, _, dtype = read_header(member)  # looked at first: it may claim any size, or hold pickled objects
    if dtype.kind not in "fiu":
        raise ValueError(f"{name} is of type {dtype}, not of real numbers")
    if found not in (shape, shape[:1] if shape[1] == 1 else shape):
        raise ValueError(f"{name} is {found}, not {shape}")
    with archive.open(f"{name}.npy") as member, np.errstate(over="ignore"):
        array = np.lib.format.read_array(member).reshape(shape).astype(np.float32, order="C")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds NaN or infinite values")
    return array


# Distortion: in every epoch each image is turned, stretched and bent a little, as another hand might have written it.


def distort(X, rng, strength=1.0):
    """Return the images X (784, n) distorted at random: 32 neighbours alike, which teaches as well as one by one.

    A distortion takes every pixel from a point between four pixels, as bilinear interpolation does. The point is the
    pixel's own place, moved by an affine map (turn, size, slant, shift) and by an elastic field (Simard, Steinkraus &
    Platt 2003): a random move for each pixel, blurred, so that neighbours move together.
    """
    count = -(-X.shape[1] // SHARE)  # of distortions
    angle, shear = strength * np.radians(rng.uniform(-12, 12, count)), strength * rng.uniform(-0.15, 0.15, count)
    height, width = 1 + strength * rng.uniform(-0.12, 0.12, (2, count))
    sin, cos = np.sin(angle), np.cos(angle)
    affine = np.array([[height * cos, height * sin], [width * (shear * cos - sin), width * (shear * sin + cos)]])
    shift = strength * rng.uniform(-1.5, 1.5, (2, count, 1))  # pixels
    moves = strength * 0.8 * BLUR @ rng.standard_normal((2, count, SIZE, SIZE)) @ BLUR.T  # pixels
    points = np.tensordot(affine, PLACES, (1, 0)) + shift + moves.reshape(2, count, PIXELS) + CENTRE  # y and x
    points = np.clip(points, 0, SIZE - 1.001)  # what lies beyond the border is background, as on the border
    corners = points.astype(int)  # of the pixel up and left of the point
    y, x = (points - corners).astype(np.float32)  # 0 to 1, from there
    sources = SIZE * corners[0] + corners[1]  # (count, 784)
    weights = np.array([(1 - y) * (1 - x), (1 - y) * x, y * (1 - x), y * x])[..., np.newaxis]  # (4, count, 784, 1)

    out = np.empty(X.shape, X.dtype)
    for k in range(count):
        group = slice(k * SHARE, (k + 1) * SHARE)
        images = np.ascontiguousarray(X[:, group])  # (784, 32): to take a pixel is to take a row
        sums = images.take(sources[k], axis=0) * weights[0, k]
        for neighbour, weight in zip((1, SIZE, SIZE + 1), weights[1:, k]):
            pixels = images.take(sources[k] + neighbour, axis=0)
            pixels *= weight
            sums += pixels
        out[:, group] = sums
    return out


# Training.


def train(
    params,
    pixels,
    labels,
    rng,
    bar=iter,
    *,
    epochs=10,
    learning_rate=0.001,
    batch_size=128,
    momentum=0.9,
    weight_decay=0.001,
    distortion=True,
):
    """Train a network from `params` on; yield the mean loss and the network after every epoch.

    pixels: (n, 784) uint8; labels: (n,) uint8; bar: wraps the steps of an epoch, to show progress.
    Raises InputError when the loss is no longer a number.

    Stochastic gradient descent: a step goes a little against the gradient of the loss of a batch of images, as summed
    over them, so that the learning rate is for each image (Goyal et al. 2017). With momentum (Polyak 1964) it also goes
    on as before: the velocity is the sum of the gradients so far, of which every step keeps a part. Weight decay draws
    weights and biases to 0 (Loshchilov & Hutter 2019), here once an epoch for all its images.

    Two things change in a straight line over the run, however long it is: the rate falls to a tenth (after it has risen
    during the first epoch, while the network is still raw), and the distortion goes from 1.3 to 0.7 of its strength.
    What is yielded is an average of the network over about the last tenth of the steps so far (Polyak & Juditsky 1992),
    as every step, taken for the sake of a few images, misses the best place by a little.

    The network learns faster from images whose mean is 0 (LeCun et al. 1998, "Efficient BackProp"). So the mean is
    taken off them, and what that changes is put into the first bias: W (X - mean) + b = W X + (b - mean W 1).
    """
    steps = -(-len(labels) // batch_size)  # in an epoch
    one_hot = np.eye(10, dtype=np.float32)
    mean = np.float32(pixels[::16].mean() / 255)  # of every 16th image, which will do
    params = {name: p.copy() for name, p in params.items()}
    params["b1"] += mean * params["w1"].sum(axis=1, keepdims=True)
    velocity = {name: np.zeros_like(p) for name, p in params.items()}
    average = {name: p.copy() for name, p in params.items()}

    def rate_at(epoch):
        """Return the learning rate at a time in epochs: up during the first, and down in a straight line to 0.1."""
        return learning_rate * min(epoch + 1 / steps, 1) * (1 - 0.9 * epoch / epochs)

    for epoch in range(epochs):
        for p in params.values():
            p *= np.exp(-rate_at(epoch) * len(labels) * weight_decay)
        order, total = rng.permutation(len(labels)), 0.0
        for step in bar(range(steps)):
            batch = order[step * batch_size : (step + 1) * batch_size]
            X = to_columns(pixels[batch])  # (784, n)
            if distortion:
                X = distort(X, rng, 1.3 - 0.6 * (epoch + step / steps) / epochs)
            X -= mean
            A1, A2, P = forward(params, X)
            total += cross_entropy(P, labels[batch])
            grads = backward(params, X, A1, A2, P, one_hot[:, labels[batch]])

            rate = rate_at(epoch + step / steps)
            for name, p in params.items():
                velocity[name] *= momentum
                velocity[name] += grads[name]
                p -= rate * velocity[name]
            if (steps - step) % 10 == 1:  # one step in ten, and the last, is often enough
                for name, p in params.items():  # of such steps, a tenth of all so far is a hundredth
                    average[name] += (p - average[name]) / max(1, (epoch * steps + step) / 100)
        if not (np.isfinite(total) and all(np.isfinite(p).all() for p in params.values())):
            raise InputError(f"epoch {epoch + 1}: the loss is no longer a number: give a lower --learning-rate")
        network = {name: p.copy() for name, p in average.items()}
        network["b1"] -= mean * network["w1"].sum(axis=1, keepdims=True)
        yield total / len(labels), network


def accuracy(params, pixels, labels):
    """Return the part of the images, 0 to 1, that is read right."""
    return np.mean(classify(params, pixels).argmax(axis=0) == labels)


# The command.


def number(kind, low, high=float("inf")):
    """Return an argparse type: a number of `kind` from `low` to below `high`."""

    name = f"a {'whole ' if kind is int else ''}number from {low}" + (f" to below {high}" if high < 1e9 else "")

    def parse(text):
        with contextlib.suppress(ValueError):
            if low <= kind(text) < high:
                return kind(text)
        raise argparse.ArgumentTypeError(f"{text!r} is not {name}")

    return parse


@command
def main(argv=None):
    """Train a network, saving it after every epoch, and return the exit status, 0."""
    parser = Parser(
        description="Train a 784-256-64-10 neural network to read digits.",
        epilog="example: python train_network.py --epochs 200",
    )
    add = parser.add_argument
    add("--train", default=TRAIN_CSV, metavar="CSV", help="images to learn from (default: %(default)s)")
    add("--test", default=TEST_CSV, metavar="CSV", help="images to measure with (default: %(default)s)")
    add("-o", "--output", default=NETWORK, metavar="NPZ", help="where to save the network (default: %(default)s)")
    add("--epochs", type=number(int, 1, 10**9), help="times to go through the images (default: %(default)s)")
    add("--learning-rate", type=number(float, 0), help="how far a step goes, for each image (default: %(default)s)")
    add("--batch-size", type=number(int, 1, 10**9), help="images in a step (default: %(default)s)")
    add(
        "--momentum", type=number(float, 0, 1), help="part of the last step's speed that is kept (default: %(default)s)"
    )
    add("--weight-decay", type=number(float, 0), help="pull of the weights towards 0 (default: %(default)s)")
    add("--no-distortion", dest="distortion", action="store_false", help="learn from the images just as they are")
    add("--resume", metavar="NPZ", help="start from this network; the rate and the distortion begin anew")
    add("--seed", type=number(int, 0), default=1, help="of all random choices (default: %(default)s)")
    parser.set_defaults(**train.__kwdefaults__)
    options = parser.parse_args(argv)

    check_output(options.output)
    if os.path.realpath(options.output) in map(os.path.realpath, (options.train, options.test)):
        raise InputError(f"{options.output}: named twice: give another name")
    rng = np.random.default_rng(options.seed)
    params = load_network(options.resume) if options.resume else init_params(rng)
    train_labels, train_pixels = read_csv(options.train)
    test_labels, test_pixels = read_csv(options.test)

    hyperparameters = {name: getattr(options, name) for name in train.__kwdefaults__}
    epochs, start = 0, time.perf_counter()
    bar = functools.partial(progress, quiet=options.quiet, unit=" batches")
    try:
        with np.errstate(all="ignore"):  # numbers that grow too large show in the loss
            for loss, network in train(params, train_pixels, train_labels, rng, bar, **hyperparameters):
                save_network(network, options.output)
                epochs += 1
                right = accuracy(network, test_pixels, test_labels)
                seconds, start = time.perf_counter() - start, time.perf_counter()
                line = f"epoch {epochs}/{options.epochs}: loss {loss:.4f}, test accuracy {right:.2%}, {seconds:.1f} s\n"
                if not options.quiet:
                    put(line, wanted=False)  # the network is to be learned, whoever reads this
    except KeyboardInterrupt:
        what = (
            f"{options.output} holds {epochs} epochs" if epochs else f"{options.output} not written: no epoch is done"
        )
        say(f"stopped: {what}", options.quiet)
        raise
    named = "" if options.output == NETWORK else f"--network {options.output} "
    say(f"next: python predict.py {named}datasets/sample/testing", options.quiet)
    return 0


if __name__ == "__main__":
    sys.exit(main())
