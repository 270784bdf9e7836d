"""What `glamm` ends with: 2 where what it was given has to be another, 1 where it may work another time."""

from shared.errors import GlammError, InvalidInput, InvalidSettings


def of(error: GlammError) -> int:
    from services.cli.client import Refused

    blames_input = isinstance(error, InvalidInput | InvalidSettings) or (
        isinstance(error, Refused) and error.blames_the_request
    )
    return 2 if blames_input else 1
