"""The one way from an object that nobody has checked to a stored image.

The object is read once, in one version, and never further than it may be long. What is then copied under the image's
own key is that version or nothing, so that nobody can change bytes between the check and the copy. Two may take in one
object at once, and one may do so again: the second finds the image.
"""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from uuid import UUID

from sqlalchemy import Connection

from shared import stored_images, uploads
from shared.errors import Conflict, InvalidInput, NotFound, Unavailable
from shared.images import CheckedImage, Limits, check, too_many_bytes
from shared.logs import get_logger
from shared.objects import ObjectInfo, ObjectStore, upload_key_of
from shared.stored_images import ImageRow
from shared.transactions import Transactions
from shared.uploads import Declared

Check = Callable[[bytes, Limits, str], CheckedImage]

log = get_logger(__name__)


@dataclass(frozen=True)
class Source:
    """An object that nobody has checked. name: the input field that names it; declared: what was said of it, if so.

    most_stored: how many bytes of images the owner may have; None for any number, and for what counts since it was
    declared.
    """

    store: ObjectStore
    key: str
    name: str
    declared: Declared | None = None
    most_stored: int | None = None


@dataclass(frozen=True)
class Arrival:
    """The bytes of a source, checked, and the version of the object that they are."""

    source: Source
    found: ObjectInfo
    image: CheckedImage


def first_use(
    transactions: Transactions,
    objects: ObjectStore,
    owner_id: UUID,
    image_id: str,
    limits: Limits,
    check: Check = check,
) -> ImageRow | None:
    """The owner's image of that id, taken in now where it is an upload that was declared; None where it is neither.

    Raises NotFound when the upload never arrived, and what `take_in` raises; the field at fault is `image_id`.
    """

    def stored(conn: Connection) -> ImageRow | None:
        return stored_images.find(conn, owner_id, image_id)

    known = transactions.run(stored)
    declared = None if known else transactions.run(lambda conn: uploads.find(conn, owner_id, image_id))
    if known:
        return known
    if declared is None:
        # Somebody else may have used it in between.
        return transactions.run(stored)
    source = Source(objects, upload_key_of(image_id, owner_id), "image_id", declared)
    try:
        return take_in(transactions, objects, owner_id, source, limits, check)
    except NotFound:
        known = transactions.run(stored)
        if known is None:
            raise NotFound(
                "image",
                image_id,
                detail=f"The image {image_id} was declared as an upload and has not arrived.",
                remedy="PUT its bytes to the URL that POST /images/uploads gave, or ask for another; then try again.",
            ) from None
        return known


def take_in(
    transactions: Transactions,
    objects: ObjectStore,
    owner_id: UUID,
    source: Source,
    limits: Limits,
    check: Check = check,
) -> ImageRow:
    """Make the object an image of the owner. An upload's object is removed then; any other stays where it is.

    check: `shared.images.check`, or that on another thread.

    Raises NotFound, InvalidInput (TooLarge, UnsupportedMedia) for `source.name`, LimitReached, and Conflict for an
    object that changed meanwhile.
    """
    arrival = fetch(source, limits, check)
    row = transactions.run(lambda conn: record(conn, objects, owner_id, arrival))
    if source.store is objects and source.key == upload_key_of(row.id, owner_id):
        try:
            transactions.run(lambda conn: _discard(conn, objects, owner_id, row.id))
        except Unavailable as error:
            log.warning("upload.left", image_id=row.id, error=error.detail)  # the sweep removes it
    return row


def fetch(source: Source, limits: Limits, check: Check = check) -> Arrival:
    """Read the object and judge it: first by what was declared, then by what the service takes. Raises as `take_in`."""
    name, declared = source.name, source.declared
    try:
        found, data = source.store.read(source.key, declared.bytes if declared else limits.max_bytes)
    except NotFound as error:
        remedy = error.remedy or "See that it lies there under this name, then submit it again."
        raise NotFound("object", source.key, field=name, detail=error.detail, remedy=remedy) from error
    if declared and found.bytes != declared.bytes:
        raise _differs(name, f"it has {found.bytes:,} bytes, not {declared.bytes:,}")
    if data is None:
        raise too_many_bytes(limits, name)
    if declared and (actual := sha256(data).hexdigest()) != declared.sha256:
        raise _differs(name, f"its sha256 is {actual}, not {declared.sha256}")
    image = check(data, limits, name)
    if declared and image.media_type != declared.media_type:
        raise _differs(name, f"its type is {image.media_type}, not {declared.media_type}")
    return Arrival(source, found, image)


def record(conn: Connection, objects: ObjectStore, owner_id: UUID, arrival: Arrival) -> ImageRow:
    """Write the image's row and bring its bytes.

    Raises LimitReached, and Conflict when the object is no longer what was fetched.
    """
    image, source = arrival.image, arrival.source
    # A deletion removes the upload under the same lock, so it either sees the image or is seen by the copy below.
    uploads.lock(conn, owner_id, image.id)
    if source.most_stored is not None and stored_images.find(conn, owner_id, image.id) is None:
        uploads.require_room(conn, owner_id, source.most_stored, {image.id: len(image.data)})
    written = stored_images.write(conn, owner_id, image)
    if source.store is objects and source.key == upload_key_of(image.id, owner_id):
        uploads.spend(conn, owner_id, image.id)
    row = stored_images.find(conn, owner_id, image.id)
    assert row is not None
    if written is None and objects.exists(row.object_key):
        return row
    if source.store is not objects:
        objects.put(row.object_key, image.data, image.media_type)
    elif not objects.copy(arrival.found, row.object_key, image.media_type):
        raise Conflict(
            f"The image {image.id} changed while it was read.", field=source.name, remedy="Send the request again."
        )
    return row


def _discard(conn: Connection, objects: ObjectStore, owner_id: UUID, image_id: str) -> None:
    """Remove an upload's object for as long as its image is stored: one that comes after a deletion is wanted."""
    key = uploads.lock(conn, owner_id, image_id)
    if key is not None and stored_images.find(conn, owner_id, image_id) is not None:
        objects.delete(key)


def _differs(name: str, how: str) -> InvalidInput:
    return InvalidInput(
        name,
        f"The upload is not what was declared: {how}.",
        "Upload the bytes that were declared, or declare these with POST /images/uploads.",
    )
