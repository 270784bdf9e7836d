# syntax=docker/dockerfile:1.7
# The processes that need no torch: gateway, scheduler, and the one-shot commands. Build from the repository's root:
#   docker build -f deploy/docker/service.Dockerfile -t glamm-service .

FROM python:3.11.15-slim-bookworm AS dependencies
ENV PIP_DISABLE_PIP_VERSION_CHECK=1
COPY locks/service.lock /locks/service.lock
RUN --mount=type=cache,target=/root/.cache/pip \
    python -m venv /opt/venv \
    && /opt/venv/bin/pip install --no-deps --require-hashes --only-binary :all: --requirement /locks/service.lock

FROM python:3.11.15-slim-bookworm
# /scratch: for the scheduler's temporary files; a volume that is mounted there takes over whose it is.
RUN groupadd --gid 10001 glamm && useradd --uid 10001 --gid glamm --no-create-home --home-dir /nonexistent glamm \
    && install --directory --owner glamm --group glamm /scratch
COPY --from=dependencies /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
WORKDIR /app
COPY shared shared
COPY services services
# The root file system is read-only when it runs, so bytecode is written now or never.
RUN PYTHONDONTWRITEBYTECODE= python -m compileall -q /app
USER 10001:10001
CMD ["python", "-m", "services.gateway"]
