"""Masks and overlays of finished jobs."""

from io import BytesIO
from uuid import UUID, uuid4

import numpy as np
import pytest
from PIL import Image

from shared import masks
from shared.errors import InvalidInput
from shared.jobs import Answer, Phrase, Result, Stage

pytestmark = pytest.mark.anyio


@pytest.fixture
async def job_id(api, png) -> UUID:
    answer = await api.post("/jobs", files={"image": ("a.png", png)}, data={"task": "gcg"})
    return UUID(answer.json()["id"])


def opened(answer) -> Image.Image:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/png"
    assert "immutable" in answer.headers["cache-control"]
    return Image.open(BytesIO(answer.content))


async def test_a_mask_is_black_and_white_at_the_size_of_the_image(api, backstage, job_id, result) -> None:
    backstage.succeed(job_id, result)
    job = (await api.get(f"/jobs/{job_id}")).json()
    for phrase, expected in zip(job["result"]["phrases"], result.phrases, strict=True):
        mask = opened(await api.get(phrase["mask_url"]))
        assert (mask.mode, mask.size) == ("L", (48, 32))
        assert np.array_equal(np.asarray(mask), masks.decode(expected.rle) * np.uint8(255))


async def test_there_is_a_mask_for_each_phrase_and_no_other(api, backstage, job_id, result) -> None:
    backstage.succeed(job_id, result)
    for n, status in ((2, 404), (10**30, 404), (-1, 422)):
        answer = await api.get(f"/jobs/{job_id}/masks/{n}.png")
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")


async def test_the_overlay_shows_the_upright_image_with_its_phrases(api, backstage, photo) -> None:
    answer = await api.post("/jobs", files={"image": ("a.jpg", photo)}, data={"task": "gcg"})
    mask = np.zeros((48, 32), dtype=bool)
    mask[10:30, 5:25] = True
    phrase = {"text": "a ball", "span": (0, 6), "box": (5.0, 10.0, 25.0, 30.0), "area": 400, "score": 0.9}
    drawn = Result((Answer("a ball", "a ball", (Phrase(rle=masks.encode(mask), **phrase),)),), "weights-1")
    backstage.succeed(UUID(answer.json()["id"]), drawn)
    overlay = opened(await api.get(f"/jobs/{answer.json()['id']}/overlay.png"))
    assert overlay.mode == "RGB"
    assert overlay.height > overlay.width


async def test_a_caption_without_phrases_has_an_overlay_too(api, backstage, job_id) -> None:
    backstage.succeed(job_id, Result((Answer("A quiet street.", "A quiet street."),), "weights-1"))
    opened(await api.get(f"/jobs/{job_id}/overlay.png"))
    assert (await api.get(f"/jobs/{job_id}/masks/0.png")).status_code == 404


async def test_the_overlay_names_an_expression_that_found_nothing(api, backstage, png) -> None:
    """Below the same picture and the same words of the model, the legend differs."""

    async def overlay(expression: str) -> np.ndarray:
        data = {"task": "refseg", "expressions": f'["{expression}"]'}
        job = (await api.post("/jobs", files={"image": ("a.png", png)}, data=data)).json()
        backstage.succeed(UUID(job["id"]), Result((Answer("No.", "No."),), "weights-1"))
        return np.asarray(opened(await api.get(f"/jobs/{job['id']}/overlay.png")))

    dog, cat = await overlay("the dog"), await overlay("the cat")
    picture = 768 * 32 // 48
    np.testing.assert_array_equal(dog[:picture], cat[:picture])
    assert not np.array_equal(dog[picture:], cat[picture:])


@pytest.mark.parametrize("path", ["masks/0.png", "overlay.png"])
async def test_a_job_without_a_result_has_no_pictures(api, backstage, job_id, path: str) -> None:
    queued = await api.get(f"/jobs/{job_id}/{path}")
    assert (queued.status_code, queued.json()["type"]) == (409, "urn:glamm:problem:conflict")
    assert "not finished (queued)" in queued.json()["detail"]
    assert f"/jobs/{job_id}?wait=30" in queued.json()["remedy"]

    run = backstage.start(job_id, Stage.VISION)
    assert "(vision)" in (await api.get(f"/jobs/{job_id}/{path}")).json()["detail"]

    backstage.fail(run, InvalidInput("image", "The image is odd.", "Send another.").to_problem())
    failed = await api.get(f"/jobs/{job_id}/{path}")
    assert (failed.status_code, "failed" in failed.json()["detail"]) == (409, True)


@pytest.mark.parametrize("path", ["masks/0.png", "overlay.png"])
async def test_a_canceled_job_has_no_pictures(api, backstage, job_id, path: str) -> None:
    backstage.cancel(job_id)
    answer = await api.get(f"/jobs/{job_id}/{path}")
    assert (answer.status_code, "canceled" in answer.json()["detail"]) == (409, True)


@pytest.mark.parametrize("path", ["masks/0.png", "overlay.png"])
async def test_an_unknown_job_has_no_pictures(api, path: str) -> None:
    assert (await api.get(f"/jobs/{uuid4()}/{path}")).status_code == 404


async def test_an_image_whose_bytes_have_gone_has_masks_and_no_overlay(api, backstage, job_id, result) -> None:
    backstage.succeed(job_id, result)
    (key,) = backstage.contents().objects
    backstage.objects.delete(key)
    answer = await api.get(f"/jobs/{job_id}/overlay.png")
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:glamm:problem:conflict")
    assert key not in answer.text
    opened(await api.get(f"/jobs/{job_id}/masks/0.png"))
