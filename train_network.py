"""Numbers to network: train a 784-256-64-10 neural network to read handwritten digits, with every step written out.

The notation. An image is a column, so a batch of n images is a matrix of n columns:

    X              (784, n)    the pixels, 0 to 1
    W1, b1         (256, 784), (256, 1)      weights and biases of the first layer; W2, b2, W3, b3 likewise
    Z1, A1         (256, n)    what the first layer adds up, and what it passes on; Z2, A2 (64, n), Z3 (10, n) likewise
    P              (10, n)     the probability of each digit for each image
    Y              (10, n)     1 for the right digit, else 0
    dW1            dLoss/dW1, which has W1's shape, and so on

A network is a dictionary, `params`. Its keys are the names in the file, w1 for W1: a matrix has a capital letter here.

`forward` goes from X to P, `backward` from P back to dW1, and `train` moves every weight a little against its gradient,
thousands of times. All that it does besides has its reason and its source beside it, and what it gains in README.md,
"What is added to the plain step". After the network and its training come the images' distortion, the file and the
command.
"""

import os

if __name__ == "__main__":
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # more threads gain little, and wait for one another

import io
import math
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from data_tocsv import SIZE, TEST_CSV, TRAIN_CSV, InputError, Parser, progress, put, read_csv, replacing, run, say

SHAPES = {"w1": (256, 784), "b1": (256, 1), "w2": (64, 256), "b2": (64, 1), "w3": (10, 64), "b3": (10, 1)}
NETWORK = "network.npz"


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
    W1, b1, W2, b2, W3, b3 = params.values()  # in the order of SHAPES
    Z1 = W1 @ X + b1  # (256, n)
    A1 = np.maximum(Z1, 0)  # ReLU
    Z2 = W2 @ A1 + b2  # (64, n)
    A2 = np.maximum(Z2, 0)
    Z3 = W3 @ A2 + b3  # (10, n)
    E = np.exp(Z3 - Z3.max(axis=0))  # softmax; less the largest, which cancels, so that no exp overflows
    return A1, A2, E / E.sum(axis=0)


def cross_entropy(P, Y):
    """Return the loss, summed over the batch: -log of the probability given to the right digit."""
    return -np.log((P * Y).sum(axis=0)).sum()


def backward(params, X, A1, A2, P, Y):
    """Return the gradients of the loss, from the last to the first: a dictionary with `params`'s keys and shapes."""
    _, _, W2, _, W3, _ = params.values()
    dZ3 = P - Y  # (10, n): the loss is log(exp(Z3).sum()) - Z3[right], and that is its slope
    dW3 = dZ3 @ A2.T  # (10, 64): W3 was multiplied by A2, so now dZ3 is, and the images are added up
    db3 = dZ3.sum(axis=1, keepdims=True)  # (10, 1): b3 was added to every image, so now all are added up
    dA2 = W3.T @ dZ3  # (64, n): A2 was multiplied by W3, so now dZ3 is
    dZ2 = dA2 * (A2 > 0)  # ReLU's slope: 1 where it passed something on, else 0
    dW2 = dZ2 @ A1.T  # (64, 256), and so on
    db2 = dZ2.sum(axis=1, keepdims=True)
    dA1 = W2.T @ dZ2  # (256, n)
    dZ1 = dA1 * (A1 > 0)
    dW1 = dZ1 @ X.T  # (256, 784)
    db1 = dZ1.sum(axis=1, keepdims=True)
    return {"w1": dW1, "b1": db1, "w2": dW2, "b2": db2, "w3": dW3, "b3": db3}


def to_columns(pixels):
    """Turn images, rows as in the CSV files ((n, 784) uint8, 0 to 255), into columns X ((784, n) float32, 0 to 1)."""
    return pixels.T * np.float32(1 / 255)


def classify(params, pixels):
    """Return P, (10, n), for pixels, (n, 784) uint8."""
    return forward(params, to_columns(pixels))[-1]


# Training.


