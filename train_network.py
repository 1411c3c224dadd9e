"""Train a 784-256-64-10 neural network to read handwritten digits, with every step written out in NumPy.

Notation: an image is a column, so a batch, the n images of one step, has n columns. 256 and 64 units are a choice.

    X          (784, n)                the images; pixels are 0 to 1
    W1, b1     (256, 784), (256, 1)    weights and biases of layer 1, a row for each unit; likewise W2, b2 and W3, b3
    Z1, A1     (256, n)                outputs of layer 1 before and after ReLU; likewise Z2, A2 and Z3
    P          (10, n)                 probability of each digit for each image, the softmax of Z3
    Y          (10, n)                 the labels, one-hot: 1 for the right digit, else 0
    dW1        (256, 784)              gradient: the slope of the loss for each weight in W1; likewise dZ1, db1, ...
    params     w1, b1, w2, b2, w3, b3  a network: the dictionary of its arrays, with these keys in this order

Read `forward`, `backward`, `sgd_step` and `train` first. README says what each part of the training is worth.
"""

import io
import os
import sys
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor

if __name__ == "__main__":  # before NumPy is imported
    os.environ.update(OPENBLAS_NUM_THREADS="1", VECLIB_MAXIMUM_THREADS="1")  # same result on any number of cores
    from data_tocsv import run  # the first import: it says what to do where NumPy is missing

import numpy as np

from data_tocsv import SIZE, TEST_CSV, TRAIN_CSV, InputError, log, make_parser, progress, read_csv, replacing, say

# The network. One layer more changes SHAPES, the notation, `forward`, `backward`, `sgd_step` and README's table.

SHAPES = {"w1": (256, 784), "b1": (256, 1), "w2": (64, 256), "b2": (64, 1), "w3": (10, 64), "b3": (10, 1)}
NETWORK = "network.npz"


def init_params(rng):
    """Return a new network: biases 0, weights from a normal distribution with variance 2 / inputs (He et al. 2015)."""
    # Random, as units that start alike stay alike. 2 / inputs, so that values do not grow or fade from layer to layer.
    params = {}
    for name, shape in SHAPES.items():
        scale = np.sqrt(2 / shape[1]) if name[0] == "w" else 0
        params[name] = (scale * rng.standard_normal(shape)).astype(np.float32)
    return params


def forward(params, X):
    """Return A1 (256, n), A2 (64, n) and P (10, n) for the images X (784, n)."""
    W1, b1, W2, b2, W3, b3 = (params[name] for name in SHAPES)
    Z1 = W1 @ X + b1  # (256, n)
    A1 = np.maximum(Z1, 0)  # ReLU; without it, layers 1 and 2 would be one: W2 @ (W1 @ X) = (W2 @ W1) @ X
    Z2 = W2 @ A1 + b2  # (64, n)
    A2 = np.maximum(Z2, 0)
    Z3 = W3 @ A2 + b3  # (10, n)
    E = np.exp(Z3 - Z3.max(axis=0))  # softmax; subtracting the maximum avoids overflow and cancels out
    return A1, A2, E / E.sum(axis=0)


def cross_entropy(P, Y):
    """Return the loss, summed over the batch: -log of the probability of the right digit."""
    return -np.log((P * Y).sum(axis=0) + 1e-30).sum()  # + 1e-30, as a very small probability is rounded to 0


