"""The vision stage's work: an image is fetched and decoded, its features are stored for all jobs on that image."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from shared import jobs
from shared.features import GLOBAL, SAM, FeatureStore, region_part
from shared.images import decode
from shared.jobs import Message, Run, Stage, Timing
from shared.objects import ObjectStore
from shared.stages.vision import VisionInput, VisionOutput, VisionStage
from workers.tensors import pack
from workers.work import Done, Work


@dataclass(frozen=True)
class VisionItem:
    """An input and its identity: items of one key have one output."""

    key: tuple[str, str | None]
    input: VisionInput


class VisionWork(Work[VisionItem, VisionOutput, None]):
    stage = Stage.VISION

    def __init__(self, stage: VisionStage, objects: ObjectStore, features: FeatureStore) -> None:
        self._stage = stage
        self._objects = objects
        self._features = features

    def fetch(self, run: Run) -> VisionItem | Done[None]:
        region = region_part(run.boxes) if run.boxes else None
        if self._features.touch(run.image_id, [GLOBAL, SAM, *([region] if region else [])]):
            return Done(None)
        image = decode(self._objects.get(run.object_key))
        return VisionItem((run.image_id, region), self._stage.prepare(image, run.boxes))

    def keep(self, run: Run, output: VisionOutput) -> None:
        parts = {GLOBAL: pack(output.global_tokens), SAM: pack(output.sam_embedding)}
        if output.region_tokens is not None:
            parts[region_part(run.boxes)] = pack(output.region_tokens)
        self._features.put(run.image_id, parts)

    def complete(self, conn: Connection, run: Run, record: None, timing: Timing) -> Sequence[Message] | None:
        following = jobs.complete_vision(conn, run, timing)
        return None if following is None else (following,)


def once_each(
    encode: Callable[[Sequence[VisionInput]], Sequence[VisionOutput]],
) -> Callable[[Sequence[VisionItem]], Sequence[VisionOutput]]:
    """Encode equal items of a batch once: several jobs on one image often come together."""

    def run(batch: Sequence[VisionItem]) -> Sequence[VisionOutput]:
        distinct = {item.key: item.input for item in batch}
        outputs = dict(zip(distinct, encode(list(distinct.values())), strict=True))
        return [outputs[item.key] for item in batch]

    return run
