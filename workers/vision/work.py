"""The vision stage's work: an image is fetched and decoded, its features are stored for all jobs on that image."""

from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass

from sqlalchemy import Connection

from shared import access, intake, jobs, limits
from shared.errors import InvalidInput, NotFound
from shared.features import GLOBAL, LEVELS, SAM, FeatureStore, region_part
from shared.images import decode
from shared.jobs import Message, Run, Stage, Timing
from shared.objects import ObjectStore
from shared.settings import Settings
from shared.sources import split
from shared.stages.vision import RegionInput, VisionInput, VisionOutput, VisionStage, normalised
from shared.stored_images import ImageRow
from shared.tasks import Box, validate
from shared.transactions import Transactions
from workers.tensors import pack, unpack
from workers.work import Done, Work


@dataclass(frozen=True)
class VisionItem:
    """An input and its identity: items of one key have one output.

    regions: the parts that its region tokens are, in their order, each with its boxes.
    """

    key: tuple[object, ...]
    input: VisionInput
    regions: dict[str, tuple[Box, ...]]


@dataclass(frozen=True)
class Encoded:
    """An item with what came of it."""

    item: VisionItem
    output: VisionOutput


class VisionWork(Work[VisionItem, Encoded, None]):
    """A conversation's later boxes are read from what was kept of its image, which so is encoded once."""

    stage = Stage.VISION

    def __init__(self, stage: VisionStage, objects: ObjectStore, features: FeatureStore, settings: Settings) -> None:
        self._stage = stage
        self._objects = objects
        self._features = features
        self._image_limits = limits.of_images(settings)
        self._request_limits = limits.of_requests(settings)
        self._most_stored = settings.max_stored_bytes
        self._buckets = settings.import_buckets

    def take_in(self, run: Run, transactions: Transactions) -> Run:
        """Jobs of a batch may be on images that were only named: the first to come makes them the owner's.

        Raises what `intake.take_in` does, InvalidInput for boxes that leave the image or a bucket that was closed, and
        CancelledError where the job was taken away meanwhile.
        """
        if run.image is not None or run.source is None:
            return run
        image = self._stored(run, run.source, transactions)
        validate(run.ask, image.width, image.height, self._request_limits)
        taken = transactions.run(lambda conn: jobs.take_in(conn, run, image.id))
        if taken is None:
            raise CancelledError
        return taken

    def _stored(self, run: Run, source: str, transactions: Transactions) -> ImageRow:
        bucket, key = split(source)
        if bucket is not None:
            if bucket not in self._buckets:
                # The gateway let it in: these workers never had the setting, or it was closed since.
                raise InvalidInput(
                    "s3_uri",
                    f"The vision workers may not read the bucket {bucket}.",
                    "Have the operator open the bucket to them, then retry the batch; or upload the image, then submit "
                    "the job again with its id.",
                )
            own = transactions.run(lambda conn: access.limits_of(conn, run.owner_id)).stored_bytes
            most = self._most_stored if own is None else own
            elsewhere = intake.Source(self._objects.of(bucket), key, "s3_uri", most_stored=most)
            return intake.take_in(transactions, self._objects, run.owner_id, elsewhere, self._image_limits)
        image_id = key.rpartition("/")[2]
        image = intake.first_use(transactions, self._objects, run.owner_id, image_id, self._image_limits)
        if image is None:
            raise NotFound("image", image_id, remedy="Send it again, then submit the job again, or retry its batch.")
        return image

    def fetch(self, run: Run) -> VisionItem | Done[None]:
        regions = {region_part(boxes): boxes for boxes in self._boxes(run) if boxes}
        of_image = [GLOBAL, SAM, *([LEVELS] if run.in_conversation else [])]
        there = self._features.touch(run.stored.id, [*of_image, *regions])
        missing = {part: boxes for part, boxes in regions.items() if part not in there}
        if there.issuperset(of_image) and not missing:
            return Done(None)
        if there.issuperset([*of_image, LEVELS]):
            kept = self._features.get(run.stored.id, [LEVELS]).get(LEVELS)
            if kept is not None:
                boxes = normalised(_all(missing), run.stored.width, run.stored.height)
                return VisionItem((run.stored.id, *missing), RegionInput(unpack(kept), boxes), missing)
        image = decode(self._bytes(run))
        prepared = self._stage.prepare(image, _all(regions), keep_levels=run.in_conversation)
        return VisionItem((run.stored.id, run.in_conversation, *regions), prepared, regions)

    def keep(self, run: Run, output: Encoded) -> None:
        found = {
            GLOBAL: output.output.global_tokens,
            SAM: output.output.sam_embedding,
            LEVELS: output.output.levels,
        }
        if output.output.region_tokens is not None:
            counts = [len(boxes) for boxes in output.item.regions.values()]
            found |= dict(zip(output.item.regions, output.output.region_tokens.split_with_sizes(counts), strict=True))
        self._features.put(run.stored.id, {part: pack(tensor) for part, tensor in found.items() if tensor is not None})

    def was_cached(self, fetched: VisionItem) -> bool:
        return isinstance(fetched.input, RegionInput)

    def complete(self, conn: Connection, run: Run, record: None, timing: Timing) -> Sequence[Message] | None:
        following = jobs.complete_vision(conn, run, timing)
        return None if following is None else (following,)

    def _bytes(self, run: Run) -> bytes:
        try:
            return self._objects.get(run.stored.object_key)
        except NotFound:
            raise NotFound(
                "image",
                run.stored.id,
                detail=f"The image {run.stored.id} was deleted before the job could read it.",
                remedy="Send the image again, then submit the job again.",
            ) from None

    def _boxes(self, run: Run) -> list[tuple[Box, ...]]:
        return [*(turn.ask.boxes for turn in run.history), run.ask.boxes]


def once_each(
    encode: Callable[[Sequence[VisionInput]], Sequence[VisionOutput]],
) -> Callable[[Sequence[VisionItem]], Sequence[Encoded]]:
    """Encode equal items of a batch once: several jobs on one image often come together."""

    def run(batch: Sequence[VisionItem]) -> Sequence[Encoded]:
        distinct = {item.key: item.input for item in batch}
        outputs = dict(zip(distinct, encode(list(distinct.values())), strict=True))
        return [Encoded(item, outputs[item.key]) for item in batch]

    return run


def _all(regions: dict[str, tuple[Box, ...]]) -> list[Box]:
    return [box for boxes in regions.values() for box in boxes]