# Backward goes through the lines of `forward` from the last to the first. In Z = W @ A + b, W[i, j] carries A[j] into
# Z[i]. So the slope of the loss for W[i, j] is dZ[i] * A[j], summed over the images: dW = dZ @ A.T. And A[j] acts on
# every Z[i] through W[i, j]. So the slope for A[j] is the sum of W[i, j] * dZ[i] over i: dA = W.T @ dZ.
def backward(params, X, A1, A2, P, Y):
    """Return the gradients of the loss: a dictionary with the keys and shapes of `params`."""
    W2, W3 = params["w2"], params["w3"]
    dZ3 = P - Y  # (10, n), through cross-entropy and softmax together: README derives it
    dW3 = dZ3 @ A2.T  # (10, 64)
    db3 = dZ3.sum(axis=1, keepdims=True)  # (10, 1)
    dA2 = W3.T @ dZ3  # (64, n)
    dZ2 = dA2 * (A2 > 0)  # ReLU has slope 1 where it is positive, else 0
    dW2 = dZ2 @ A1.T  # (64, 256)
    db2 = dZ2.sum(axis=1, keepdims=True)
    dA1 = W2.T @ dZ2  # (256, n)
    dZ1 = dA1 * (A1 > 0)
    dW1 = dZ1 @ X.T  # (256, 784)
    db1 = dZ1.sum(axis=1, keepdims=True)
    return {"w1": dW1, "b1": db1, "w2": dW2, "b2": db2, "w3": dW3, "b3": db3}


def to_columns(pixels):
    """Turn images as in the CSV files, (n, 784) uint8, into X, (784, n) float32 from 0 to 1."""
    return pixels.T * np.float32(1 / 255)


def classify(params, pixels):
    """Return P, (10, n), for pixels, (n, 784) uint8."""
    return forward(params, to_columns(pixels))[-1]


# Training.


def sgd_step(params, velocity, X, Y, rate, momentum, decay):
    """Take one step of stochastic gradient descent, in place; return the loss before it, summed over the batch."""
    A1, A2, P = forward(params, X)
    grads = backward(params, X, A1, A2, P, Y)
    for name, p in params.items():
        # The bare rule is p -= rate * grads[name]. Velocity keeps `momentum` (0.9) of itself and adds the new gradient:
        # it is the sum of all gradients so far, older ones weaker (Polyak 1964).
        velocity[name] = momentum * velocity[name] + grads[name]
        # Decay shrinks every number a little, times the batch size, as gradients are summed (Loshchilov & Hutter 2019).
        p -= rate * (velocity[name] + decay * p)
    return float(cross_entropy(P, Y))


def train(
    params, pixels, labels, rng, quiet=True, *,
    epochs=10, learning_rate=0.001, batch_size=128, momentum=0.9, weight_decay=0.001, distortion=True,
):  # fmt: skip
    """Train a network by stochastic gradient descent, in place; yield the distorted images' mean loss every epoch.

    pixels: (n, 784) uint8; labels: (n,) uint8; learning_rate: per image, so that a step is learning_rate times the sum
    of the batch's gradients (Goyal et al. 2017). Raises InputError if training diverges.
    """
    batch_size = min(batch_size, len(labels))
    steps = len(range(0, len(labels), batch_size))  # in an epoch
    velocity = dict.fromkeys(params, 0)
    batches = prefetch(make_batches(pixels, labels, rng, epochs, batch_size, distortion))
    batches = iter(progress(batches, quiet, total=epochs * steps, unit=" batches"))
    for epoch in range(epochs):
        loss = 0.0
        for step in range(steps):
            now = epoch + step / steps  # in epochs
            # The rate rises in the first epoch, while the weights are random (Goyal et al. 2017), and then falls to 0.
            rate = learning_rate * min(now + 1 / steps, 1) * (1 - now / epochs)
            X, Y = next(batches)
            loss += sgd_step(params, velocity, X, Y, rate, momentum, batch_size * weight_decay)
        if not (loss < 10 * len(labels) and is_sound(params)):  # guessing has a loss of 2.3 per image
            raise InputError(f"epoch {epoch + 1}: training diverged: lower --learning-rate, --momentum, --weight-decay")
        yield loss / len(labels)


def make_batches(pixels, labels, rng, epochs, batch_size, distortion):
    """Yield X and Y for every step: in each epoch all images, shuffled and, with distortion, distorted anew."""
    one_hot = np.eye(10, dtype=np.float32)
    for epoch in range(epochs):
        order = rng.permutation(len(labels))
        for start in range(0, len(labels), batch_size):
            batch = order[start : start + batch_size]
            X = to_columns(pixels[batch])
            if distortion:  # less towards the end, so that training ends with images close to real ones
                X = distort(X, rng, strength=1.3 - 0.6 * (epoch + start / len(labels)) / epochs)
            yield X, one_hot[:, labels[batch]]


