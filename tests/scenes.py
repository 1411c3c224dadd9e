"""Measure how many digits in rendered scenes are read correctly, and how many pages without a digit are refused.

Scenes are made from drawn digits, 900 x 1200 pixels, and look as if taken with a phone. A seed gives the same picture
every time. Settings of data_tocsv.py are chosen on even seeds and reported on odd ones, so every second seed is used.

example: python tests/scenes.py --network network.npz --count 10 --save pictures sheet note
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from conftest import drawn
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont, ImageOps

from predict import classify_pictures, find_network
from train_network import load_network

BICUBIC = Image.Resampling.BICUBIC
W, H = 900, 1200  # pixels
WHITE = (236, 234, 228)
PENS = [(40, 40, 45), (30, 45, 120), (25, 25, 25), (150, 30, 35), (85, 85, 90)]  # black, blue, felt, red, pencil
MARKERS = [(30, 50, 140), (35, 35, 40), (170, 40, 45), (30, 110, 70)]
DARK_WOODS = [(95, 62, 40), (70, 48, 36), (60, 58, 56), (110, 78, 52)]
LIGHT_WOOD, DESK, GREY_DESK = (176, 142, 104), (224, 218, 208), (196, 194, 190)
TABLES = [*DARK_WOODS, LIGHT_WOOD, DESK]
CHALK = [(225, 225, 220), (205, 205, 202)]
PRINTS = [(40, 40, 45), (110, 110, 115), (150, 60, 60), (70, 110, 170), (90, 150, 110)]  # printed lines
PASTELS = [(240, 215, 120), (170, 215, 170), (245, 180, 190), (165, 205, 235)]


def pick(rng, colours, spread=0):
    """Return one of the colours, made lighter or darker by up to `spread`."""
    return tuple((rng.choice(colours) + rng.integers(-spread, spread + 1)).tolist())


def to_picture(values):
    """Return an array, (height, width) or (height, width, 3), as a PIL.Image."""
    return Image.fromarray(values.clip(0, 255).astype(np.uint8))


def blurred(picture, radius):
    return picture.filter(ImageFilter.GaussianBlur(radius))


def along(turn, x=W / 2, y=H / 2):
    """Return each pixel's distance (H, W, 1) from the point x, y in the direction `turn` (radians)."""
    rows, columns = np.ogrid[:H, :W]
    return ((columns - x) * np.cos(turn) + (rows - y) * np.sin(turn)).astype(np.float32)[..., np.newaxis]


def write(rng, page, digit, longest, inks=PENS, box=None, turn=0.0, least=180, level=(60, 110)):
    """Write a digit (PIL.Image, 28 x 28, light on dark) onto a page, `least` to `longest` pixels long, within the box.

    Without a digit (None) the page stays empty.
    """
    if digit is None:
        return page
    size = float(rng.integers(least, longest))
    small = digit.crop(digit.point(lambda value: 255 * (value > 48)).getbbox())
    small = small.resize([round(size * side / max(small.size)) for side in small.size], BICUBIC)
    mask = blurred(ImageOps.expand(small, 20), size / 40)
    level = rng.uniform(*level)  # the higher, the thinner is the pen
    mask = mask.point(lambda value: round(min(255, max(0, (value - level) * 8 + 128))))
    mask = mask.rotate(turn, BICUBIC, expand=True)
    left, top, right, bottom = box or np.multiply(page.size * 2, [0.1, 0.1, 0.9, 0.9])
    mask.thumbnail((right - left, bottom - top))
    room = np.array([right - left, bottom - top]) - mask.size
    x, y = np.array([left, top]) + rng.uniform(0.2, 0.8, 2) * room
    page.paste(pick(rng, inks), (round(x), round(y)), mask)
    return page


def plain(rng, colour=WHITE, spread=12):
    """Return an empty page."""
    return Image.new("RGB", (W, H), pick(rng, [colour], spread))


def wood(rng, colours=DARK_WOODS, contrast=0.08):
    """Return a wooden table."""
    grain = to_picture(rng.normal(128, 40, (200, 6))).resize((W, H), BICUBIC)
    grain = np.asarray(grain, np.float32) / 40 - 3.2 + 0.15 * rng.standard_normal((H, W), np.float32)
    return to_picture(np.array(pick(rng, colours, 8), np.float32) * (1 + contrast * grain[..., np.newaxis]))


