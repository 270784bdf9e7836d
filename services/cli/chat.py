"""`glamm chat`: a conversation about one image."""

from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from services.cli.options import UP_DATA, ApiKey, Data, Url
from shared.errors import InvalidInput

app = typer.Typer()


@app.command()
def chat(
    image: Annotated[Path | None, typer.Argument(metavar="IMAGE", help="A PNG, JPEG or WebP file.")] = None,
    conversation: Annotated[
        UUID | None, typer.Option(metavar="ID", help="Go on with this one, in place of a new one about IMAGE.")
    ] = None,
    question: Annotated[
        list[str] | None, typer.Option(help="Repeatable. Default: what is typed or piped in, a question a line.")
    ] = None,
    box: Annotated[
        list[str] | None,
        typer.Option(metavar="X1,Y1,X2,Y2", help="A region that each question is about, <box1> … in it. Repeatable."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write an overlay of each answer here.")] = None,
    url: Url = None,
    api_key: ApiKey = None,
    data: Data = UP_DATA,
    as_json: Annotated[bool, typer.Option("--json", help="Print turns as JSON, a line each, instead of text.")] = False,
) -> None:
    """Ask about an image, question by question; each answer knows those before it. Ctrl-D ends it.

    Without a terminal, or with --question, it stops at the first question that gets no answer.
    """
    from rich.console import Console

    from services.cli import locate, talking
    from services.cli.asking import parse_box, require_text

    if (image is None) == (conversation is None):
        raise InvalidInput(
            "IMAGE", "A conversation begins about an image, or goes on.", "Name an image, or one by --conversation."
        )
    boxes = tuple(map(parse_box, box or ()))
    for text in question or ():
        require_text("--question", text)
    with locate.client(url, api_key, data) as client:
        client.greet()
        err = Console(stderr=True)
        if image is not None:
            conversation_id = talking.begin(client, image, err)
        else:
            assert conversation is not None
            conversation_id = client.conversation(conversation).id
        talk = talking.Talk(client, conversation_id, boxes, out, Console(), err, as_json)
        live = not question and talking.at_terminal()
        answered = talk.live() if live else talk.through(question or talking.lines())
    raise typer.Exit(0 if answered else 1)
