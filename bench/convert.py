"""Peak memory and seconds of conversions: a random model of the 7B's shapes with few layers → reference → ours.

    python -m bench.convert --layers 8 --json

Each step is a `glamm` process of its own, so that its peak is its own. `beyond_shard_gib` is that peak less the largest
file that the step reads. The last line of output is a JSON object.
"""

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from safetensors.torch import load_file

from shared.model.config import GlammConfig

COMMAND = (sys.executable, "-m", "services.cli")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.convert", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--layers", type=int, default=4, help="of LLaMA; each is 0.38 GiB")
    parser.add_argument("--json", action="store_true", help="print the JSON object alone")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        figures = run(Path(name), arguments.layers)
    if not arguments.json:
        for step, measured in figures.items():
            print(f"{step:24} {measured}")
    print(json.dumps(figures))


def run(folder: Path, layers: int) -> dict[str, dict[str, float]]:
    seven = GlammConfig.preset("glamm-7b")
    config = dataclasses.replace(seven, llm=dataclasses.replace(seven.llm, layers=layers))
    (folder / "sizes.json").write_text(config.to_json())
    ours, reference, again = folder / "ours", folder / "reference", folder / "again"
    figures = {"init": step(folder, "init", ours, "--config", folder / "sizes.json", "--random", "--device", "cpu")}
    figures["to_reference"] = step(ours, "convert", "--to-reference", ours, reference)
    figures["from_safetensors"] = step(reference, "convert", reference, again)
    as_pickles(reference)
    figures["from_pickles"] = step(reference, "convert", reference, folder / "pickled")
    return figures


def step(source: Path, *arguments: object) -> dict[str, float]:
    """Runs `glamm` with these arguments and waits; `source`: the folder that it reads."""
    largest = max((path.stat().st_size for path in source.iterdir()), default=0) / 2**30
    began = time.perf_counter()
    child = subprocess.Popen([*COMMAND, *map(str, arguments)], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        raise SystemExit(os.waitstatus_to_exitcode(status))
    peak = usage.ru_maxrss / 2**20
    return {
        "seconds": round(time.perf_counter() - began, 1),
        "peak_gib": round(peak, 2),
        "largest_file_gib": round(largest, 2),
        "beyond_shard_gib": round(peak - largest, 2),
    }


def as_pickles(folder: Path) -> None:
    """The folder's safetensors as the .bin shards of older models."""
    for path in sorted(folder.glob("model*.safetensors")):
        torch.save(load_file(path), folder / path.name.replace("model", "pytorch_model").replace("safetensors", "bin"))
        path.unlink()
    (folder / "model.safetensors.index.json").unlink(missing_ok=True)


if __name__ == "__main__":
    main()