def descend(params, velocity, X, Y, rate, momentum):
    """Take a step of gradient descent, changing `params` and `velocity`, and return the batch's loss.

    velocity = momentum * velocity + gradient: with 0.9, about the sum of the last ten gradients (Polyak 1964). Each is
    the sum over a batch, so the rate is for one image and fits batches of any size (Goyal et al. 2017).
    """
    A1, A2, P = forward(params, X)
    grads = backward(params, X, A1, A2, P, Y)
    for name, p in params.items():
        velocity[name] *= momentum
        velocity[name] += grads[name]
        p -= rate * velocity[name]
    return cross_entropy(P, Y)


def train(
    params, pixels, labels, rng, quiet=True, *,
    epochs=10, learning_rate=0.001, batch_size=128, momentum=0.9, weight_decay=0.001, distortion=True,
):  # fmt: skip
    """Train a network from `params` on; after every epoch, yield its mean loss and the network.

    pixels: (n, 784) uint8; labels: (n,) uint8. Raises InputError where the loss or the weights grow beyond bounds.
    """
    steps = math.ceil(len(labels) / batch_size)  # in an epoch
    mean = np.float32(pixels[::16].mean() / 255)  # of every 16th image, which will do
    params = for_shifted_images(params, mean)  # `prepare` takes it off: mean 0 teaches faster (LeCun et al. 1998)
    velocity = {name: np.zeros_like(p) for name, p in params.items()}
    average = {name: p.copy() for name, p in params.items()}
    batches = ahead(prepare(pixels, labels, rng, mean, epochs, batch_size, distortion))

    for epoch in range(epochs):
        loss = 0.0
        for step in progress(range(steps), quiet, unit=" batches"):
            now = epoch + step / steps  # in epochs
            # The rate rises in the first epoch, while the network is raw (Goyal et al. 2017), and falls to a tenth.
            rate = learning_rate * min(now + 1 / steps, 1) * (1 - 0.9 * now / epochs)
            if step == 0:  # for the whole epoch at once, to save time
                # All numbers decay (Loshchilov & Hutter 2019), as small ones err less on new images: each image takes
                # rate * weight_decay of them, n leave (1 - rate * weight_decay) ** n, or exp(-n * rate * weight_decay).
                for p in params.values():
                    p *= np.exp(-rate * len(labels) * weight_decay)
            X, Y = next(batches)
            loss += descend(params, velocity, X, Y, rate, momentum)
            if (steps - step) % 10 == 1:  # one step in ten, the epoch's last among them
                # A step is for the sake of a few images; an average of many serves all better (Polyak & Juditsky 1992).
                # Steps before about the last tenth of the run so far fade from it.
                span = max(1, now * steps / 100)  # a tenth of the one in ten that were taken so far
                for name, p in params.items():
                    average[name] += (p - average[name]) / span
        network = for_shifted_images(average, -mean)
        if not (np.isfinite(loss) and is_sound(network)):
            raise InputError(f"epoch {epoch + 1}: loss or weights beyond bounds: give a lower --learning-rate")
        yield loss / len(labels), network


def for_shifted_images(params, mean):
    """Return a network that says of X - mean what `params` says of X."""
    shifted = {name: p.copy() for name, p in params.items()}
    shifted["b1"] += mean * shifted["w1"].sum(axis=1, keepdims=True)  # for W1 @ (X - mean) is W1 @ X less that
    return shifted


def prepare(pixels, labels, rng, mean, epochs, batch_size, distortion):
    """Yield X and Y for every step: in each epoch all images, in another order and, with distortion, another form."""
    one_hot = np.eye(10, dtype=np.float32)
    for epoch in range(epochs):
        order = rng.permutation(len(labels))
        for start in range(0, len(labels), batch_size):
            batch = order[start : start + batch_size]
            X = to_columns(pixels[batch])
            if distortion:  # less and less, so that in the end the images are nearly as they will be when tested
                X = distort(X, rng, 1.3 - 0.6 * (epoch + start / len(labels)) / epochs)
            yield X - mean, one_hot[:, labels[batch]]


def ahead(items):
    """Yield the items of an iterator, each made in a second thread while the one before it is in use."""
    thread = ThreadPoolExecutor(1)  # ends when this generator does
    coming = thread.submit(next, items, None)
    while (item := coming.result()) is not None:
        coming = thread.submit(next, items, None)
        yield item


