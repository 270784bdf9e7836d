"""`python -m training.scenes --split test --count 12 --out DIR`: write scenes as PNG files with GranD-f annotations."""

import argparse
from pathlib import Path

from training.scenes.samples import write_samples


def _at_least(least: int, text: str) -> int:
    value = int(text)
    if value < least:
        raise argparse.ArgumentTypeError(f"must be {least} or more")
    return value


def _natural(text: str) -> int:
    return _at_least(0, text)


def _side(text: str) -> int:
    return _at_least(64, text)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m training.scenes", description=__doc__.partition(": ")[2])
    parser.add_argument("--split", choices=("train", "test"), default="test")
    parser.add_argument("--count", type=_natural, required=True, help="how many scenes")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to, made if missing")
    parser.add_argument("--seed", type=_natural, default=0, help="number of the first scene (default 0)")
    parser.add_argument("--height", type=_side, default=256, help="pixels (default 256)")
    parser.add_argument("--width", type=_side, default=256, help="pixels (default 256)")
    options = parser.parse_args()
    seeds = range(options.seed, options.seed + options.count)
    path = write_samples(options.out, seeds, options.split, height=options.height, width=options.width)
    print(f"{options.count} scenes and {path}")


if __name__ == "__main__":
    main()
