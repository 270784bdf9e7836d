"""What the JSON of the API is made of."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

ImageId = Annotated[str, Field(pattern="^[0-9a-f]{64}$", description="sha256 of the image's bytes, in lower-case hex")]


class Request(BaseModel):
    """A misspelt field is an error: silently left aside it would change what is asked for."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Response(BaseModel):
    """Fields that a newer gateway adds are left aside by an older client."""

    model_config = ConfigDict(extra="ignore", frozen=True)