def cloth(rng):
    """Return a checked table-cloth."""
    side, turn = rng.integers(30, 70), rng.uniform(0, np.pi / 2)
    checks = along(turn) // side % 2 + along(turn + np.pi / 2) // side % 2
    red, blue = [(200, 195, 185), (130, 60, 60), (80, 30, 35)], [(150, 160, 175), (80, 95, 130), (40, 50, 85)]
    return to_picture(np.array([red, blue][rng.integers(2)])[checks[..., 0].astype(int)])


def lay(rng, scene, sheet, turn, at=None, squeeze=0.0, shadow=14):
    """Lay a sheet onto the scene, turned by so many degrees; `squeeze` makes it a trapezoid, narrow at the top."""
    (w, h), top = sheet.size, 1 - squeeze
    perspective = 1 / top, w * squeeze / 2 / h / top, -w * squeeze / 2 / top, 0, 1 / top, 0, 0, squeeze / h / top
    sheet = sheet.convert("RGBA").transform(sheet.size, Image.Transform.PERSPECTIVE, perspective, BICUBIC)
    sheet, mask = sheet.rotate(-turn, BICUBIC, expand=True), Image.new("L", (W, H))
    x, y = at or (W / 2 + rng.uniform(-40, 40), H / 2 + rng.uniform(-60, 60))
    corner = round(x - sheet.width / 2), round(y - sheet.height / 2)
    mask.paste(sheet.getchannel("A"), corner)
    scene.paste((0, 0, 0), (shadow // 2, shadow // 2), blurred(mask, shadow).point(lambda value: 0.45 * value))
    scene.paste(sheet, corner, sheet)
    return scene


def cast_shadow(rng, scene):
    """Return the scene with one side in shadow."""
    edge = along(rng.uniform(0, 2 * np.pi), rng.uniform(0.25, 0.75) * W, rng.uniform(0.25, 0.75) * H)
    return to_picture(np.asarray(scene) * (1 - 0.205 * (1 + np.tanh(edge / rng.uniform(10, 50)))))


def hard_shadow(rng, digit):
    """A phone casts its shadow, with sharp edges, onto a page."""
    scene, phone, dark = write(rng, plain(rng), digit, 500), Image.new("RGBA", (420, 900)), rng.uniform(0.4, 0.65)
    ImageDraw.Draw(phone).rounded_rectangle([0, 0, 420, 900], 50, fill=(0, 0, 0, round(255 * dark)))
    turned = phone.rotate(rng.uniform(-25, 25), BICUBIC, expand=True)
    corner = round(rng.uniform(0.1, 0.9) * W - turned.width / 2), round(rng.uniform(0.3, 0.7) * H)
    scene.paste(turned, corner, turned)
    return scene


def draw_finger(rng, scene, start, tip, width):
    """Draw a finger with its shadow."""
    mask = Image.new("L", (W, H))
    pen = ImageDraw.Draw(mask)
    pen.line([start, tip], fill=255, width=width)
    pen.ellipse([tip[0] - width / 2, tip[1] - width / 2, tip[0] + width / 2, tip[1] + width / 2], fill=255)
    scene.paste((0, 0, 0), (10, 12), blurred(mask, 18).point(lambda value: 0.35 * value))
    skin = np.array(pick(rng, [(205, 155, 130)], 25))
    scene.paste(ImageOps.colorize(blurred(mask, width / 5), tuple(skin // 2), tuple(skin)), mask=blurred(mask, 2))


def photograph(rng, scene):
    """Return the scene as a phone's camera sees it: light that falls off to one side, a little blur, noise."""
    light = rng.uniform(0.8, 1.05) * (0.875 - 0.25 * along(rng.uniform(0, 2 * np.pi)) / 1500)
    scene = np.asarray(blurred(scene, rng.uniform(0.5, 2)), np.float32)
    return to_picture(scene * light + 3.2 * rng.standard_normal((H, W, 1), np.float32))


# Scenes with a digit. Each returns a picture (PIL.Image, RGB) in even light.


def sheet(rng, digit, least=0, most=1, table=None, paper=WHITE, at=None, squeeze=0.0, scale=1.0):
    """A sheet of paper lies on a dark table, turned by `least` to `most` degrees."""
    size = int(scale * rng.integers(480, 700)), int(scale * rng.integers(560, 900))
    leaf = Image.new("RGB", size, pick(rng, [paper], 12))
    turned = rng.uniform(least, most) * rng.choice([-1, 1])
    back = turned + rng.uniform(-10, 10) if abs(turned) > 10 else 0  # the sheet is turned, the digit is upright
    write(rng, leaf, digit, min(500, (1 - squeeze) * size[0] - 120), turn=back)
    return lay(rng, table or wood(rng), leaf, turned, at, squeeze)


def in_hand(rng, digit):
    """A hand holds a sheet in front of something dark."""
    scene = sheet(rng, digit, 0, 10, at=(W / 2, H * 0.42))
    x = W / 2 + rng.uniform(-120, 120)
    for i, height in enumerate((0.8, 0.78, 0.77, 0.8)):
        draw_finger(rng, scene, (x - 260 + 150 * i, H + 60), (x - 200 + 120 * i, height * H), 105)
    return scene


def note(rng, digit, desk=DESK, shadow=8, level=(60, 110)):
    """A sticky note lies on a desk that is a little lighter, or as light."""
    scene, side = wood(rng, [desk], 0.01), int(rng.integers(420, 620))
    paper = Image.new("RGB", (side, side), pick(rng, [(238, 208, 80), (240, 170, 190), (150, 205, 130)]))
    write(rng, paper, digit, side - 140, level=level)
    return lay(rng, scene, paper, rng.uniform(3, 15) * rng.choice([-1, 1]), shadow=shadow)


def notebook(rng, digit):
    """A spiral notebook with holes lies at the edge of a dark table."""
    scene, left = plain(rng), int(rng.integers(60, 140))
    pen = ImageDraw.Draw(scene)
    pen.rectangle([0, 0, left - 40, H], fill=pick(rng, DARK_WOODS))
    for y in range(int(rng.integers(0, 40)), H, int(rng.integers(48, 64))):
        pen.ellipse([left - 12, y - 12, left + 12, y + 12], fill=(38, 38, 42))
        pen.line([left - 60, y + 6, left, y], fill=(120, 120, 125), width=7)
    return write(rng, scene, digit, 500, box=(left + 80, 100, W - 60, H - 100))


def whiteboard(rng, digit):
    """A whiteboard reflects a lamp."""
    scene, glare = plain(rng, (205, 208, 210), 8), Image.new("L", (W, H))
    write(rng, scene, digit, 500, MARKERS)
    x, y, r = rng.uniform(0, W), rng.uniform(0, H), rng.uniform(60, 160)
    ImageDraw.Draw(glare).ellipse([x - r, y - r / 2, x + r, y + r / 2], fill=230)
    scene.paste((255, 255, 255), mask=blurred(glare, 60))
    return scene


def card(rng, digit, table=None, paper=WHITE, inks=PENS, radius=(30, 60), frame=None):
    """A card with round corners lies on a dark table."""
    width, height, radius = (int(rng.integers(*limits)) for limits in ((480, 640), (600, 900), radius))
    leaf, mask, box = Image.new("RGB", (width, height), paper), Image.new("L", (width, height)), [0, 0, width, height]
    write(rng, leaf, digit, width - 160, inks)
    ImageDraw.Draw(leaf).rounded_rectangle(box, radius, outline=frame or paper, width=18)
    ImageDraw.Draw(mask).rounded_rectangle(box, radius, fill=255)
    leaf.putalpha(mask)
    return lay(rng, table or wood(rng), leaf, rng.uniform(-15, 15))


def calendar(rng, digit):
    """A page of a calendar, with a month in its red header, lies on a grey desk."""
    page, top = Image.new("RGB", (520, 600), WHITE), int(rng.integers(90, 150))
    pen = ImageDraw.Draw(page)
    pen.rectangle([0, 0, 520, top], fill=pick(rng, [(200, 45, 45)], 20))
    pen.text((260, top / 2), "MARCH", (250, 250, 250), ImageFont.load_default(top // 2), anchor="mm")
    write(rng, page, digit, 360, box=(60, top + 30, 460, 570))
    return lay(rng, wood(rng, [GREY_DESK], 0.02), page, rng.uniform(-8, 8))


def finger(rng, digit):
    """A finger covers the edge of a page."""
    scene, y = write(rng, plain(rng), digit, 500), rng.uniform(0.1, 0.9) * H
    start, tip = ((-40, 20), (W + 40, W - 30))[rng.integers(2)]
    draw_finger(rng, scene, (start, y + 80), (tip, y), int(rng.integers(80, 120)))
    return scene


def pen_beside(rng, digit):
    """A pen lies beside the digit."""
    scene, left = plain(rng), rng.integers(2)
    write(rng, scene, digit, 420, box=(60 + 200 * left, 100, W - 260 + 200 * left, H - 100))
    length, width = int(rng.integers(700, 1000)), int(rng.integers(26, 44))
    barrel = Image.new("RGB", (width, length), pick(rng, [*MARKERS, (200, 160, 40)]))
    ImageDraw.Draw(barrel).rectangle([width * 0.2, 0, width * 0.35, length], fill=(215, 215, 220))  # it shines
    outline = [(0, 0), (width, 0), (width, length - 70), (width // 2, length), (0, length - 70)]
    mask = Image.new("L", barrel.size)
    ImageDraw.Draw(mask).polygon(outline, fill=255)
    barrel.putalpha(mask)
    x = rng.uniform(80, 130)
    return lay(
        rng, scene, barrel, rng.uniform(-8, 8), (x if left else W - x, H / 2 + rng.uniform(-100, 100)), shadow=10
    )


def app(rng, digit, paper=(255, 255, 255), ink=(0, 0, 0), bar=(235, 235, 240)):
    """A screenshot of a drawing program with tools above and below."""
    scene = Image.new("RGB", (W, H), paper)
    pen, height, step = ImageDraw.Draw(scene), rng.integers(70, 120), int(rng.integers(90, 200))
    for top in (0, H - height):
        pen.rectangle([0, top, W, top + height], fill=bar)
        for x in range(40, W - 60, step):
            tool = tuple(rng.integers(60, 200, 3).tolist())
            pen.rounded_rectangle([x, top + 20, x + 36, top + 56], 8, fill=tool)
    return write(rng, scene, digit, 600, [ink])


# Forms. They are photographed, or scanned.


def boxes(rng, digit, count=1, share=(0.35, 0.85), turn=0.0):
    """A printed box, or a comb of several with one digit; share: of the box's sides that the digit takes."""
    scene, height = plain(rng), int(rng.integers(280, 600) / count**0.8)
    width, line, colour = int(height * rng.uniform(0.75, 1)), int(rng.integers(2, height / 25)), pick(rng, PRINTS)
    left, top = (np.array([W - count * width, H - height]) * rng.uniform(0.2, 0.8, 2)).astype(int).tolist()
    for x in range(left, left + count * width, width):
        ImageDraw.Draw(scene).rectangle([x, top, x + width, top + height], outline=colour, width=line)
    left, share = left + width * int(rng.integers(count)), rng.uniform(*share)
    edge = line + 4 if share < 0.9 else -(share - 0.9) * height  # a larger one sticks out
    room = left + edge, top + edge, left + width - edge, top + height - edge
    write(rng, scene, digit, share * height + 1, box=room, least=share * height)
    return scene.rotate(turn, BICUBIC, fillcolor=scene.getpixel((0, 0)))


def circle(rng, digit):
    """A printed circle or ellipse around the digit."""
    scene, size = plain(rng), rng.integers(250, 600)
    x, y, w, h = rng.uniform(320, W - 320), rng.uniform(320, H - 320), size * rng.uniform(0.4, 0.5), size / 2
    ImageDraw.Draw(scene).ellipse(
        [x - w, y - h, x + w, y + h], outline=pick(rng, PRINTS), width=int(rng.integers(2, size / 25))
    )
    return write(rng, scene, digit, 1.2 * h, box=(x - 0.6 * w, y - 0.6 * h, x + 0.6 * w, y + 0.6 * h), least=0.7 * h)


def underlined(rng, digit, gap=(0.06, 0.25), length=(1, 2.5)):
    """A printed line under the digit; gap: from its foot, as a share of its height; length: of its width."""
    paper = plain(rng)
    scene = write(rng, paper.copy(), digit, 500)
    left, top, right, bottom = ImageChops.difference(scene, paper).getbbox()
    y, half = bottom + rng.uniform(*gap) * (bottom - top), rng.uniform(*length) * (right - left) / 2
    middle = (left + right) / 2 + rng.uniform(-0.1, 0.1) * half
    line = int(rng.integers(2, max(3, (bottom - top) / 25)))
    ImageDraw.Draw(scene).line([middle - half, y, middle + half, y], fill=pick(rng, PRINTS), width=line)
    return scene


def tools(rng, digit):
    """A window with a bar of coloured squares above the digit."""
    scene, count, height = plain(rng, (255, 255, 255), 0), int(rng.integers(3, 13)), int(rng.integers(70, 150))
    side = min(0.6 * height, 0.7 * W / count)
    for x in (np.arange(count) + 0.2) * W / count:
        box = [x, (height - side) / 2, x + side, (height + side) / 2]
        ImageDraw.Draw(scene).rectangle(box, fill=tuple(rng.integers(0, 256, 3).tolist()))
    return write(rng, scene, digit, 650, box=(60, height + 30, W - 60, H - 60))


# Pages without a digit.


def ruled(rng, squared=False, pitch=None):
    """Ruled or squared paper."""
    scene, pitch, width = plain(rng), pitch or int(rng.integers(40, 110)), int(rng.integers(2, 5))
    pen, colour, drop = ImageDraw.Draw(scene), pick(rng, [(150, 170, 205)], 25), rng.uniform(-0.05, 0.05)
    for at in range(int(rng.integers(-100, 0)), H + 100, pitch):
        pen.line([(0, at), (W, at + drop * W)], fill=colour, width=width)
        if squared:
            pen.line([(at, 0), (at - drop * H, H)], fill=colour, width=width)
    return scene


def dark_corners(rng, least=0.3, most=0.8):
    """A page that is darker towards the corners, at the darkest by the share `least` to `most`."""
    squares = (2 * along(0) / W) ** 2 + (2 * along(np.pi / 2) / H) ** 2
    return to_picture(np.asarray(plain(rng)) * (1 - rng.uniform(least, most) * squares / 2))


SCENES = {  # each is a function of a random generator and a digit
    "page": lambda rng, digit: write(rng, plain(rng), digit, 500),
    "sheet": sheet,
    "sheet turned 4 to 12": lambda rng, digit: sheet(rng, digit, 4, 12),
    "sheet turned 12 to 40": lambda rng, digit: sheet(rng, digit, 12, 40),
    "sheet on light wood": lambda rng, digit: sheet(rng, digit, 0, 20, wood(rng, [LIGHT_WOOD], 0.05)),
    "sheet on checked cloth": lambda rng, digit: sheet(rng, digit, 0, 25, cloth(rng)),
    "sheet seen at an angle": lambda rng, digit: sheet(rng, digit, 0, 8, squeeze=rng.uniform(0.1, 0.3)),
    "sheet cut off": lambda rng, digit: sheet(
        rng, digit, 2, 14, at=(rng.choice([315, 585]), rng.choice([455, 745])), scale=1.2
    ),
    "sheet in colour": lambda rng, digit: sheet(rng, digit, 0, 25, paper=pick(rng, PASTELS)),
    "sheet in shadow": lambda rng, digit: cast_shadow(rng, sheet(rng, digit, 0, 20)),
    "sheet in hand": in_hand,
    "sticky note": note,
    "sticky note, thin pen": lambda rng, digit: note(rng, digit, GREY_DESK, 40, (90, 130)),
    "spiral notebook": notebook,
    "whiteboard": whiteboard,
    "blackboard": lambda rng, digit: write(rng, wood(rng, [(48, 62, 54)], 0.03), digit, 500, CHALK),
    "calendar": calendar,
    "card": card,
    "dark card": lambda rng, digit: card(rng, digit, plain(rng, DESK), (52, 54, 62), CHALK, (1, 40)),
    "phone": lambda rng, digit: card(rng, digit, wood(rng, TABLES), (245, 245, 250), PENS[:3], (50, 80), (15, 15, 18)),
    "finger": finger,
    "pen beside": pen_beside,
    "shadow of a phone": hard_shadow,
    "app": app,
    "dark app": lambda rng, digit: app(rng, digit, (24, 24, 28), (245, 245, 245), (45, 45, 52)),
}
FORMS = {
    "box": boxes,
    "box turned": lambda rng, digit: boxes(rng, digit, turn=rng.uniform(-10, 10)),
    "comb": lambda rng, digit: boxes(rng, digit, int(rng.integers(2, 6))),
    "tight box": lambda rng, digit: boxes(rng, digit, share=(0.9, 1.15)),
    "circle": circle,
    "line under": underlined,
    "line through foot": lambda rng, digit: underlined(rng, digit, (-0.12, -0.02), (1.15, 1.8)),
    "as high as the ruling": lambda rng, digit: write(
        rng, ruled(rng, pitch=int(rng.integers(200, 350))), digit, 350, least=200
    ),
    "in a lamp's light": lambda rng, digit: write(rng, dark_corners(rng, 0.3, 0.8), digit, 500),
}
SCENES |= FORMS | {f"{name}, scanned": form for name, form in FORMS.items()} | {"app with tools": tools}
BLANKS = {
    "blank page": plain,
    "empty sheet": lambda rng: sheet(rng, None, 0, 40),
    "empty sheet at an angle": lambda rng: sheet(rng, None, 0, 8, squeeze=rng.uniform(0.1, 0.3)),
    "empty card": lambda rng: card(rng, None),
    "empty dark card": lambda rng: card(rng, None, plain(rng, DESK), (52, 54, 62), CHALK, (1, 40)),
    "empty sticky note": lambda rng: note(rng, None),
    "ruled paper": ruled,
    "squared paper": lambda rng: ruled(rng, squared=True),
    "shadow on a page": lambda rng: cast_shadow(rng, plain(rng)),
    "dark corners": dark_corners,
    "noise": lambda rng: (
        to_picture(rng.normal(128, 40, [rng.integers(8, 400)] * 2)).resize((W, H), BICUBIC).convert("RGB")
    ),
}


# The command.


def save_scene(path, name, seed, digit=None):
    """Save a scene, with a digit (PIL.Image, 28 x 28, light on dark) or blank, as a JPG file."""
    rng = np.random.default_rng([seed, *name.encode()])
    picture = SCENES[name](rng, digit) if digit else BLANKS[name](rng)
    if "app" not in name and "scanned" not in name:
        picture = photograph(rng, picture)
    picture.save(path, "JPEG", quality=int(rng.integers(70, 92)))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", metavar="WORD", help="only scenes with one of these words in their names")
    parser.add_argument("--network", metavar="NPZ", help="network to use (default: network.npz)")
    parser.add_argument(
        "--count", type=int, default=40, metavar="N", help="pictures of each scene (default: %(default)s)"
    )
    parser.add_argument("--first", type=int, default=1, metavar="SEED", help="first seed (default: %(default)s)")
    parser.add_argument(
        "--save", metavar="DIR", help="keep the pictures in this folder, in a sub-folder for each scene"
    )
    args = parser.parse_args()
    params, temporary = load_network(args.network or find_network()), tempfile.TemporaryDirectory()
    for number, name in enumerate([*SCENES, *BLANKS]):
        if args.words and not any(word in name for word in args.words):
            continue
        folder, paths, right, refused = Path(args.save or temporary.name) / name, {}, 0, 0
        folder.mkdir(parents=True, exist_ok=True)
        for seed in range(args.first, args.first + 2 * args.count, 2):
            label = seed // 2 % 10
            path = folder / f"{seed}-{label}.jpg"
            save_scene(path, name, seed, Image.open(drawn(label, seed // 20 + 4 * number)) if name in SCENES else None)
            paths[path] = label
        for path, _, p in classify_pictures(paths, params):
            refused += p is None
            right += p is not None and p.argmax() == paths[path]
        share = f"{right / args.count:.1%} right" if name in SCENES else ""
        print(f"{name:24} {share:>12} {refused / args.count:>7.1%} refused", flush=True)


if __name__ == "__main__":
    main()
