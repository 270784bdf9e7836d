"""Image files into the object store, many at once, past the gateway, and none that the service has."""

import re
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TypeAlias

from services.cli.bulk.crew import Crew
from services.cli.bulk.ledger import Fingerprint, Ledger
from services.cli.bulk.looking import Broken, Looked, look, reason
from services.cli.client import GlammClient, Refused, Unreachable
from services.cli.terminal import problem_line
from shared import schema

IN_FLIGHT = 16
_DECLARED_AT_ONCE = 64
"""A URL is good for a while only: no more are asked for than will soon be used."""
_TRIAL_SECONDS = 3.0
_FATAL = (401, 403, 429)
"""Refusals that every other file would meet as well."""
_NO_MORE = 403
"""What the object store says of a URL that has ended."""
_OF_ONE_IMAGE = re.compile(r"images\[(\d+)\]")


@dataclass(frozen=True)
class Stored:
    """sent: false for an image that was there already."""

    path: Path
    image_id: str
    sent: bool


class Road:
    """How images get into the object store: from here, or through the gateway where nobody answers here at its address.

    The first image that goes through decides.
    """

    def __init__(self, client: GlammClient) -> None:
        self._client = client
        self._trial = threading.Lock()
        self.direct: bool | None = None

    def send(self, data: bytes, upload: schema.SignedRequest) -> None:
        """Raises GlammError."""
        if self.direct is None:
            with self._trial:
                if self.direct is None and self._try(data, upload):
                    return
        if self.direct:
            self._client.send(upload, data)
        else:
            self._client.upload_image(data)

    def _try(self, data: bytes, upload: schema.SignedRequest) -> bool:
        try:
            self._client.send(upload, data, patience=_TRIAL_SECONDS)
        except (Refused, Unreachable):
            self.direct = False
        else:
            self.direct = True
        return self.direct


@dataclass(frozen=True)
class _Sent:
    """The end of an image's way, for all files that hold its bytes."""

    looked: Looked
    end: Stored | Broken


@dataclass(frozen=True)
class _Unsent:
    """An image that is to be declared anew: its URL is good no more, or something is wrong with this file of it."""

    looked: Looked
    why: Refused | Broken


_News: TypeAlias = Looked | Broken | _Sent | _Unsent


