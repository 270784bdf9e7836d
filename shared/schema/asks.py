"""What is asked of an image, alone and as a job."""

from typing import Annotated, Literal

from pydantic import FailFast, Field

from shared.priority import Priority
from shared.schema.base import ImageId, Request
from shared.tasks import MOST_NEW_TOKENS, Ask, Box, Task

# The first wrong value of a list tells enough: there may be as many as a body has room for.
_Texts = Annotated[list[str], FailFast()]
_Boxes = Annotated[list[Box], FailFast()]


class Worded(Request):
    """Asks for the model's own words."""

    max_new_tokens: int | None = Field(
        None,
        gt=0,
        le=MOST_NEW_TOKENS,
        description="of each answer, which is cut there; at most the service's own limit",
    )


class GcgAsk(Worded):
    task: Literal[Task.GCG]
    prompt: str | None = Field(None, description="an instruction of your own; the paper's when left out")


class CaptionAsk(Worded):
    task: Literal[Task.CAPTION]
    prompt: str | None = Field(None, description="an instruction of your own; the paper's when left out")


class RefsegAsk(Request):
    task: Literal[Task.REFSEG]
    expressions: _Texts = Field(description="what to segment, such as 'the dog on the left'")


class RegionCaptionAsk(Worded):
    task: Literal[Task.REGION_CAPTION]
    boxes: _Boxes = Field(description="the regions to describe")
    prompt: str | None = Field(None, description="an instruction of your own; the paper's when left out")


class VqaAsk(Worded):
    task: Literal[Task.VQA]
    question: str = Field(description="<box1>, <box2> … in it name the boxes; boxes not named follow at its end")
    boxes: _Boxes = Field([], description="what the question is about")


class GroundAsk(Request):
    task: Literal[Task.GROUND]
    caption: str
    phrases: _Texts = Field([], description="words of the caption, in its order; the model chooses when left out")


class Terms(Request):
    """How a job is to be worked off, whatever it asks."""

    expires_in: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="seconds in which the job has to be finished, or it fails; the service's own time when left out",
    )
    priority: Priority = Field(Priority.INTERACTIVE, description="bulk jobs let every interactive one pass")


class GcgRequest(GcgAsk, Terms):
    """Grounded conversation generation: a caption whose phrases carry masks."""


class CaptionRequest(CaptionAsk, Terms):
    """A caption without masks."""


class RefsegRequest(RefsegAsk, Terms):
    """Referring expression segmentation: one answer, with one mask at most, for each expression."""


class RegionCaptionRequest(RegionCaptionAsk, Terms):
    """One description for each box."""


class VqaRequest(VqaAsk, Terms):
    """A free question, maybe about boxes. The answer carries masks where the model grounds it."""


class GroundRequest(GroundAsk, Terms):
    """Phrase grounding: the caption comes back, its phrases tied to masks."""


class OnImage(Request):
    image_id: ImageId


class GcgJob(GcgRequest, OnImage):
    pass


class CaptionJob(CaptionRequest, OnImage):
    pass


class RefsegJob(RefsegRequest, OnImage):
    pass


class RegionCaptionJob(RegionCaptionRequest, OnImage):
    pass


class VqaJob(VqaRequest, OnImage):
    pass


class GroundJob(GroundRequest, OnImage):
    pass


AskRequest = Annotated[
    GcgRequest | CaptionRequest | RefsegRequest | RegionCaptionRequest | VqaRequest | GroundRequest,
    Field(discriminator="task"),
]
"""What is asked of an image: each task has its own fields."""


Asking = Annotated[GcgAsk | CaptionAsk | RefsegAsk | RegionCaptionAsk | VqaAsk | GroundAsk, Field(discriminator="task")]
"""The same without the terms that a job has for itself: those of a batch hold for all its jobs."""

JobRequest = Annotated[
    GcgJob | CaptionJob | RefsegJob | RegionCaptionJob | VqaJob | GroundJob, Field(discriminator="task")
]
"""The same with the image that it is asked of, which is stored already."""


class GcgAsked(GcgAsk, extra="ignore"):
    pass


class CaptionAsked(CaptionAsk, extra="ignore"):
    pass


class RefsegAsked(RefsegAsk, extra="ignore"):
    pass


class RegionCaptionAsked(RegionCaptionAsk, extra="ignore"):
    pass


class VqaAsked(VqaAsk, extra="ignore"):
    pass


class GroundAsked(GroundAsk, extra="ignore"):
    pass


Asked = Annotated[
    GcgAsked | CaptionAsked | RefsegAsked | RegionCaptionAsked | VqaAsked | GroundAsked, Field(discriminator="task")
]
"""A request as an answer repeats it: what a newer gateway adds to it is left aside, as in the rest of an answer."""


def to_ask(request: Asking | Asked) -> Ask:
    """What the request asks, as the service keeps it; its image and its terms are left aside."""
    boxes = tuple(request.boxes) if isinstance(request, RegionCaptionAsk | VqaAsk) else ()
    most = request.max_new_tokens if isinstance(request, Worded) else None
    match request:
        case RefsegAsk():
            return Ask(request.task, expressions=tuple(request.expressions))
        case VqaAsk():
            return Ask(request.task, request.question, boxes, max_new_tokens=most)
        case GroundAsk():
            return Ask(request.task, request.caption, phrases=tuple(request.phrases))
        case _:
            return Ask(request.task, request.prompt, boxes, max_new_tokens=most)


def from_ask(ask: Ask) -> Asked:
    """The counterpart of `to_ask`; its JSON is a request as well, on the terms that stand where none are named."""
    most = ask.max_new_tokens
    match ask.task:
        case Task.REFSEG:
            return RefsegAsked(task=ask.task, expressions=list(ask.expressions))
        case Task.VQA:
            return VqaAsked(task=ask.task, question=ask.prompt or "", boxes=list(ask.boxes), max_new_tokens=most)
        case Task.GROUND:
            return GroundAsked(task=ask.task, caption=ask.prompt or "", phrases=list(ask.phrases))
        case Task.REGION_CAPTION:
            return RegionCaptionAsked(task=ask.task, boxes=list(ask.boxes), prompt=ask.prompt, max_new_tokens=most)
        case Task.CAPTION:
            return CaptionAsked(task=ask.task, prompt=ask.prompt, max_new_tokens=most)
        case Task.GCG:
            return GcgAsked(task=ask.task, prompt=ask.prompt, max_new_tokens=most)
