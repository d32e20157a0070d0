# Two images out of one file:
#   docker build --target serving  -t cascada .             the service: no torch, no compiler, not root
#   docker build --target training -t cascada-training .    the same plus the offline verbs
# A package index of your own, or one with CPU-only builds of torch (some 3 GB smaller):
#   --build-arg PIP_INDEX_URL=... --build-arg PIP_EXTRA_INDEX_URL=...

FROM python:3.11.14-slim-bookworm AS base
ENV PATH=/opt/cascada/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
# Volumes take their owner from these folders when they are first mounted.
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin cascada \
    && install -d -o cascada -g cascada /bundles /data

FROM base AS packages
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
RUN python -m venv /opt/cascada
# The dependencies are a layer of their own: a change of code does not install them again.
COPY pyproject.toml constraints.txt ./
COPY deploy/container/requirements.py deploy/container/
RUN python deploy/container/requirements.py > requirements.txt \
    && pip install -c constraints.txt -r requirements.txt
COPY README.md ./
COPY benchmarks benchmarks
COPY models models
COPY ranking ranking
COPY retrieval retrieval
COPY service service
RUN pip install --no-deps .

FROM packages AS training-packages
RUN python deploy/container/requirements.py train > requirements.txt \
    && pip install -c constraints.txt -r requirements.txt

FROM base AS training
COPY --from=training-packages /opt/cascada /opt/cascada
COPY deploy/container/train.sh /opt/train.sh
ENV CASCADA_CACHE=/data/cache
USER 10001
WORKDIR /data
ENTRYPOINT ["cascada"]
CMD ["--help"]

FROM base AS serving
COPY --from=packages /opt/cascada /opt/cascada
ENV CASCADA_HOST=0.0.0.0 \
    CASCADA_PORT=8000 \
    CASCADA_BUNDLES=/bundles
USER 10001
WORKDIR /data
EXPOSE 8000
HEALTHCHECK --interval=5s --timeout=3s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/readyz', timeout=2)"]
ENTRYPOINT ["cascada"]
CMD ["serve"]
