"""The life of a job: its states, who may move it, and what each move leaves behind.

Every function takes a connection inside the caller's transaction, reads the database's clock and makes its change
with one conditional UPDATE, which also notifies. A run is fenced by the token of its lease: from the moment the job
was taken away (swept, cancelled, moved on) its writes change nothing and return None or False. A lease that has run
out is still the worker's until the sweep clears it, so late work that nobody repeated counts.

A message is a hint and may be lost, repeated or late. Messages are to be sent after the commit; one that gets lost
on the way is found by the sweep.
"""

from shared.jobs.admission import admit
from shared.jobs.conversations import add_turn, begin
from shared.jobs.records import (
    Answer,
    ConversationView,
    Failure,
    Generation,
    ImageView,
    JobEntry,
    JobFilter,
    JobView,
    Message,
    NewJob,
    PastTurn,
    Phrase,
    Result,
    Run,
    RunImage,
    StageRun,
    Swept,
    Timing,
)
from shared.jobs.results import results_of
from shared.jobs.runs import (
    complete_llm,
    complete_pixel,
    complete_vision,
    enter,
    fail,
    give_back,
    renew,
    retry,
    rewind,
    take_in,
)
from shared.jobs.schedule import (
    cancel,
    cancel_all,
    count_queued,
    create,
    expire,
    require_room,
    sweep,
    withdraw_image,
    withdrawn,
)
from shared.jobs.views import get, get_conversation, get_page, get_turns, get_version, require_conversation
from shared.states import Outcome, Stage, State

__all__ = [
    "Answer",
    "ConversationView",
    "Failure",
    "Generation",
    "ImageView",
    "JobEntry",
    "JobFilter",
    "JobView",
    "Message",
    "NewJob",
    "Outcome",
    "PastTurn",
    "Phrase",
    "Result",
    "Run",
    "RunImage",
    "Stage",
    "StageRun",
    "State",
    "Swept",
    "Timing",
    "add_turn",
    "admit",
    "begin",
    "cancel",
    "cancel_all",
    "complete_llm",
    "complete_pixel",
    "complete_vision",
    "count_queued",
    "create",
    "enter",
    "expire",
    "fail",
    "get",
    "get_conversation",
    "get_page",
    "get_turns",
    "get_version",
    "give_back",
    "renew",
    "require_conversation",
    "require_room",
    "results_of",
    "retry",
    "rewind",
    "sweep",
    "take_in",
    "withdraw_image",
    "withdrawn",
]
