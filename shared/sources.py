"""Where a job's image lies before it is taken in: `s3://BUCKET/KEY`, or an upload's key in the service's bucket."""

SCHEME = "s3://"


def split(source: str) -> tuple[str | None, str]:
    """Bucket and key; no bucket for an upload."""
    if not source.startswith(SCHEME):
        return None, source
    bucket, _, key = source.removeprefix(SCHEME).partition("/")
    return bucket, key


def uri(bucket: str, key: str) -> str:
    """The counterpart of `split`, of a key in a bucket."""
    return f"{SCHEME}{bucket}/{key}"
