# syntax=docker/dockerfile:1.7
# The three model workers, on a CPU or an NVIDIA device. Build from the repository's root:
#   docker build -f deploy/docker/worker.Dockerfile -t glamm-worker .

FROM python:3.11.15-slim-bookworm AS dependencies
ENV PIP_DISABLE_PIP_VERSION_CHECK=1
COPY locks/worker.lock /locks/worker.lock
RUN --mount=type=cache,target=/root/.cache/pip \
    python -m venv /opt/venv \
    && /opt/venv/bin/pip install --no-deps --require-hashes --only-binary :all: --requirement /locks/worker.lock

FROM python:3.11.15-slim-bookworm
RUN groupadd --gid 10001 glamm && useradd --uid 10001 --gid glamm --no-create-home --home-dir /nonexistent glamm
COPY --from=dependencies /opt/venv /opt/venv
# A worker reads its checkpoint folder and nothing else; libraries keep what they cache in the one writable folder.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HF_HUB_OFFLINE=1 \
    XDG_CACHE_HOME=/tmp \
    CUDA_CACHE_PATH=/tmp/cuda
WORKDIR /app
COPY shared shared
COPY workers workers
RUN PYTHONDONTWRITEBYTECODE= python -m compileall -q /app
USER 10001:10001
CMD ["python", "-m", "workers", "--stages", "vision,llm,pixel"]
