"""Whatever picture is fed to us is read or refused: it runs no program, fills no memory, prints nothing."""

import functools
import io
import os
import random
import struct
import subprocess
import sys
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from conftest import FULL, REPO, drawn, linux, mutate, posix, run
from PIL import Image, ImageDraw

import data_tocsv
from data_tocsv import FORMATS, NO_DIGIT, try_image


@functools.cache
def encoded():
    """Return a drawn digit as the bytes of every format and mode that Pillow writes and we read."""
    Image.init()
    files, digit = {}, Image.open(drawn(3))
    for format in sorted(set(Image.SAVE) & set(FORMATS)):
        for mode in ("L", "RGB", "1", "RGBA", "P"):
            file = io.BytesIO()
            try:
                digit.convert(mode).save(file, format)
                Image.open(io.BytesIO(file.getvalue())).load()
            except Exception:  # not every format takes every mode
                continue
            files[f"{format}-{mode}"] = file.getvalue()
    for compression, mode in (("tiff_lzw", "L"), ("tiff_adobe_deflate", "RGB"), ("jpeg", "RGB"), ("group4", "1")):
        file = io.BytesIO()
        digit.convert(mode).save(file, "TIFF", compression=compression)
        files[f"TIFF-{compression}"] = file.getvalue()
    return files


@pytest.fixture
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def test_every_broken_picture_is_answered_or_refused_with_a_reason(tmp_path, no_warnings, capfd, monkeypatch):
    monkeypatch.setattr(data_tocsv, "is_own_process", True)
    rng, files = random.Random(1), list(encoded().values())
    common = [data for name, data in encoded().items() if name.startswith(("JPEG", "PNG", "TIFF"))]
    path = tmp_path / "x.jpg"
    for index in range(20_000 if FULL else 600):
        path.write_bytes(mutate(rng.choice(common if index % 2 else files), rng.choice(files), rng))
        with data_tocsv.caged():
            _, result = try_image(path)
        if isinstance(result, str):
            assert result and len(result) < 200, result
        else:
            assert result.shape == (784,) and result.dtype == np.uint8
    assert capfd.readouterr() == ("", "")


def test_every_format_that_is_promised_is_read(tmp_path):
    files = encoded()
    assert {"JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM"} <= {name.split("-")[0] for name in files}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
        _, result = try_image(tmp_path / name)
        assert not isinstance(result, str), (name, result)


@pytest.mark.parametrize(
    "name, data",
    [("HEIC", b"\0\0\0\x1cftypheic" + bytes(16)), ("PDF", b"%PDF-1.4"), ("SVG", b'<svg xmlns="">')]
    + [("PostScript", b"%!PS-Adobe-3.0 EPSF-3.0")],
)
def test_another_format_is_named_with_what_to_do(tmp_path, name, data):
    (tmp_path / "5.jpg").write_bytes(data)
    assert try_image(tmp_path / "5.jpg")[1] == f"{name}, which is not read here: save it as JPG or PNG"


def test_odd_but_valid_pictures(tmp_path, no_warnings):
    digit = Image.open(drawn(3))
    exif = Image.Exif()
    exif[0x010E] = "x" * 60_000
    digit.save(tmp_path / "exif.jpg", exif=exif)
    frames = [digit, *(Image.open(drawn(3, index)) for index in range(1, 5))]
    digit.save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    for name in ("exif.jpg", "moving.gif"):
        _, result = try_image(tmp_path / name)
        assert not isinstance(result, str)
    for size in ((1, 1), (1, 5000), (5000, 1), (2, 2)):
        for value in (0, 255):
            Image.new("L", size, value).save(tmp_path / "thin.png")
            try_image(tmp_path / "thin.png")


# A picture runs no program, and prints nothing.


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 28 28\n%%EndComments\nshowpage\n%%EOF\n"


