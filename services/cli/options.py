"""Options that many commands share."""

from pathlib import Path
from typing import Annotated

import typer

from shared.tasks import MOST_NEW_TOKENS

UP_DATA = Path("data/up")

Url = Annotated[str | None, typer.Option(help="A running service. Default: $GLAMM_URL, else what `glamm up` started.")]
ApiKey = Annotated[
    str | None,
    typer.Option(help="The key to it. Default: $GLAMM_API_KEY, else that of the stack.", show_envvar=False),
]
Data = Annotated[Path, typer.Option(help="The folder that keeps the stack's data and logs between runs.")]
MaxNewTokens = Annotated[
    int | None,
    typer.Option(
        min=1, max=MOST_NEW_TOKENS, metavar="N", help="gcg, caption, region_caption, vqa: cut answers after N tokens."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
