"""A reference folder → a checkpoint of ours, and back, weight by weight.

One file of the source is open at a time and one shard of the result is held in memory, so a model of any size needs
little more than SHARD_BYTES beyond the largest file that it is read from. The result appears under its name only when
it is whole.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor

from shared.model import llama_tokenizer, parts, reference, reference_config, weight_files
from shared.model.appearing import appearing
from shared.model.checkpoint import CONFIG_FILE, CheckpointError, read_config, read_tokenizer, shards
from shared.model.config import GlammConfig
from shared.model.reference import Weight
from shared.model.shards import SHARD_BYTES, ShardWriter
from shared.model.tokenizer import FILE as TOKENIZER_FILE
from shared.model.tokenizer import GlammTokenizer
from shared.model.weight_files import Entry

Progress = Callable[[int, int], None]
"""Called with the number of weights written and their total."""


def from_reference(
    source: Path,
    destination: Path,
    clip: Path | None = None,
    dtype: torch.dtype | None = None,
    progress: Progress = lambda done, total: None,
) -> GlammConfig:
    """Writes a checkpoint folder from a reference folder. It keeps the source's tokenizer files for the way back.

    clip: a folder with Hugging Face's CLIP (its vision tower or both), where `source` does not hold the tower.
    dtype: how weights are stored; None: as they are.
    Raises CheckpointError, before anything is written, where the two folders are not exactly the weights of a GLaMM.
    """
    config, wanted, entries = inspect(source, clip)
    tokenizer = llama_tokenizer.read(source)
    size = GlammTokenizer(Tokenizer.from_str(tokenizer)).size
    if size != config.llm.vocab_size:
        raise CheckpointError(
            f"{source}: the tokenizer has {size} tokens, the embeddings of the LMM have {config.llm.vocab_size}"
        )
    with appearing(destination) as folder:
        (folder / CONFIG_FILE).write_text(config.to_json())
        (folder / TOKENIZER_FILE).write_text(tokenizer)
        llama_tokenizer.keep_sources(source, folder)
        done = 0
        for part in parts.BUILDERS:
            writer = ShardWriter(folder, part, SHARD_BYTES)
            for weight, tensor in joined([weight for weight in wanted if weight.part == part], entries):
                writer.add(weight.name, tensor if dtype is None else tensor.to(dtype))
                done += 1
                progress(done, len(wanted))
            writer.close()
    return config


def to_reference(
    source: Path,
    destination: Path,
    dtype: torch.dtype | None = None,
    progress: Progress = lambda done, total: None,
) -> GlammConfig:
    """Writes a folder with the reference's key names from a checkpoint folder of ours. dtype: as in `from_reference`.

    Raises CheckpointError where `source` is not a whole checkpoint, or its tokenizer is not the one that it kept.
    """
    config = read_config(source)
    wanted = reference.weights(config)
    entries = {f"{part} {key}": entry for part in parts.BUILDERS for key, entry in _own_entries(source, part).items()}
    own = [Weight(w.part, w.name, w.shape, (f"{w.part} {w.name}",)) for w in wanted]
    _account_for(entries, own)
    sources = {(weight.part, weight.name): weight for weight in wanted}
    with appearing(destination) as folder:
        settings = reference_config.write(config, read_tokenizer(source))
        (folder / CONFIG_FILE).write_text(json.dumps(settings, indent=2) + "\n")
        llama_tokenizer.write_reference(source, folder)
        writer = ShardWriter(folder, "model", SHARD_BYTES)
        size = 0
        for done, (weight, tensor) in enumerate(joined(own, entries), 1):
            theirs = sources[weight.part, weight.name]
            stored = tensor if dtype is None else tensor.to(dtype)
            for key, piece in zip(theirs.sources, theirs.split(stored), strict=True):
                writer.add(key, piece)
                size += piece.nbytes
            progress(done, len(own))
        for key, frequencies in reference.rotary_frequencies(config).items():
            writer.add(key, frequencies)
            size += frequencies.nbytes
        files = writer.close()
        if len(set(files.values())) > 1:
            index = {"metadata": {"total_size": size}, "weight_map": dict(sorted(files.items()))}
            (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")
    return config


def why_not_started(folder: Path, config: GlammConfig) -> str | None:
    """What keeps the reference's own program from starting with a folder that `to_reference` made; None: nothing."""
    if not reference_config.has_sizes_of_reference(config):
        return "the program builds the released sizes alone"
    if not (folder / llama_tokenizer.SENTENCEPIECE_FILE).is_file():
        return f"the program reads {llama_tokenizer.SENTENCEPIECE_FILE}, which the checkpoint does not have"
    return None


def inspect(source: Path, clip: Path | None = None) -> tuple[GlammConfig, tuple[Weight, ...], dict[str, Entry]]:
    """Sizes, weights and where each of the reference's keys lies, all checked against one another."""
    config = reference_config.read(source, clip)
    entries = weight_files.inventory(source)
    if clip is not None:
        apart = weight_files.inventory(clip, prefix=reference.TOWER)
        if both := sorted(entries.keys() & apart.keys()):
            raise CheckpointError(f"{source} holds the CLIP tower itself ({both[0]}); leave out --clip")
        entries |= apart
    wanted = reference.weights(config)
    try:
        _account_for(entries, wanted)
    except CheckpointError as error:
        raise CheckpointError(f"{source}: {error}") from error
    return config, wanted, entries


def joined(wanted: Sequence[Weight], entries: Mapping[str, Entry]) -> Iterator[tuple[Weight, Tensor]]:
    """Each weight with its tensor, in the order in which the files give them."""
    owners = {key: weight for weight in wanted for key in weight.sources}
    waiting: dict[str, dict[str, Tensor]] = {}
    for path in dict.fromkeys(entries[key].path for key in owners):
        with weight_files.opened(path) as read:
            for key, weight in owners.items():
                if entries[key].path != path:
                    continue
                tensor = read(entries[key].key)
                if len(weight.sources) > 1:
                    # Copied, since pieces may wait for others while their own file is long closed.
                    pieces = waiting.setdefault(weight.name, {})
                    pieces[key] = tensor.clone()
                    if len(pieces) < len(weight.sources):
                        continue
                    tensor = weight.join([waiting[weight.name][source] for source in weight.sources])
                    del waiting[weight.name]
                yield weight, tensor


def _account_for(entries: Mapping[str, Entry], wanted: Iterable[Weight]) -> None:
    reference.account_for({key: entry.shape for key, entry in entries.items()}, wanted)
    for key in (key for weight in wanted for key in weight.sources):
        if not entries[key].floating:
            raise CheckpointError(f"{key} holds whole numbers, which are no weights")


def _own_entries(folder: Path, part: str) -> dict[str, Entry]:
    paths = shards(folder, part)
    return {key: entry for path in paths for key, entry in weight_files.headers(path).items()}