def with_postscript():
    """Return files that are, begin with or hold PostScript, by name."""
    fields = [
        ((3, 60), b"\1\0"),
        ((3, 20), b"\0\x1c"),
        ((3, 30), b"\0\x1c"),
        ((3, 120), b"\0\1"),
        ((8, 10), POSTSCRIPT),
    ]
    iptc = b"".join(
        b"\x1c" + bytes(tag) + struct.pack(">H", len(body)) + body for tag, body in [*fields, ((8, 10), POSTSCRIPT)]
    )
    member = b"ic08" + struct.pack(">I", 8 + len(POSTSCRIPT)) + POSTSCRIPT
    icon = b"\0\0\1\0\1\0" + struct.pack("<4B2H2I", 28, 28, 0, 0, 1, 32, len(POSTSCRIPT), 22)
    return {
        **{f"5{suffix}": POSTSCRIPT for suffix in (".jpg", ".png", ".eps", ".ps", "", ".tif")},
        "dos.jpg": b"\xc5\xd0\xd3\xc6" + struct.pack("<II", 32, len(POSTSCRIPT)) + bytes(20) + POSTSCRIPT,
        "iptc.jpg": iptc,
        "icns.jpg": b"icns" + struct.pack(">I", 8 + len(member)) + member,
        "ico.jpg": icon + POSTSCRIPT,
    }


@posix
@pytest.mark.parametrize("others", [0, 2000], ids=["alone", "among pictures that workers read"])
def test_no_picture_runs_a_program(tmp_path, network, others):
    """Pillow gives PostScript to a program named gs, where there is one."""
    (tmp_path / "gs").write_text(f"#!/bin/sh\ntouch '{tmp_path}/ran'\necho forged\n")
    (tmp_path / "gs").chmod(0o755)
    (tmp_path / "in").mkdir()
    for name, data in with_postscript().items():
        (tmp_path / "in" / name).write_bytes(data)
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    paths = [f"{drawn(3)}\n" * others, "in\n", f"{drawn(3)}\n" * others]
    result = run("predict.py", "-q", "--network", network, "-", input="".join(paths), cwd=tmp_path, env=env)
    assert not (tmp_path / "ran").exists()
    assert result.stderr.count("\n") == len(with_postscript())
    answers = result.stdout.splitlines()
    assert len(answers) == 2 * others
    assert all(line.startswith(f"{drawn(3)}\t3\t") for line in answers) and len(set(answers)) <= 1


def test_libtiff_s_opinions_are_not_printed(tmp_path, network):
    """libtiff writes to file descriptor 2, here in this process and then in workers."""
    rng, good = random.Random(5), encoded()["TIFF-tiff_lzw"]
    for index in range(40):
        (tmp_path / f"{index}.tif").write_bytes(mutate(good, good[::-1], rng))
    broken = "".join(f"{index}.tif\n" for index in range(40))
    for paths in (broken, f"{drawn(3)}\n" * 2000 + broken):
        result = run("predict.py", "--network", network, "-", input=paths, cwd=tmp_path, check=1)
        assert all(line.startswith("predict.py: error: ") for line in result.stderr.splitlines())


# Large pictures.


def png(width, height, data=b""):
    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def tiff(side, tile):
    """Return a TIFF of side x side pixels, all in a tile of tile x tile."""
    data = zlib.compress(bytes(tile * tile))
    tags = [(256, side), (257, side), (258, 8), (259, 8), (262, 1), (277, 1), (322, tile), (323, tile)]
    tags += [(324, 8 + 2 + 12 * 10 + 4), (325, len(data))]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + data


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_pictures_that_would_fill_the_memory_are_refused(tmp_path):
    (tmp_path / "bomb.png").write_bytes(png(100_000, 100_000, bytes(10_000)))
    (tmp_path / "large.png").write_bytes(png(20_000, 6_000, bytes(10_000)))
    (tmp_path / "film").write_bytes(b"")
    os.truncate(tmp_path / "film", 3_000_000_000)  # takes no room on the disk
    assert "bomb" in try_image(tmp_path / "bomb.png")[1]
    assert try_image(tmp_path / "large.png")[1].startswith("120 megapixels: too large")
    assert try_image(tmp_path / "film")[1].startswith("3,000 MB: too large")


def test_a_program_that_has_imported_us_is_not_caged():
    """In several threads what each one puts back would be what another one had set."""
    resource = pytest.importorskip("resource")
    before = os.fstat(2), resource.getrlimit(resource.RLIMIT_DATA)
    with data_tocsv.caged():
        assert (os.fstat(2), resource.getrlimit(resource.RLIMIT_DATA)) == before


