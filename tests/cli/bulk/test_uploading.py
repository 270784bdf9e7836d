"""Images into the object store by URLs that end."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.cli.bulk.ledger import Ledger
from services.cli.bulk.uploading import Stored, Upload
from services.cli.client import GlammClient, Refused
from shared import schema


class Ending(GlammClient):
    """Of each image but the first, as many URLs as `ended` come with a signature that is good no more."""

    ended = 0

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.declared: list[str] = []

    def declare_uploads(self, images: Iterator[schema.Upload]) -> schema.Uploads:  # type: ignore[override]
        uploads = super().declare_uploads(images)
        return uploads.model_copy(update={"images": [self._noted(one) for one in uploads.images]})

    def _noted(self, one: schema.ExpectedUpload) -> schema.ExpectedUpload:
        self.declared.append(one.id)
        assert one.upload is not None
        if one.id == self.declared[0] or self.declared.count(one.id) > self.ended:
            return one
        url = one.upload.url.replace("X-Amz-Signature=", "X-Amz-Signature=0")
        return one.model_copy(update={"upload": one.upload.model_copy(update={"url": url})})


@pytest.fixture
def paths(photos: Path) -> list[Path]:
    return sorted(photos.rglob("*.png"))


@pytest.fixture
def client(gateway) -> Iterator[Ending]:
    with Ending(gateway.url) as client:
        yield client


@pytest.fixture
def upload(client: Ending, tmp_path: Path) -> Iterator[Upload]:
    with Ledger(tmp_path / "submissions.sqlite") as ledger:
        yield Upload(client, ledger, "here")


def test_a_url_that_has_ended_is_replaced_by_another(
    gateway, client: Ending, upload: Upload, paths: list[Path]
) -> None:
    client.ended = 1
    # One at a time, so that the first image is the one that tries the way.
    ends = list(upload.run(paths, in_flight=1))
    assert sorted(end.path for end in ends) == paths
    assert all(isinstance(end, Stored) for end in ends)
    assert sorted(Counter(client.declared).values()) == [1, 2, 2]
    assert upload.road.direct
    assert len(gateway.backstage.contents().objects) == 3


def test_a_store_that_refuses_the_second_as_well_is_believed(client: Ending, upload: Upload, paths: list[Path]) -> None:
    client.ended = 99
    with pytest.raises(Refused, match="403"):
        list(upload.run(paths, in_flight=1))
    assert max(Counter(client.declared).values()) == 2
