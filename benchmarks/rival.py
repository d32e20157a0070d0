"""LibRecommender's `libserving` on the same world: its own environment, its Redis keys, its FAISS index.

The package walks its own folder for a file named `faiss_index*`, so the index is written there, into an
environment of its own below the folder of the benchmarks.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import orjson
import redis

from benchmarks.bundle import user_vectors
from benchmarks.scale import Scale
from models import artifacts
from retrieval.index_card import IndexCard

PACKAGE = "LibRecommender==1.5.2"
NEEDS = ("faiss-cpu", "numpy", "pydantic", "redis", "sanic", "ujson")
_BATCH = 2000


def rival_environment(root: Path) -> Path:
    """The folder of its virtual environment, made if it is not there.

    Raises:
        RuntimeError: pip could not install it.
    """
    folder = root / "rival"
    if not (folder / "done").exists():
        print(f"making {folder} with {PACKAGE}", file=sys.stderr, flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        for command in (
            [sys.executable, "-m", "venv", str(folder)],
            # Its own list of requirements names TensorFlow and PyTorch, which serving embeddings needs not.
            [*pip, "--no-deps", PACKAGE],
            [*pip, *NEEDS],
        ):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise RuntimeError(f"{' '.join(command[-2:])}: {done.stderr.strip().splitlines()[-1:]}")
        (folder / "done").touch()
    return folder


def write_index(scale: Scale, environment: Path) -> None:
    """Give it the very index of our bundle, searched as thoroughly."""
    (package,) = environment.glob("lib/python*/site-packages/libserving")
    index: Any = faiss.read_index(str(scale.bundle / artifacts.INDEX))
    # The outermost index may be one that only widens vectors: the cells are within.
    faiss.extract_index_ivf(index).nprobe = IndexCard.read(scale.bundle).settings.probes
    faiss.write_index(index, str(package / "faiss_index.bin"))


def write_keys(scale: Scale, client: redis.Redis) -> None:
    """Write `user2id`, `id2item`, `item2id`, `user_consumed` and `user_embed`, as its `embed2redis` does."""
    world = scale.world
    for start in range(0, world.users, _BATCH):
        users = range(start, min(start + _BATCH, world.users))
        names = [str(user) for user in users]
        seen = [np.unique(world.items[world.events_of(user)]).tolist() for user in users]
        vectors = user_vectors(world, np.array(users)).tolist()
        pipeline = client.pipeline(transaction=False)
        pipeline.hset("user2id", mapping=dict(zip(names, names, strict=True)))
        pipeline.hset("user_consumed", mapping=dict(zip(names, map(orjson.dumps, seen), strict=True)))
        pipeline.hset("user_embed", mapping=dict(zip(names, map(orjson.dumps, vectors), strict=True)))
        pipeline.execute()
    for start in range(0, len(world), _BATCH):
        rows = range(start, min(start + _BATCH, len(world)))
        for key in ("id2item", "item2id"):
            client.hset(key, mapping={str(row): row for row in rows})