# Distortion: in every epoch each image is turned, stretched and bent a little, as another hand might have written it.

CENTRE = (SIZE - 1) / 2
PLACES = np.indices((SIZE, SIZE)).reshape(2, -1) - CENTRE  # (2, 784): y and x of every pixel, from the centre
BLUR = np.exp(-((np.subtract.outer(np.arange(SIZE), np.arange(SIZE)) / 4) ** 2) / 2)  # a Gaussian, standard deviation 4
BLUR /= np.linalg.norm(BLUR, axis=1, keepdims=True)  # noise of standard deviation 1 still has it when blurred


def distort(X, rng, strength):
    """Return the images X (784, n) distorted, each 32 in one way: as good a teacher as one by one, in less time."""
    groups = [X[:, start : start + 32] for start in range(0, X.shape[1], 32)]
    return np.hstack([interpolate(group, random_points(rng, strength)) for group in groups])


def random_points(rng, strength):
    """Return where each pixel is to come from: (2, 784), a y and an x in pixels.

    That is its own place, moved by an affine map, and by an elastic field: a random move for every pixel, blurred, so
    that neighbours move together (Simard, Steinkraus & Platt 2003).
    """
    angle, shear = strength * np.radians(rng.uniform(-12, 12)), strength * rng.uniform(-0.15, 0.15)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    slant = np.array([[1, 0], [shear, 1]])
    size = np.diag(1 + strength * rng.uniform(-0.12, 0.12, 2))
    shift = strength * rng.uniform(-1.5, 1.5, (2, 1))
    field = strength * 0.8 * BLUR @ rng.standard_normal((2, SIZE, SIZE)) @ BLUR.T
    return size @ slant @ turn @ PLACES + CENTRE + shift + field.reshape(2, -1)


def interpolate(X, points):
    """Return the images X (784, n) as seen at `points`: between pixels, a mean of the four around (bilinear)."""
    y, x = np.clip(points, 0, SIZE - 1.001)  # beyond the border all is as on it; .001 so that a next pixel is there
    row, column = y.astype(int), x.astype(int)  # of the upper left of the four
    down, right = (y - row).astype(np.float32), (x - column).astype(np.float32)  # the way from there, 0 to 1
    up, left = 1 - down, 1 - right
    X = np.ascontiguousarray(X)  # so that to take a pixel of all images is to take a row
    out = np.zeros_like(X)
    for i, j, weight in (0, 0, up * left), (0, 1, up * right), (1, 0, down * left), (1, 1, down * right):
        out += weight[:, np.newaxis] * X.take(SIZE * (row + i) + column + j, axis=0)
    return out


# The file.


def save_network(params, file):
    """Write a network to a binary file as npz: float32, biases as (256,), (64,) and (10,)."""
    data = io.BytesIO()  # on a full disk Python 3.10's zipfile would print a traceback
    np.savez(data, **{name: p.ravel() if name[0] == "b" else p for name, p in params.items()})
    file.write(data.getvalue())


def load_network(path):
    """Return the network in an npz file, as float32. Raises InputError where there is none that can be used."""
    try:
        if os.path.exists(path) and not os.path.isfile(path):  # to open a pipe is to wait for it
            raise ValueError("not a regular file")
        with zipfile.ZipFile(path) as archive:
            params = {name: read_array(archive, name, shape) for name, shape in SHAPES.items()}
        if not is_sound(params):
            raise ValueError("its numbers are NaN, infinite or too large")
        return params
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file: train_network.py makes one") from error
    except Exception as error:  # on a broken file zipfile raises nearly anything
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise InputError(f"{path}: not a network that can be used: {reason}: run train_network.py again") from error


def read_array(archive, name, shape):
    """Return an array of real numbers in an npz archive, as float32. Raises an error where it is not of `shape`."""
    member = archive.getinfo(f"{name}.npy")
    if member.file_size > 4e6 or member.compress_type > zipfile.ZIP_DEFLATED:  # bzip2 would unpack any size at once
        raise ValueError(f"{name} is larger than 4 MB, or compressed in another way than NumPy's")
    with archive.open(member) as file, np.errstate(over="ignore"):
        array = np.lib.format.read_array(file, allow_pickle=False)
        array = array.reshape(len(array), -1)  # a bias may have one dimension or two
        if array.shape != shape:
            raise ValueError(f"{name} is {array.shape}, not {shape}")
        return array.astype(np.float32, order="C", casting="same_kind")


