"""How large images and requests may be, by the settings: for whoever judges either."""

from shared import images, tasks
from shared.settings import Settings


def of_images(settings: Settings) -> images.Limits:
    return images.Limits(settings.max_image_bytes, settings.max_image_pixels, settings.max_image_side)


def of_requests(settings: Settings) -> tasks.Limits:
    return tasks.Limits(settings.max_prompt_chars, settings.max_boxes, settings.max_expressions)