def prefetch(items):
    """Yield the items of an iterator, computing the next one in a second thread."""
    with ThreadPoolExecutor(1) as thread:
        future = thread.submit(next, items, None)
        while (item := future.result()) is not None:
            future = thread.submit(next, items, None)
            yield item


# Distortion: every epoch shows each image turned, stretched and bent a little, as another hand might have written it.

CENTRE = (SIZE - 1) / 2
GRID = np.indices((SIZE, SIZE)).reshape(2, -1) - CENTRE  # (2, 784): y and x of every pixel, from the centre
BLUR = np.exp(-((np.subtract.outer(np.arange(SIZE), np.arange(SIZE)) / 4) ** 2) / 2)  # Gaussian, standard deviation 4
BLUR /= np.linalg.norm(BLUR, axis=1, keepdims=True)  # so that blurred white noise keeps its standard deviation


def distort(X, rng, strength):
    """Return the images X (784, n) distorted. 32 at a time share one random grid: faster, and no less accurate."""
    groups = [X[:, start : start + 32] for start in range(0, X.shape[1], 32)]
    return np.hstack([interpolate(group, random_grid(rng, strength)) for group in groups])


def random_grid(rng, strength):
    """Return the points, (2, 784) y and x, at which to sample an image: an affine map plus an elastic field."""
    angle, shear = strength * np.radians(rng.uniform(-12, 12)), strength * rng.uniform(-0.15, 0.15)
    rotation = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    slant = np.array([[1, 0], [shear, 1]])
    scale = np.diag(1 + strength * rng.uniform(-0.12, 0.12, 2))
    shift = strength * rng.uniform(-1.5, 1.5, (2, 1))
    # The field moves every pixel at random; blurred, so that neighbours move together (Simard et al. 2003).
    field = strength * 0.8 * BLUR @ rng.standard_normal((2, SIZE, SIZE)) @ BLUR.T
    return scale @ slant @ rotation @ GRID + CENTRE + shift + field.reshape(2, -1)


def interpolate(X, points):
    """Return the images X (784, n) sampled at `points` by bilinear interpolation."""
    y, x = np.clip(points, 0, SIZE - 1.001)  # outside, the border is repeated; .001 so that there is a next pixel
    row, column = y.astype(int), x.astype(int)  # the upper left of the four neighbours
    down, right = (y - row).astype(np.float32), (x - column).astype(np.float32)  # fractions, 0 to 1
    up, left = 1 - down, 1 - right
    X = np.ascontiguousarray(X)  # each pixel of all images is then one row in memory
    out = np.zeros_like(X)
    for i, j, weight in (0, 0, up * left), (0, 1, up * right), (1, 0, down * left), (1, 1, down * right):
        out += weight[:, np.newaxis] * X.take(SIZE * (row + i) + column + j, axis=0)
    return out


# The network file.


def save_network(params, file):
    """Write a network to a binary file in npz format: float32, biases as (256,), (64,) and (10,)."""
    data = io.BytesIO()  # on a full disk, np.savez itself may print a traceback
    np.savez(data, **{name: p.ravel() if name[0] == "b" else p for name, p in params.items()})
    file.write(data.getvalue())


def load_network(path):
    """Return the network in an npz file as float32. Raises InputError if the file is missing or not a network."""
    try:
        if os.path.isfile(path) and not zipfile.is_zipfile(path):
            raise ValueError("not an npz file")
        with np.load(path, allow_pickle=False) as file:
            params = {name: file[name].astype(np.float32, casting="same_kind") for name in SHAPES}
        for name, shape in SHAPES.items():
            if params[name].shape not in (shape, shape[:1]):  # a bias may have one dimension or two
                raise ValueError(f"{name} is {params[name].shape}, not {shape}")
            params[name] = params[name].reshape(shape)
        if not is_sound(params):
            raise ValueError("its numbers are NaN, infinite or too large")
        return params
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file: networks are made by train_network.py") from error
    except Exception as error:  # NumPy raises nearly anything on a broken file
        reason = getattr(error, "strerror", None) or f"not a network: {str(error) or type(error).__name__}"
        raise InputError(f"{path}: {reason}") from error


