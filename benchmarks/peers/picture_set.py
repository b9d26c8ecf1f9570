#!/usr/bin/env python3
"""Writes the pictures that the bundled model has learned, one PNG for each label, for retrieval accuracy.

    picture_set.py OUT_DIR --images emoji-datasource-google-16.0.0.tgz --labels emojibase-data-17.0.0.tgz

Both archives are npm packages (`npm pack NAME@VERSION` fetches one). OUT_DIR gets LABEL.png, 64x64 RGB on white, and
labels.txt, one label a line in the order of the image package. In a file name each byte of the label's UTF-8 that is
not an ASCII letter or digit, a space, or one of -_.~,()& is written as %XX, as in a URL: "family: adult, child" is
"family%3A adult, child.png". Undo it with any URL decoder that leaves + alone.

Which labels: MODEL_CARD.md of the model names the kinds that were left out, not each label; SKIPPED and GENDERED below
were found from that and from what the model can draw. They keep 1285; the card says 1286.
"""
import argparse
import io
import json
import re
import sys
import tarfile
import urllib.parse
from pathlib import Path

from PIL import Image

SKIPPED = {"country-flag", "subdivision-flag", "keycap", "alphanum", "arrow", "av-symbol", "currency", "math",
           "punctuation", "gender", "zodiac", "religion", "family", "skin-tone"}
CLOCK_FACE = re.compile("o’clock|-thirty")
# Twins of a person emoji, and clothes and rooms named by gender; "man: red hair" and plain "man" have no other.
GENDERED = re.compile("(man|woman|men|women)[ ’]")
SIZE = 64


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder to write; made if missing, its files of these names replaced")
    parser.add_argument("--images", type=Path, required=True, help="emoji-datasource-google-16.0.0.tgz")
    parser.add_argument("--labels", type=Path, required=True, help="emojibase-data-17.0.0.tgz")
    return parser.parse_args()


def read(archive, name):
    try:
        return archive.extractfile(f"package/{name}").read()
    except KeyError:
        sys.exit(f"{archive.name}: no package/{name}; is it the npm archive that --help names?")


def check(archive, name, version):
    package = json.loads(read(archive, "package.json"))
    if (package["name"], package["version"]) != (name, version):
        sys.exit(f"{archive.name} is {package['name']} {package['version']}; {name} {version} is needed")


def hexcode(code):
    """The two packages disagree on where a variation selector stands, so it is left out on both sides."""
    return code.upper().replace("-FE0F", "")


def kept(entry, label):
    return (entry["subcategory"] not in SKIPPED and entry["has_img_google"]
            and not CLOCK_FACE.search(label) and not GENDERED.match(label))


def on_white(png):
    picture = Image.open(io.BytesIO(png)).convert("RGBA")
    if picture.size != (SIZE, SIZE):
        sys.exit(f"a picture of {picture.size}; {SIZE}x{SIZE} was expected")
    white = Image.new("RGBA", picture.size, "white")
    white.alpha_composite(picture)
    return white.convert("RGB")


def file_name(label):
    return urllib.parse.quote(label, safe=" -_.,()&") + ".png"


def main():
    args = parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    with tarfile.open(args.images) as images, tarfile.open(args.labels) as labels:
        check(images, "emoji-datasource-google", "16.0.0")
        check(labels, "emojibase-data", "17.0.0")
        names = {hexcode(entry["hexcode"]): entry["label"] for entry in json.loads(read(labels, "en/data.json"))}
        entries = json.loads(read(images, "emoji.json"))
        written = []
        for entry in entries:
            label = names[hexcode(entry["unified"])]
            if kept(entry, label):
                on_white(read(images, f"img/google/{SIZE}/{entry['image']}")).save(args.out / file_name(label))
                written.append(label)
    if len({file_name(label).lower() for label in written}) != len(written):
        sys.exit("two labels share a file name")
    (args.out / "labels.txt").write_text("\n".join(written) + "\n", encoding="utf-8")
    print(f"{len(written)} of {len(entries)} pictures in {args.out}")


if __name__ == "__main__":
    main()