def page(width, height):
    """Return a page of paper (L) with a 7 on it."""
    paper = Image.new("L", (width, height), 255)
    points = [(0.3 * width, 0.2 * height), (0.7 * width, 0.2 * height), (0.45 * width, 0.8 * height)]
    ImageDraw.Draw(paper).line(points, fill=0, width=min(width, height) // 15)
    return paper


def test_a_phone_s_photo_of_200_megapixels_is_read(tmp_path):
    page(16320, 12240).save(tmp_path / "photo.jpg", quality=50)
    assert not isinstance(try_image(tmp_path / "photo.jpg")[1], str)


PEAK = r"""
import re, sys
import data_tocsv
data_tocsv.is_own_process = True
((_, result),) = next(data_tocsv.read_images([sys.argv[1]]))
print(re.search(r"VmHWM:\s+(\d+)", open("/proc/self/status").read())[1], result)
"""


def peak(path):
    """Return the memory that a process needs to read a picture, in megabytes, and what it answers (str)."""
    result = subprocess.run([sys.executable, "-c", PEAK, path], cwd=REPO, capture_output=True, text=True, check=True)
    kilobytes, _, answer = result.stdout.partition(" ")
    return int(kilobytes) / 1000, answer.strip()


@linux
@pytest.mark.parametrize(
    "name, mode, size, options",
    [("l.png", "L", (8000, 6200), {}), ("rgba.png", "RGBA", (8000, 6200), {}), ("16.png", "I;16", (8000, 6200), {})]
    + [("p.gif", "P", (8000, 6200), {}), ("rgb.bmp", "RGB", (6500, 5000), {}), ("la.png", "LA", (8000, 6200), {})]
    + [("f.tif", "F", (5000, 3900), {}), ("one.tif", "1", (8000, 4900), {}), ("cmyk.jpg", "CMYK", (8000, 6200), {})]
    + [("strip.tif", "RGB", (5000, 3900), {"compression": "tiff_lzw", "tiffinfo": {278: 5000}})]
    + [("fast.webp", "RGB", (4000, 3000), {"method": 0}), ("x.avif", "RGB", (4000, 3000), {"speed": 10})]
    + [("progressive.jpg", "RGB", (7000, 4600), {"progressive": True, "subsampling": 0})],
)
def test_the_largest_pictures_that_are_read_take_little_memory(tmp_path, name, mode, size, options):
    """Four workers that read such pictures are to take less than 1 GB together."""
    if mode == "I;16":
        picture = Image.fromarray(np.asarray(page(*size)).astype(np.uint16) * 200)
    else:
        picture = page(*size).convert(mode)
    Image.init()
    if name.endswith("avif") and "AVIF" not in Image.SAVE:
        pytest.skip("this Pillow does not write AVIF")
    picture.save(tmp_path / name, **({"compress_level": 1} if name.endswith("png") else {}), **options)
    megabytes, answer = peak(tmp_path / name)
    assert answer.startswith("[") and megabytes < 250, (megabytes, answer)


def several_scans():
    """Return a JPG of 16000 x 12000, all of which libjpeg keeps until its last scan, though it is not progressive."""
    file = io.BytesIO()
    page(1600, 1200).convert("RGB").save(file, "JPEG", subsampling=0)
    data = file.getvalue()
    size, scan = data.index(b"\xff\xc0") + 5, data.index(b"\xff\xda")
    one_colour = b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00"
    return data[:size] + struct.pack(">HH", 16000, 12000) + data[size + 4 : scan] + one_colour + data[scan + 14 :]


def metadata(count):
    """Return a JPG with so many empty pieces of metadata."""
    data = Path(drawn(3)).read_bytes()
    return data[:2] + b"\xff\xe1\x00\x02" * count + data[2:]


@linux
def test_what_is_made_to_fill_the_memory_is_stopped(tmp_path):
    """The limit is the system's, for whatever a decoder may come to need: the first files are read here, others not."""
    bombs = {"tile.tif": tiff(28, 16384), "scans.jpg": several_scans(), "metadata.jpg": metadata(2_500_000)}
    for name, data in bombs.items():
        (tmp_path / name).write_bytes(data)
        megabytes, answer = peak(tmp_path / name)
        assert megabytes < 250 and not answer.startswith("["), (name, megabytes, answer)
    (tmp_path / "whole.tif").write_bytes(tiff(1024, 1024))
    assert peak(tmp_path / "whole.tif")[1] == NO_DIGIT
