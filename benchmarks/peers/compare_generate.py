#!/usr/bin/env python3
"""Times glance4j and Python diffusers on one model folder, alternating, and prints a Markdown table.

Both run as processes that answer one request at a time (GenerateServer in this module, and
diffusers_generate.py --serve), on the same folder, type and threads. Before anything is timed the two
pictures of one request are compared: more than 2 levels apart at any pixel ends the run.

Needs `mvn verify` done first, and a Python with the packages diffusers_generate.py needs.
"""
import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
TARGET = HERE.parent / "target"
TINY = HERE.parents[1] / "java/glance4j-tiny/src/main/resources/org/glance4j/glance-tiny"
PROMPTS = ["red apple", "sunflower", "panda", "soccer ball", "pizza", "rocket", "cat face", "dog face", "guitar",
           "hot beverage", "birthday cake", "evergreen tree", "snowman", "bicycle", "house", "umbrella", "key",
           "crown", "owl", "mushroom", "banana", "sailboat", "telephone", "gem stone"]
CASES = [(10, 3.5), (10, 1.0), (50, 3.5), (50, 1.0)]


class Process:
    """One of the two: a line of JSON in, a line of JSON out."""

    def __init__(self, command, greets):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if greets:
            self.process.stdout.readline()

    def ask(self, **request):
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{self.process.args[0]} ended; see its messages above")
        answer = json.loads(line)
        if "error" in answer:
            sys.exit(answer["error"])
        return answer


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=TINY, help="model folder (default: the bundled model)")
    parser.add_argument("--dtype", choices=["f32", "bf16"], default="f32")
    parser.add_argument("--backend", default="auto", help="glance4j's backend (default: auto)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=24, help="timed pairs for each case (default: 24)")
    parser.add_argument("--warmup", type=int, default=8, help="pairs before the clock runs (default: 8)")
    return parser.parse_args()


def start(args):
    classpath = f"{TARGET / 'classes'}{os.pathsep}{TARGET / 'lib'}/*"
    ours = Process(["java", "-cp", classpath, "org.glance4j.benchmarks.GenerateServer", str(args.model),
                    args.dtype, str(args.threads), args.backend], greets=False)
    peer = Process([sys.executable, str(HERE / "diffusers_generate.py"), str(args.model), "--serve", "--dtype",
                    {"f32": "float32", "bf16": "bfloat16"}[args.dtype], "--threads", str(args.threads)], greets=True)
    return ours, peer


def worst_difference(ours, peer, steps, cfg):
    from PIL import Image, ImageChops
    with tempfile.TemporaryDirectory() as folder:
        pictures = []
        for name, process in (("ours", ours), ("peer", peer)):
            path = f"{folder}/{name}.png"
            process.ask(prompt="red apple", steps=steps, cfg=cfg, seed=7, png=path)
            pictures.append(Image.open(path).convert("RGB"))
        extrema = ImageChops.difference(*pictures).getextrema()
        return max(high for _, high in extrema)


def time_case(ours, peer, steps, cfg, args):
    seconds = ([], [])
    for i in range(args.warmup + args.rounds):
        # The prompt changes each time: neither side may answer from a cache of encoded text.
        request = {"prompt": PROMPTS[i % len(PROMPTS)], "steps": steps, "cfg": cfg, "seed": i}
        for process, list_ in zip((ours, peer), seconds):
            list_.append(process.ask(**request)["seconds"])
    return [statistics.median(s[args.warmup:]) for s in seconds]


def main():
    args = parse_args()
    ours, peer = start(args)
    print(f"{datetime.date.today()}, {platform.processor() or platform.machine()}, {os.cpu_count()} CPUs, "
          f"{args.threads} threads, {args.dtype}, model {args.model.name}, medians of {args.rounds} alternating pairs\n")
    print("| steps | CFG | worst pixel difference | diffusers, s | glance4j, s | diffusers / glance4j |")
    print("|---|---|---|---|---|---|")
    for steps, cfg in CASES:
        difference = worst_difference(ours, peer, steps, cfg)
        if args.dtype == "f32" and difference > 2:
            sys.exit(f"{steps} steps, CFG {cfg}: the pictures differ by {difference} levels")
        mine, theirs = time_case(ours, peer, steps, cfg, args)
        print(f"| {steps} | {cfg} | {difference} | {theirs:.3f} | {mine:.3f} | {theirs / mine:.2f} |", flush=True)


if __name__ == "__main__":
    main()
