"""Folders of pictures to CSV files and back: the rows, their order, and the errors for bad input."""

import itertools
import os
import shutil
import threading
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from conftest import drawn, run
from PIL import Image

import data_tocsv
from data_tocsv import InputError, find_pictures, main, read_csv, read_image, read_images, to_csv, walk


def convert(*args):
    return main([str(arg) for arg in args])


def make_folders(root, train="training", test="testing"):
    """Make a folder of training and testing pictures: of each digit 9.jpg and 10.jpg, and 9.jpg."""
    for digit in range(10):
        for part, names in ((train, "9 10"), (test, "9")):
            os.makedirs(root / part / str(digit))
            for index, name in enumerate(names.split()):
                shutil.copy(drawn(digit, index), root / part / str(digit) / f"{name}.jpg")
    return root


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Work in a folder that holds only `digits`, a folder of pictures."""
    monkeypatch.chdir(tmp_path)
    return make_folders(tmp_path / "digits")


def decoded(path):
    """Return what Pillow decodes, (784,) uint8."""
    with Image.open(path) as picture:
        return np.asarray(picture.convert("L")).ravel()


def test_rows_are_the_label_and_what_pillow_decodes_by_digit_and_then_by_name(folder, capsys):
    assert convert(folder, "-o", ".") == 0
    for part, csv, names in (("training", "train_images.csv", ["9", "10"]), ("testing", "test_images.csv", ["9"])):
        paths = [folder / part / str(digit) / f"{name}.jpg" for digit in range(10) for name in names]
        rows = [[int(path.parent.name), *decoded(path)] for path in paths]
        with open(csv, "rb") as file:
            assert file.read() == "".join(",".join(map(str, row)) + "\n" for row in rows).encode()
    out, err = capsys.readouterr()
    train_csv, test_csv = os.path.join(".", "train_images.csv"), os.path.join(".", "test_images.csv")
    command = f'train_network.py --train "{train_csv}" --test "{test_csv}" --epochs 200'
    assert out == "" and f"{train_csv}: 20 rows\n" in err and err.endswith(f"next: python {command}\n")


def test_names_are_in_natural_order_sub_folders_after_files_hidden_ones_skipped(tmp_path):
    names = ["1.jpg", "2.jpg", "2a.jpg", "10.jpg", "a2.jpg", "a10.jpg", "b/1/1.jpg", "b/2/1.jpg", "b/10/1.jpg"]
    for name in [*names, ".hidden.jpg", ".hidden/1.jpg", "a.csv.123.new", "Thumbs.db", "ehthumbs.db", "b/desktop.ini"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert list(walk(tmp_path)) == [str(tmp_path / name) for name in names]
    assert sorted(["1.jpg", "01.jpg", "001.jpg"], key=data_tocsv.natural) == ["001.jpg", "01.jpg", "1.jpg"]


@pytest.mark.parametrize(
    "train, test",
    [("MNIST - JPG - training", "MNIST - JPG - testing"), ("trainingSet", "testSet"), ("train", "test")]
    + [("TRAIN", "TEST"), ("my training digits", "my tests")],
)
def test_the_usual_names_of_folders_are_understood(tmp_path, train, test):
    make_folders(tmp_path, train, test)
    os.mkdir(tmp_path / "tests of mine")  # it holds none of 0 to 9
    os.makedirs(tmp_path / ".training-backup" / "0")
    shutil.copytree(tmp_path / test / "2", tmp_path / train / "5" / "2")  # the nearest folder counts
    labels = [sorted(label for label, _ in pictures) for pictures in find_pictures(tmp_path)]
    assert labels == [sorted([*range(10), *range(10), 2]), list(range(10))]


def test_mnist_is_taken_before_the_sample_where_both_are_there(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    make_folders(tmp_path / "datasets" / "sample")
    assert convert() == 0 and len(read_csv("datasets/train_images.csv")[0]) == 20
    assert capsys.readouterr().err.endswith("next: python train_network.py --epochs 200\n")
    (make_folders(tmp_path / "datasets" / "mnist") / "training" / "4" / "9.jpg").unlink()
    assert convert("-q") == 0 and len(read_csv("datasets/train_images.csv")[0]) == 19
    assert capsys.readouterr() == ("", "")


def test_the_rows_of_several_folders_follow_one_another(folder, tmp_path):
    shutil.rmtree(make_folders(tmp_path / "own", "train", "test") / "test")
    for path in (tmp_path / "own").rglob("10.jpg"):
        path.unlink()
    convert("digits", "-o", ".")
    once = read_csv("train_images.csv")
    convert("own", "digits", "-o", ".")
    for several, single in zip(read_csv("train_images.csv"), once):
        np.testing.assert_array_equal(several, np.concatenate([single[::2], single]))
    assert len(read_csv("test_images.csv")[0]) == 10


@pytest.mark.skipif(os.name == "nt", reason="not everyone may make links")
def test_a_link_in_place_of_the_output_stays_and_a_private_file_private(folder):
    os.symlink("elsewhere.csv", "train_images.csv")
    Path("elsewhere.csv").touch(0o600)
    convert(folder, "-o", ".")
    assert os.path.islink("train_images.csv") and len(read_csv("elsewhere.csv")[0]) == 20
    assert os.stat("elsewhere.csv").st_mode & 0o777 == 0o600


def test_the_output_folder_is_made_but_not_the_one_above_it(folder):
    convert(folder, "-o", "new/")
    assert sorted(os.listdir("new")) == ["test_images.csv", "train_images.csv"]
    with pytest.raises(FileNotFoundError, match="no such folder: .*above'"):
        convert(folder, "-o", "above/new")


@pytest.mark.skipif("MNIST_JPG" not in os.environ, reason="MNIST_JPG does not name the folder of MNIST's JPGs")
def test_all_of_mnist_is_written_as_pillow_decodes_it(tmp_path):
    mnist = Path(os.environ["MNIST_JPG"]).resolve()
    run("data_tocsv.py", mnist, "-o", ".", "-q", cwd=tmp_path, check=0)
    for word, csv, count in (("train", "train_images.csv", 60_000), ("test", "test_images.csv", 10_000)):
        (part,) = (path for path in mnist.iterdir() if word in path.name)
        paths = [path for d in range(10) for path in sorted((part / str(d)).iterdir(), key=lambda p: int(p.stem))]
        labels, pixels = read_csv(tmp_path / csv)
        assert len(labels) == len(paths) == count
        for label, row, path in zip(labels, pixels, paths):
            assert label == int(path.parent.name) and (row == decoded(path)).all(), path


@pytest.mark.parametrize("length, same", [(13, False), (14, True), (20, True), (21, False)])
@pytest.mark.parametrize("move", [0, 2, -1])
@pytest.mark.parametrize("ink", [70, 255])
def test_only_what_is_of_mnist_s_length_centred_and_grey_is_left_as_it_is(length, same, move, ink):
    pixels = np.zeros((28, 28), np.uint8)
    pixels[14 - length // 2 :][:length, 12 + move : 16 + move] = ink
    same = same and move == 0 and ink < 255
    assert data_tocsv.looks_like_mnist(pixels.ravel()) == data_tocsv.looks_like_mnist(pixels.T.ravel()) == same
    assert not data_tocsv.looks_like_mnist(np.maximum(pixels.ravel(), 20))  # grey paper


def test_bad_pictures_are_reported_with_the_reason_and_the_others_converted(folder, tmp_path):
    bad = folder / "training" / "4"
    exif = b"Exif\0\0II*\0\x08\0\0\0\x05\0"  # cut: Pillow warns, and can read the picture
    Image.open(drawn(3)).save(folder / "training" / "3" / "exif.jpg", exif=exif)
    (bad / "text.jpg").write_text("no picture")
    (bad / "empty.jpg").write_bytes(b"")
    (bad / "cut.jpg").write_bytes(drawn(3).read_bytes()[:300])
    Image.new("L", (300, 400), 255).save(bad / "blank.jpg")
    reasons = {"text": "not a picture", "empty": "not a picture", "cut": "broken picture", "blank": "no digit found"}
    if os.name != "nt":
        (bad / "link.jpg").symlink_to("nowhere")
        (bad / "linked").symlink_to(bad.with_name("3"))  # linked folders are passed over
        os.mkfifo(bad / "pipe.jpg")
        reasons |= {"link": "No such file", "pipe": "neither a file nor a folder"}
    result = run("data_tocsv.py", "digits", "-o", ".", cwd=tmp_path, check=1)
    *lines, rows, _, _, last = result.stderr.splitlines()
    assert last == f"data_tocsv.py: {len(reasons)} not read: exit status 1"
    lines.sort()
    for line, (name, reason) in zip(lines, sorted(reasons.items()), strict=True):
        path = os.path.join("digits", "training", "4", f"{name}.jpg")
        assert line.startswith(f"data_tocsv.py: {path}: {reason}"), line
    assert len(read_csv(tmp_path / "train_images.csv")[0]) == 21


def test_a_folder_that_cannot_be_listed_is_reported(folder, monkeypatch, capsys):
    locked, scandir = os.path.join(folder, "testing", "5", "locked"), os.scandir
    os.mkdir(locked)

    def refuse(path):
        if path == locked:
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert convert(folder, "-o", ".", "-q") == 1
    assert f"{locked}: neither a file nor a folder that can be listed" in capsys.readouterr().err


@pytest.mark.parametrize(
    "spoil, message",
    [
        (shutil.rmtree, "digits"),
        (lambda d: (shutil.rmtree(d), d.write_text("")), "digits"),
        (lambda d: shutil.rmtree(d / "training"), "digits: no training pictures: name another folder"),
        (lambda d: (shutil.rmtree(d / "testing"), (d / "training").rename(d / "latest_train")), "no test pictures"),
        (lambda d: [path.unlink() for path in d.glob("t*/*/*")], "no pictures: 0 to 9 in .*training, .* are empty"),
        (lambda d: [path.unlink() for path in d.glob("testing/*/*")], "digits: no test pictures: name another folder"),
        (lambda d: (d / "train2" / "0").mkdir(parents=True), 'digits: several sub-folders with "train" in their'),
        (lambda d: shutil.rmtree(d / "testing" / "3"), "testing: no sub-folder 3: make all of 0 to 9"),
        (lambda d: [path.write_text("x") for path in d.glob("testing/*/*")], "none of its 10 pictures can be read"),
        (lambda d: os.mkdir("train_images.csv"), "(directory|denied): .*train_images.csv"),
        (lambda d: os.mkdir("test_images.csv"), "(directory|denied): .*test_images.csv"),
    ],
)
def test_folders_that_cannot_be_used_change_nothing(folder, tmp_path, spoil, message):
    spoil(folder)
    old = tmp_path / ("test_images.csv" if os.path.exists("train_images.csv") else "train_images.csv")
    old.write_text("old")
    before = sorted(os.listdir())
    with pytest.raises((InputError, OSError), match=message):
        convert("digits", "-o", ".")
    assert old.read_text() == "old" and sorted(os.listdir()) == before


@pytest.mark.parametrize("name, reason", [("digits/training", "give the folder above"), (".", "it must hold train")])
def test_a_folder_that_adds_nothing_is_an_error(folder, name, reason):
    with pytest.raises(InputError, match=f"{name}: no pictures: {reason}"):
        convert("digits", name, "-o", ".")


def test_an_interruption_says_that_older_files_are_kept(folder, monkeypatch):
    convert("digits", "-o", ".", "-q")
    monkeypatch.setattr(data_tocsv, "to_csv", Mock(side_effect=KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt, match="older files are kept"):
        convert("digits", "-o", ".", "-q")
    assert len(read_csv("train_images.csv")[0]) == 20


@pytest.fixture
def large(tmp_path, monkeypatch):
    """Paths of large files, which are read in threads."""
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    paths = [tmp_path / f"{index}.bmp" for index in range(9)]
    for index, path in enumerate(paths):
        Image.open(drawn(3)).resize((300, 300)).rotate(5 * index).save(path)
    assert data_tocsv.is_large(paths[0]) and not data_tocsv.is_large(drawn(1))
    return paths


def test_large_pictures_and_small_ones_come_in_order_with_errors_in_their_places(tmp_path, large):
    (tmp_path / "cut.bmp").write_bytes(large[0].read_bytes()[:60_000])
    paths = [*large, drawn(1), *large, tmp_path / "cut.bmp", tmp_path / "none", drawn(2), drawn(3), *large]
    results = list(read_images(paths))
    assert [path for path, _ in results] == paths
    for path, pixels in results:
        if path.name in ("cut.bmp", "none"):
            assert ("broken picture" if path.name == "cut.bmp" else "No such file") in str(pixels)
        else:
            assert (pixels == read_image(path)).all()


def test_large_pictures_are_read_at_the_same_time(large, monkeypatch):
    pair = threading.Barrier(2)
    monkeypatch.setattr(data_tocsv, "read_image", lambda path: pair.wait(9))
    assert sorted(number for _, number in read_images(large[:8])) == 4 * [0] + 4 * [1]


def test_only_a_few_pictures_are_read_ahead(large):
    taken = itertools.count()
    results = read_images(large[0] for _ in taken)  # endless
    assert len([next(results) for _ in range(20)]) == 20 and next(taken) < 35


ROWS = np.column_stack([[7, 0, 9], np.arange(3 * 784).reshape(3, 784) % 256]).astype(np.uint8)
TEXT = b"".join(to_csv(row[0], row[1:]) for row in ROWS).decode()
HEADER = ",".join(["label", *(f"pixel{i}" for i in range(784))]) + "\n"


def read(path, text):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return np.column_stack(read_csv(path))


VARIANTS = [TEXT, HEADER + TEXT, "\ufeff" + TEXT, "\ufeff" + HEADER + TEXT, TEXT.rstrip("\n")]
VARIANTS += [TEXT.replace(",", ", "), TEXT.replace(",", ",00"), TEXT.replace("\n", "\r\n"), TEXT.replace("\n", "\n\n")]


@pytest.mark.parametrize("text", VARIANTS, ids=range(len(VARIANTS)))
def test_csv_files_are_read_as_we_and_others_write_them(tmp_path, text):
    np.testing.assert_array_equal(read(tmp_path / "x.csv", text), ROWS)


def with_value(row, column, value):
    lines = [line.split(",") for line in TEXT.splitlines()]
    lines[row][column] = value
    return "".join(",".join(line) + "\n" for line in lines)


FAULTS = [
    *[(text, 0) for text in ("", "\n\n", HEADER)],
    *[(with_value(0, 9, value), 1) for value in ("256", "-1", "x", "", "1.0", "1e2", "1e400", "nan", '"5"', "0256")],
    *[(text, 1) for text in (TEXT.replace("\n", ",\n"), TEXT[2:], "1," * 100_000, bytes(range(256)) * 20)],
    *[(with_value(2, column, value), 3) for column, value in ((784, "256"), (0, "10"), (0, "-1"))],
    *[(TEXT + line + "\n" + TEXT, 4) for line in ("1,2,3", "#", "label")],
    (HEADER + "\n" + with_value(1, 0, "255"), 4),
    (1000 * TEXT + TEXT[:999], 3001),
]


@pytest.mark.parametrize("text, line", FAULTS, ids=range(len(FAULTS)))
def test_a_wrong_csv_file_is_refused_with_the_line(tmp_path, text, line):
    fault = f"line {line}: expected a digit and 784 whole numbers from 0 to 255" if line else "no rows"
    with pytest.raises(InputError, match=f"x.csv: {fault}$"):
        read(tmp_path / "x.csv", text)
