"""The turns of a conversation: asked one by one, each answer shown when it is there."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import httpx
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from services.cli import terminal
from services.cli.asking import require_text
from services.cli.batch import NEWS_SECONDS
from services.cli.bulk import showing
from services.cli.client import GlammClient, Refused
from services.cli.progress import bars
from shared import schema
from shared.errors import InvalidInput, Problem
from shared.tasks import Ask, Box, Task

_PROMPT = "> "


def begin(client: GlammClient, image: Path, err: Console) -> UUID:
    """A new conversation about an image file, whose id is told on `err`. Raises InvalidInput."""
    try:
        stored = client.upload_image(image)
    except OSError as error:
        raise InvalidInput(
            "IMAGE", f"{image} cannot be read: {error.strerror}.", "Name a PNG, JPEG or WebP file."
        ) from None
    conversation = client.begin_conversation(stored.id)
    terminal.say(err, f"`glamm chat --conversation {conversation.id}` goes on with this.", style="dim")
    return conversation.id


def at_terminal() -> bool:
    return sys.stdin.isatty()


def lines() -> Iterator[str]:
    """What is typed or piped in, but for empty lines, until its end. Raises InvalidInput for what is no text."""
    if at_terminal():
        with suppress(ImportError):
            import readline  # noqa: F401 -- `input` edits lines and knows earlier ones once it is imported
    # Where stdout goes elsewhere, `input` would write the prompt there.
    prompt = _PROMPT if at_terminal() and sys.stdout.isatty() else ""
    while True:
        try:
            line = input(prompt)
        except EOFError:
            return
        except UnicodeDecodeError:
            raise InvalidInput("stdin", "It is no text in UTF-8.", "Write it in UTF-8.") from None
        require_text("stdin", line)
        if line.strip():
            yield line


@dataclass(frozen=True)
class Talk:
    """A conversation that goes on. boxes: what each question is about; out: the folder for overlays, if wanted."""

    client: GlammClient
    conversation_id: UUID
    boxes: tuple[Box, ...]
    out: Path | None
    console: Console
    err: Console
    as_json: bool

    def through(self, questions: Iterable[str]) -> bool:
        """Ask these, up to one that gets no answer, since the next may build on it; whether all got one.

        Raises Refused for a question that the service does not take.
        """
        for question in questions:
            if not self.as_json:
                terminal.say(self.console, f"{_PROMPT}{question}", style="bold")
            if not self._ask(question):
                return False
        return True

    def live(self) -> bool:
        """Ask what is typed, until Ctrl-D. Who sees that a question got no answer asks another."""
        for question in lines():
            try:
                self._ask(question)
            except Refused as error:
                if error.problem.status != httpx.codes.UNPROCESSABLE_ENTITY:
                    raise
                self._complain(error.to_problem())
        # Whatever comes next begins a line of its own.
        self.err.print()
        return True

    def _ask(self, question: str) -> bool:
        """Whether there is an answer, which is shown; what there is in its place is told."""
        job = self._finished(self.client.take_turn(self.conversation_id, Ask(Task.VQA, question, self.boxes)))
        if self.as_json:
            print(job.model_dump_json(), flush=True)
        elif job.result is not None:
            for part in (terminal.caption(job), terminal.timings(job)):
                self.console.print(Padding(part, (0, 0, 0, 2), expand=False))
        if job.result is None:
            self._complain(job.error)
        elif self.out is not None:
            picture = showing.save_overlay(self.client, job, self.out, self.err)
            if picture is not None:
                terminal.say(self.err if self.as_json else self.console, f"  → {picture}", style="dim")
        return job.result is not None

    def _finished(self, turn: schema.Job) -> schema.Job:
        with bars(self.err) as progress:
            row = progress.add_task(f"turn {turn.turn}", total=1.0, state=turn.state)
            return self.client.wait_for(
                turn.id,
                every=NEWS_SECONDS,
                seen=lambda job: progress.update(row, completed=job.progress, state=job.state),
            )

    def _complain(self, problem: Problem | schema.Problem | None) -> None:
        told = "The turn was canceled." if problem is None else terminal.problem_line(problem)
        self.err.print(Text(f"✗ {told}", style="red"), soft_wrap=True)
