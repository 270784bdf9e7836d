"""One job on many images, as the lines of a manifest that nobody had to write."""

from collections.abc import Iterator

from services.gateway.manifest.reading import Rules, require_bucket
from shared import schema, tasks
from shared.batches import Line
from shared.errors import InvalidInput, NotFound
from shared.objects import ObjectStore
from shared.sources import uri

_ENDINGS = (".png", ".jpg", ".jpeg", ".webp")


def lines(asked: schema.BatchRequest, rules: Rules, objects: ObjectStore) -> Iterator[Line]:
    """A line an image, named by its id or by its key in the bucket. Raises InvalidInput, Unavailable."""
    ask = schema.to_ask(asked.job)
    try:
        tasks.validate(ask, rules.side, rules.side, rules.limits)
    except InvalidInput as error:
        error.field = f"job.{error.field}"
        raise
    if asked.s3 is None:
        for number, image_id in enumerate(asked.image_ids or (), 1):
            yield Line(number, image_id, image_id, None, ask)
        return
    require_bucket(asked.s3.bucket, rules.buckets, "s3.bucket")
    wanted = (key for key in _keys(asked.s3, objects) if key.lower().endswith(_ENDINGS))
    for number, key in enumerate(wanted, 1):
        yield Line(number, key, None, uri(asked.s3.bucket, key), ask)


def _keys(asked: schema.S3Prefix, objects: ObjectStore) -> Iterator[str]:
    """Raises InvalidInput, also where the bucket vanishes meanwhile."""
    try:
        yield from objects.of(asked.bucket).keys(asked.prefix)
    except NotFound as error:
        raise InvalidInput(
            "s3.bucket",
            error.detail,
            "Have the operator make the bucket and let the service list it, or take it out of GLAMM_IMPORT_BUCKETS.",
        ) from error
