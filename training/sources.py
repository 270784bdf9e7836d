"""From a config's sources to their readers."""

from collections.abc import Sequence
from pathlib import Path

from shared.errors import InvalidInput
from training import config as configs
from training.data import coco_captions, grandf, grandf_flickr, grandf_refcocog, llava_instruct, refcoco, semantic
from training.data.grounded import GroundedCaptions
from training.data.sample import Dataset
from training.scenes.samples import ANNOTATIONS, write_samples

GROUNDED = {"grandf": grandf.read, "grandf-refcocog": grandf_refcocog.read, "grandf-flickr": grandf_flickr.read}


def open_sources(
    sources: Sequence[configs.Source], scratch: Path, field: str, plain_questions: bool = False
) -> list[tuple[Dataset, float]]:
    """The readers with their rates. scratch: folder for composed scenes; field: where the config lists them.

    plain_questions: grounded captions are asked for in the service's own words alone. Raises InvalidInput.
    """
    opened = [(_open(source, scratch, plain_questions), source.rate) for source in sources]
    for index, (dataset, _) in enumerate(opened):
        if not len(dataset):
            raise InvalidInput(f"{field}.{index}", "The source has no usable record.", "check its files and split")
    return opened


def write_scenes(sources: Sequence[configs.Source], scratch: Path) -> None:
    """Compose the scenes that the sources ask for, those that are not there yet."""
    for source in sources:
        if isinstance(source, configs.ScenesSource) and not (_folder(source, scratch) / ANNOTATIONS).exists():
            write_samples(_folder(source, scratch), range(source.first, source.first + source.count), source.split)


def _open(source: configs.Source, scratch: Path, plain_questions: bool) -> Dataset:
    match source:
        case configs.GroundedSource():
            read = GROUNDED[source.kind]
            return GroundedCaptions(source.annotations, read(source.annotations, source.images), plain_questions)
        case configs.ScenesSource():
            folder = _folder(source, scratch)
            annotations = folder / ANNOTATIONS
            return GroundedCaptions(annotations, grandf.read(annotations, folder), plain_questions)
        case configs.RefcocoSource():
            form = refcoco.ReferringSegmentation if source.kind == "refcoco" else refcoco.RegionDescriptions
            return form(source.references, source.instances, source.images, source.split)
        case configs.TextSource(kind="coco-captions"):
            return coco_captions.Captions(source.annotations, source.images)
        case configs.TextSource():
            return llava_instruct.Instructions(source.annotations, source.images)
        case configs.SemanticSource():
            return semantic.SemanticSegmentation(source.labels, source.images, source.classes)


def _folder(source: configs.ScenesSource, scratch: Path) -> Path:
    return scratch / f"scenes-{source.split}-{source.first}-{source.count}"
