"""`glamm webhooks`: where a running service sends events, and what came of sending them."""

import json
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from services.cli.options import UP_DATA, ApiKey, AsJson, Data, Url
from shared.errors import InvalidInput
from shared.webhooks.events import EventType

if TYPE_CHECKING:
    from services.cli.client import GlammClient
    from shared import schema

_A_PAGE = 200

app = typer.Typer(help="Where a running service sends events.", no_args_is_help=True)

WebhookId = Annotated[UUID, typer.Argument(metavar="ID", help="As `glamm webhooks list` shows it.")]
Events = Annotated[
    list[EventType] | None, typer.Option("--event", help="What it is told of. Repeatable. Default: everything.")
]


@app.command()
def add(
    target: Annotated[str, typer.Argument(metavar="URL", help="Of your server: http or https.")],
    event: Events = None,
    description: Annotated[str, typer.Option(help="To tell it from others.")] = "",
    url: Url = None,
    api_key: ApiKey = None,
    data: Data = UP_DATA,
    as_json: AsJson = False,
) -> None:
    """Have events sent to a URL, and print the secret that they are signed with. It is shown this once."""
    with _client(url, api_key, data) as client:
        webhook = client.create_webhook(target, event or list(EventType), description)
    _print_secret(webhook, as_json)


@app.command("list")
def list_webhooks(url: Url = None, api_key: ApiKey = None, data: Data = UP_DATA, as_json: AsJson = False) -> None:
    """Show all webhooks, the newest first, without their secrets."""
    with _client(url, api_key, data) as client:
        webhooks = list(client.webhooks(limit=_A_PAGE))
    if as_json:
        for webhook in webhooks:
            print(webhook.model_dump_json())
        return
    from rich.console import Console

    from services.cli import deliveries
    from services.cli.lists import Listing

    rows = [(str(webhook.id), deliveries.state(webhook), webhook.url, webhook.description) for webhook in webhooks]
    Listing(("id", "state", "url", "description"), rows).show(Console())


@app.command()
def show(
    webhook_id: WebhookId,
    limit: Annotated[int, typer.Option(min=1, help="So many deliveries at most.")] = 20,
    url: Url = None,
    api_key: ApiKey = None,
    data: Data = UP_DATA,
    as_json: AsJson = False,
) -> None:
    """Show a webhook and its log of seven days: each delivery, the newest first, with every attempt."""
    from rich.console import Console

    from services.cli import deliveries
    from services.cli.terminal import say

    with _client(url, api_key, data) as client:
        webhook = client.webhook(webhook_id)
        found = list(islice(client.deliveries(webhook_id, limit=min(limit + 1, _A_PAGE)), limit + 1))
    log = found[:limit]
    if as_json:
        told = {
            "webhook": webhook.model_dump(mode="json"),
            "deliveries": [delivery.model_dump(mode="json") for delivery in log],
        }
        print(json.dumps(told))
    else:
        deliveries.show(webhook, log, Console())
    if len(found) > limit:
        say(Console(stderr=True), f"There are more than {limit:,}: --limit shows more of them.", style="yellow")


@app.command()
def change(
    webhook_id: WebhookId,
    to: Annotated[str | None, typer.Option("--to", metavar="URL", help="Send to this URL.")] = None,
    event: Annotated[
        list[EventType] | None, typer.Option("--event", help="Tell of these, and no others. Repeatable.")
    ] = None,
    description: Annotated[str | None, typer.Option(help="To tell it from others.")] = None,
    enable: Annotated[
        bool | None, typer.Option("--enable/--disable", help="Tell it of events again, or of none.")
    ] = None,
    url: Url = None,
    api_key: ApiKey = None,
    data: Data = UP_DATA,
    as_json: AsJson = False,
) -> None:
    """Change what is given; the rest stays. What happens while it is disabled is not sent later."""
    from shared import schema

    if to is None and not event and description is None and enable is None:
        raise InvalidInput("webhooks change", "Nothing is to be changed.", "Say what, with an option.")
    # The service is to judge what is given, and say so in its own words.
    wanted = schema.WebhookChange.model_construct(url=to, events=event or None, description=description, enabled=enable)
    with _client(url, api_key, data) as client:
        webhook = client.change_webhook(webhook_id, wanted)
    print(webhook.model_dump_json() if as_json else f"changed: {webhook.id}")


@app.command()
def remove(
    webhook_id: WebhookId, url: Url = None, api_key: ApiKey = None, data: Data = UP_DATA, as_json: AsJson = False
) -> None:
    """Tell a webhook nothing more, and forget its log."""
    with _client(url, api_key, data) as client:
        client.delete_webhook(webhook_id)
    print(json.dumps({"removed": str(webhook_id)}) if as_json else f"removed: {webhook_id}")


@app.command()
def rotate(
    webhook_id: WebhookId, url: Url = None, api_key: ApiKey = None, data: Data = UP_DATA, as_json: AsJson = False
) -> None:
    """Give a webhook another secret and print it. For a day the one before signs as well."""
    with _client(url, api_key, data) as client:
        webhook = client.rotate_webhook(webhook_id)
    _print_secret(webhook, as_json)


@app.command("test")
def send_test(
    webhook_id: WebhookId, url: Url = None, api_key: ApiKey = None, data: Data = UP_DATA, as_json: AsJson = False
) -> None:
    """Send a webhook an event that tells of nothing. `glamm webhooks show` says what came of it."""
    with _client(url, api_key, data) as client:
        delivery = client.test_webhook(webhook_id)
    print(delivery.model_dump_json() if as_json else f"on its way: {delivery.id}")


def _client(url: str | None, api_key: str | None, data: Path) -> "GlammClient":
    from services.cli import locate

    return locate.client(url, api_key, data)


def _print_secret(webhook: "schema.CreatedWebhook", as_json: bool) -> None:
    """The secret alone on stdout, for a script to keep; the id beside it, for people."""
    if as_json:
        print(webhook.model_dump_json())
        return
    from rich.console import Console

    from services.cli.terminal import say

    print(webhook.secret)
    say(Console(stderr=True), f"The webhook is {webhook.id}. Its secret is shown this once.")