def is_sound(params):
    """Return whether all numbers are below 1e9: then no sum in `forward` overflows float32. (NaN is not.)"""
    return all(np.abs(p).max() < 1e9 for p in params.values())


# The command.


def parse_args(argv):
    """Return the command's options."""
    parser = make_parser("Train a network to read digits.", "example: python train_network.py --epochs 200")
    add = parser.add_argument
    add("--train", default=TRAIN_CSV, metavar="CSV", help="training images (default: %(default)s)")
    add("--test", default=TEST_CSV, metavar="CSV", help="test images (default: %(default)s)")
    add("-o", "--output", type=".npz", default=NETWORK, metavar="NPZ", help="network to save (default: %(default)s)")
    add("--epochs", type=int, help="passes over the training images (default: %(default)s)")
    add("--learning-rate", type=float, help="step size; the gradients of a batch are summed (default: %(default)s)")
    add("--batch-size", type=int, help="images per step (default: %(default)s)")
    add("--momentum", type=float, help="fraction of the previous update kept (default: %(default)s)")
    add("--weight-decay", type=float, help="how strongly weights are pulled towards 0 (default: %(default)s)")
    add("--no-distortion", dest="distortion", action="store_false", help="train on the images just as they are")
    add("--resume", metavar="NPZ", help="train this network further; the learning rate rises and falls again")
    add("--seed", type=int, default=1, help="random seed (default: %(default)s)")
    parser.set_defaults(**train.__kwdefaults__)  # epochs=10 and so on: those of `train`
    args = parser.parse_args(argv)
    for name in "epochs", "batch_size", "learning_rate", "momentum", "weight_decay", "seed":
        value, zero = getattr(args, name), name in ("momentum", "weight_decay", "seed")  # these may be 0
        if not (0 < value < 1e9 or (zero and value == 0)):  # nor NaN
            parser.error(f"--{name.replace('_', '-')} must be {'0 or more' if zero else 'above 0'}, and below 1e9")
    return args


def main(argv=None):
    """Train a network, save it after every epoch, and return the exit status, 0."""
    args = parse_args(argv)
    rng = np.random.default_rng(args.seed)
    params = load_network(args.resume) if args.resume else init_params(rng)
    train_labels, train_pixels = read_csv(args.train)
    test_labels, test_pixels = read_csv(args.test)
    note = f"; {args.output} will be replaced" if os.path.exists(args.output) else ""
    log(f"{len(train_labels):,} training images, {len(test_labels):,} test images{note}", args.quiet)
    options = {name: getattr(args, name) for name in train.__kwdefaults__}
    start, left = time.perf_counter(), "nothing was saved"
    try:
        for epoch, loss in enumerate(train(params, train_pixels, train_labels, rng, args.quiet, **options), 1):
            with replacing(args.output) as file:
                save_network(params, file)
            left = f'{args.output} holds epoch {epoch} of {args.epochs}: go on with --resume "{args.output}"'
            accuracy = np.mean(classify(params, test_pixels).argmax(axis=0) == test_labels)
            seconds = time.perf_counter() - start
            line = f"epoch {epoch}/{args.epochs}: loss {loss:.4f}, test accuracy {accuracy:.2%}, {seconds:.1f} s"
            if not args.quiet:
                say(sys.stdout, line, ignore=OSError)
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt(left) from error
    network = "" if args.output == NETWORK else f'--network "{args.output}" '
    log(f"saved {args.output}; next: python predict.py {network}PICTURE_OR_FOLDER", args.quiet)
    return 0


if __name__ == "__main__":
    run(main)