def is_sound(params):
    """Is every number below 1e9? Then no sum in `forward`, at most 784 * 256 * 64 * 1e9 ** 3, leaves float32 (3e38)."""
    return all(np.abs(p).max() < 1e9 for p in params.values())  # NaN is not


# The command.


def main(argv=None):
    """Train a network, saving it after every epoch, and return the exit status, 0."""
    example = "example: python train_network.py --epochs 200"
    parser = Parser(description="Train a 784-256-64-10 neural network to read digits.", epilog=example)
    add = parser.add_argument
    add("--train", default=TRAIN_CSV, metavar="CSV", help="images to learn from (default: %(default)s)")
    add("--test", default=TEST_CSV, metavar="CSV", help="images to measure with (default: %(default)s)")
    add("-o", "--output", default=NETWORK, metavar="NPZ", help="where to save the network (default: %(default)s)")
    add("--epochs", type=int, help="times to go through the images (default: %(default)s)")
    add("--learning-rate", type=float, help="a step is this times the gradient (default: %(default)s)")
    add("--batch-size", type=int, help="images that a step learns from (default: %(default)s)")
    add("--momentum", type=float, help="share of each step that the next one repeats (default: %(default)s)")
    add("--weight-decay", type=float, help="how strongly weights are drawn towards 0 (default: %(default)s)")
    add("--no-distortion", dest="distortion", action="store_false", help="learn from the images just as they are")
    add("--resume", metavar="NPZ", help="go on from this network; learning rate and distortion begin anew")
    add("--seed", type=int, default=1, help="another seed gives another network, as good (default: %(default)s)")
    parser.set_defaults(**train.__kwdefaults__)
    options = parser.parse_args(argv)
    lowest = {"epochs": 1, "batch_size": 1, "learning_rate": 0, "momentum": 0, "weight_decay": 0, "seed": 0}
    for name, low in lowest.items():
        limit = 1 if name == "momentum" else 10**9
        if not low <= getattr(options, name) < limit:
            raise InputError(f"--{name.replace('_', '-')} must be {low} or more, and less than {limit:,}")
    if not options.output.endswith(".npz"):  # a CSV file or a picture is not to be written over
        raise InputError(f"{options.output}: a network's name ends in .npz: give another name")

    rng = np.random.default_rng(options.seed)
    params = load_network(options.resume) if options.resume else init_params(rng)
    train_labels, train_pixels = read_csv(options.train)
    test_labels, test_pixels = read_csv(options.test)
    hyperparameters = {name: getattr(options, name) for name in train.__kwdefaults__}
    results = train(params, train_pixels, train_labels, rng, options.quiet, **hyperparameters)
    saved = "is not written: no epoch is done"
    try:
        for epoch in range(1, options.epochs + 1):
            start = time.perf_counter()
            with replacing(options.output, [options.train, options.test]) as file, np.errstate(all="ignore"):
                loss, network = next(results)  # numbers that grow too large show in the loss
                save_network(network, file)
            saved = f"holds {epoch:,} epochs"
            right = np.mean(classify(network, test_pixels).argmax(axis=0) == test_labels)
            seconds = time.perf_counter() - start
            if not options.quiet:
                line = f"epoch {epoch}/{options.epochs}: loss {loss:.4f}, test accuracy {right:.2%}, {seconds:.1f} s\n"
                put(line, needed=False)  # the network is to be learned, whoever reads this
    except KeyboardInterrupt:
        say(f"stopped: {options.output} {saved}", options.quiet)
        raise
    pictures = "datasets/mnist/testing" if os.path.isdir("datasets/mnist/testing") else "datasets/sample/testing"
    named = "" if options.output == NETWORK else f"--network {options.output} "
    say(f"next: python predict.py {named}{pictures}", options.quiet)
    return 0


if __name__ == "__main__":
    run(main)
