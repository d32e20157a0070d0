"""The serving process loads nothing of the offline half, whatever it is asked."""

import json
import subprocess
import sys
from pathlib import Path

from tests.support.tiny_bundle import write_tiny_bundle

ROOT = Path(__file__).resolve().parents[2]
OFFLINE = (
    "torch",
    "onnx",
    "onnxscript",
    "pyarrow",
    "scipy",
    "matplotlib",
    "models.indexing",
    "models.data",
    "models.training",
    "models.networks",
)
PROGRAM = """
import json, sys
from fastapi.testclient import TestClient
from service.app import create_app
from service.settings import load_settings

settings = load_settings(bundles=sys.argv[1], log_level="error")
with TestClient(create_app(settings)) as client:
    while client.get("/readyz").status_code != 200:
        pass
    calls = [
        client.post("/v1/recommend", json={"user_id": "3"}),
        client.post("/v1/search", json={"query": "comedy"}),
        client.post("/v1/similar", json={"item_id": "item-1"}),
    ]
print(json.dumps({"status": [call.status_code for call in calls], "modules": sorted(sys.modules)}))
"""


def test_the_app_answers_without_the_offline_half(tmp_path):
    write_tiny_bundle(tmp_path)
    told = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    answer = json.loads(told.stdout.splitlines()[-1])
    assert answer["status"] == [200, 200, 200]
    assert [name for name in OFFLINE if name in answer["modules"]] == []
    assert {"service.app", "retrieval", "ranking"} <= set(answer["modules"])
