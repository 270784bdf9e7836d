"""A webhook and its log of deliveries, as people look at them."""

from collections.abc import Sequence
from datetime import datetime

from rich.console import Console
from rich.text import Text

from services.cli.terminal import say
from shared import schema
from shared.webhooks.events import DeliveryState

_STYLES = {DeliveryState.DELIVERED: "green", DeliveryState.FAILED: "red", DeliveryState.PENDING: "yellow"}


def state(webhook: schema.Webhook) -> Text:
    """Whether it is told anything, and whether that arrives."""
    if not webhook.enabled:
        why = f" ({webhook.disabled_because})" if webhook.disabled_because else ""
        return Text(f"disabled{why}", style="red")
    if webhook.failing_since is not None:
        return Text(f"failing since {_time(webhook.failing_since)}", style="yellow")
    return Text("enabled", style="green")


def show(webhook: schema.Webhook, log: Sequence[schema.Delivery], console: Console) -> None:
    heading = Text(f"{webhook.id}  {webhook.url}  ").append(state(webhook))
    console.print(heading, soft_wrap=True)
    if webhook.description:
        say(console, f"  {webhook.description}")
    say(console, f"  is told of {', '.join(webhook.events)}")
    for delivery in log:
        _show(delivery, console)


def _show(delivery: schema.Delivery, console: Console) -> None:
    """A line for the delivery, whose id is the `webhook-id` that the receiver sees, and one for each attempt."""
    heading = Text(f"{_time(delivery.created_at)}  {delivery.id}  {delivery.event}  ")
    heading.append(delivery.state, style=_STYLES[delivery.state])
    console.print(heading.append(f"  {delivery.payload.data.links.self}", style="dim"), soft_wrap=True)
    for attempt in delivery.attempts:
        came = attempt.error if attempt.status is None else str(attempt.status)
        # Whatever answers there must not steer this terminal.
        said = " ".join("".join(char if char.isprintable() else " " for char in attempt.response).split())
        say(console, f"  {_time(attempt.at)}  {came} in {attempt.ms:.0f} ms  {said}".rstrip(), style="dim")
    if delivery.state is DeliveryState.PENDING and delivery.next_at is not None:
        say(console, f"  {_time(delivery.next_at)}  is tried, or later", style="dim")


def _time(time: datetime) -> str:
    return f"{time.astimezone():%Y-%m-%d %H:%M:%S}"
