"""From a config's sources to their readers."""

from collections.abc import Sequence

from shared.errors import InvalidInput
from training import config as configs
from training.data import coco_captions, grandf, grandf_flickr, grandf_refcocog, llava_instruct, refcoco, semantic
from training.data.grounded import GroundedCaptions
from training.data.sample import Dataset
from training.data.scenes import ComposedScenes, SceneCaptions

GROUNDED = {"grandf": grandf.read, "grandf-refcocog": grandf_refcocog.read, "grandf-flickr": grandf_flickr.read}


def open_sources(
    sources: Sequence[configs.Source], field: str, for_validation: bool = False
) -> list[tuple[Dataset, float]]:
    """The readers with their rates. field: where the config lists them. Raises InvalidInput.

    for_validation: grounded captions are asked for in the service's own words alone, and scenes give nothing else.
    """
    opened = [(_open(source, for_validation), source.rate) for source in sources]
    for index, (dataset, _) in enumerate(opened):
        if not len(dataset):
            raise InvalidInput(f"{field}.{index}", "The source has no usable record.", "check its files and split")
    return opened


def _open(source: configs.Source, for_validation: bool) -> Dataset:
    match source:
        case configs.GroundedSource():
            read = GROUNDED[source.kind]
            return GroundedCaptions(source.annotations, read(source.annotations, source.images), for_validation)
        case configs.ScenesSource():
            form = SceneCaptions if for_validation else ComposedScenes
            return form(source.split, source.first, source.count)
        case configs.RefcocoSource():
            kind = refcoco.ReferringSegmentation if source.kind == "refcoco" else refcoco.RegionDescriptions
            return kind(source.references, source.instances, source.images, source.split)
        case configs.TextSource(kind="coco-captions"):
            return coco_captions.Captions(source.annotations, source.images)
        case configs.TextSource():
            return llava_instruct.Instructions(source.annotations, source.images)
        case configs.SemanticSource():
            return semantic.SemanticSegmentation(source.labels, source.images, source.classes)