class Upload:
    """One run over files.

    service: what the ledger knows it by. judged: the service is to judge each image at once, so that it knows its size.
    trusting: it is not asked for what the ledger says it has.
    """

    def __init__(
        self, client: GlammClient, ledger: Ledger, service: str, *, judged: bool = False, trusting: bool = True
    ) -> None:
        self._client, self._ledger, self._service = client, ledger, service
        self._judged, self._trusting = judged, trusting
        self.road = Road(client)
        self._found: list[Looked] = []
        # By hash: files that hold what another is being sent for, and what came of those that were.
        self._waiting: dict[str, list[Looked]] = {}
        self._ends: dict[str, Stored | Broken] = {}
        self._renewed: set[str] = set()
        """Images whose first URL was good no more. Of a second one the URL is not to blame."""

    def run(self, paths: Sequence[Path], in_flight: int = IN_FLIGHT) -> Iterator[Stored | Broken]:
        """What becomes of each file, as it becomes known, noted in the ledger to be skipped next time.

        Raises GlammError where the trouble is not with a file. As in `batch.run`, stopping half-way leaves nothing
        waiting.
        """
        with Crew[_News](in_flight) as crew:
            for path in paths:
                yield from self._begin(crew, path)
            while crew.busy_with or self._found:
                if self._found and not crew.has_news and len(self._waiting) < in_flight:
                    # All that have come together while the service was asked about others.
                    yield from self._declare(crew)
                else:
                    yield from self._take(crew.next())

    def _begin(self, crew: Crew[_News], path: Path) -> Iterator[Stored | Broken]:
        try:
            str(path).encode()
            file = Fingerprint.of(path)
        except UnicodeEncodeError:
            yield Broken(path, "Its name is not in UTF-8.")
            return
        except OSError as error:
            yield Broken(path, reason(error))
            return
        picture = self._ledger.picture(file)
        if picture is None:
            crew.do(partial(look, file))
        elif not self._trusting or not self._ledger.is_stored(self._service, picture.sha256):
            self._found.append(Looked(file, picture))
        elif self._judged:
            crew.do(partial(self._judge, Looked(file, picture)))
        else:
            yield Stored(path, picture.sha256, sent=False)

    def _take(self, news: _News) -> Iterator[Stored | Broken]:
        match news:
            case Looked(file, picture, large):
                if not large:
                    self._ledger.note_picture(file, picture)
                self._found.append(news)
            case Broken():
                yield news
            case _Sent(looked, end):
                image_id = looked.picture.sha256
                self._ends[image_id] = end
                yield self._noted(end)
                for other in self._waiting.pop(image_id, ()):
                    yield self._like(other, end)
            case _Unsent(looked, Broken() as broken):
                self._found += self._waiting.pop(looked.picture.sha256, ())
                yield broken
            case _Unsent(looked, Refused() as refused):
                image_id = looked.picture.sha256
                if image_id in self._renewed:
                    raise refused
                self._renewed.add(image_id)
                self._found += [looked, *self._waiting.pop(image_id, ())]

    def _declare(self, crew: Crew[_News]) -> Iterator[Stored | Broken]:
        """Say what will be sent, and begin with it."""
        group, self._found = self._found[:_DECLARED_AT_ONCE], self._found[_DECLARED_AT_ONCE:]
        wanted = list[Looked]()
        for looked in group:
            image_id = looked.picture.sha256
            if image_id in self._ends:
                yield self._like(looked, self._ends[image_id])
            elif image_id in self._waiting:
                self._waiting[image_id].append(looked)
            else:
                self._waiting[image_id] = []
                wanted.append(looked)
        while wanted:
            try:
                expected = self._client.declare_uploads(_declared(looked) for looked in wanted).images
            except Refused as error:
                found = _OF_ONE_IMAGE.match(error.field or "")
                if found is None or error.problem.status in _FATAL:
                    raise
                refused = wanted.pop(int(found[1]))
                yield from self._take(_Sent(refused, Broken(refused.file.path, problem_line(error.to_problem()))))
                continue
            for looked, one in zip(wanted, expected, strict=True):
                if one.upload is None or (one.arrived and not self._is_to_be_judged(looked)):
                    yield from self._take(_Sent(looked, Stored(looked.file.path, one.id, sent=False)))
                else:
                    crew.do(partial(self._send, looked, one.upload, one.arrived), urgent=True)
            return

    def _send(self, looked: Looked, upload: schema.SignedRequest, arrived: bool) -> _Sent | _Unsent:
        """On a thread of the crew. arrived: it is sent only where what lies there is not right."""
        path, image_id = looked.file.path, looked.picture.sha256
        if arrived:
            judged = self._judge(looked)
            if isinstance(judged, _Sent) and isinstance(judged.end, Stored):
                return judged
        try:
            data = path.read_bytes()
        except OSError as error:
            return _Unsent(looked, Broken(path, reason(error)))
        if sha256(data).hexdigest() != image_id:
            return _Unsent(looked, Broken(path, "It has changed while it was submitted."))
        try:
            self.road.send(data, upload)
            if self._is_to_be_judged(looked):
                self._client.image(image_id)
        except Refused as error:
            if error.problem.status == _NO_MORE:
                return _Unsent(looked, error)
            if not error.blames_the_request or error.problem.status in _FATAL:
                raise
            return _Sent(looked, Broken(path, problem_line(error.to_problem())))
        return _Sent(looked, Stored(path, image_id, sent=True))

    def _is_to_be_judged(self, looked: Looked) -> bool:
        return self._judged or looked.large

    def _judge(self, looked: Looked) -> Looked | _Sent:
        """On a thread of the crew: an image that was sent by an earlier run; as it was found if it is not there."""
        path, image_id = looked.file.path, looked.picture.sha256
        try:
            self._client.image(image_id)
        except Refused as error:
            if error.problem.status == 404:
                return looked
            if not error.blames_the_request or error.problem.status in _FATAL:
                raise
            return _Sent(looked, Broken(path, problem_line(error.to_problem())))
        return _Sent(looked, Stored(path, image_id, sent=False))

    def _noted(self, end: Stored | Broken) -> Stored | Broken:
        if isinstance(end, Stored):
            self._ledger.note_stored(self._service, end.image_id)
        return end

    def _like(self, other: Looked, end: Stored | Broken) -> Stored | Broken:
        """The end of a file that holds the same bytes as one that has come to this end."""
        path = other.file.path
        return Stored(path, end.image_id, sent=False) if isinstance(end, Stored) else Broken(path, end.fault)


def _declared(looked: Looked) -> schema.Upload:
    picture = looked.picture
    return schema.Upload.model_validate(
        {"sha256": picture.sha256, "bytes": picture.bytes, "media_type": picture.media_type}
    )
