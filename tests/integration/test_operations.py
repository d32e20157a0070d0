from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from tests.support.live_service import ids, live_service
from tests.support.tiny_bundle import write_tiny_bundle


def test_alive_and_ready(client: httpx.Client) -> None:
    assert client.get("/healthz").json() == {"status": "alive"}
    assert client.get("/readyz").json() == {
        "status": "ready",
        "bundle_version": "tiny-1",
        "checks": {"store": "ok"},
    }


def test_metrics_count_good_and_bad_calls(client: httpx.Client) -> None:
    client.post("/v1/recommend", json={"user_id": "m", "count": 5})
    client.post("/v1/recommend", json={"count": "x"})
    client.get("/v1/users/somebody secret")
    text = client.get("/metrics").text
    for line in (
        'cascada_requests_total{route="/v1/recommend",status="200"}',
        'cascada_requests_total{route="/v1/recommend",status="422"}',
        'cascada_request_seconds_bucket{le="0.01",route="/v1/recommend"}',
        'cascada_stage_seconds_count{cascade="recommend",stage="source.popular"}',
        'cascada_source_candidates_total{cascade="recommend",source="popular"}',
        'cascada_answers_total{cascade="recommend"}',
        'cascada_bundle_info{created="2024-01-01T00:00:00Z"',
        "cascada_ready 1.0",
        'cascada_store_seconds_count{call="read"}',
        "cascada_prediction_count_total",
    ):
        assert line in text
    assert "secret" not in text


def test_the_documentation_lists_every_call(client: httpx.Client) -> None:
    assert client.get("/docs").status_code == 200
    paths = client.get("/openapi.json").json()["paths"]
    assert {path: set(calls) for path, calls in paths.items()} == {
        "/v1/recommend": {"post"},
        "/v1/search": {"post"},
        "/v1/similar": {"post"},
        "/v1/events": {"post"},
        "/v1/items": {"get", "post"},
        "/v1/items/{item_id}": {"put", "get", "patch", "delete"},
        "/v1/interests": {"get"},
        "/v1/users/{user_id}/interests": {"get", "patch", "delete"},
        "/v1/users/{user_id}": {"put", "get", "delete"},
        "/v1/advertisers/{advertiser_id}": {"put", "get"},
        "/v1/explain": {"get"},
        "/v1/bundles": {"get"},
        "/v1/bundles/{version}/activate": {"post"},
        "/v1/bundles/rollback": {"post"},
        "/healthz": {"get"},
        "/readyz": {"get"},
        "/metrics": {"get"},
    }


def test_the_newest_bundle_is_served_and_all_are_listed(tmp_path: Path, redis_url: str) -> None:
    write_tiny_bundle(tmp_path, "old", "2024-01-01T00:00:00Z")
    write_tiny_bundle(tmp_path, "new", "2024-06-01T00:00:00Z")
    (tmp_path / ".half-copied").mkdir()
    (tmp_path / "notes").mkdir()
    with live_service(bundles=tmp_path, redis_url=redis_url, redis_prefix="newest") as client:
        assert client.get("/readyz").json()["bundle_version"] == "new"
        listed = client.get("/v1/bundles").json()["bundles"]
    assert [(one["version"], one["active"]) for one in listed] == [("new", True), ("old", False)]


def test_with_keys_only_their_holders_may_call(bundles: Path, redis_url: str) -> None:
    keys = (SecretStr("first"), SecretStr("sécond"))
    with live_service(bundles=bundles, redis_url=redis_url, redis_prefix="keys", api_keys=keys) as client:
        assert client.get("/healthz").status_code == 200
        assert client.get("/readyz").status_code == 200
        for headers in (
            {},
            {"Authorization": "Bearer wrong"},
            {"Authorization": "Basic first"},
            {"Authorization": "first"},
        ):
            answer = client.post("/v1/recommend", json={}, headers=headers)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == "Bearer"
            assert answer.json()["code"] == "unauthorized"
            assert "first" not in answer.text
        for key in ("first", "sécond"):
            headers = {"Authorization": f"Bearer {key}".encode()}
            assert len(ids(client.post("/v1/recommend", json={}, headers=headers))) == 20


def test_serving_never_imports_what_only_training_needs(bundles: Path) -> None:
    script = f"""
import asyncio, json, sys
from pathlib import Path
from service.app import create_app
from service.settings import Settings
from service.opening import open_engine, warm_up
from service.metrics import Metrics
settings = Settings(bundles=Path({str(bundles)!r}))
create_app(settings)
warm_up(open_engine(settings, Metrics()), 4)
offline = ("models.data.", "models.networks.", "models.training.", "models.export.")
heavy = ("torch", "pyarrow", "scipy", "onnx", "pandas", "polars", "matplotlib")
found = [name for name in sys.modules if name in heavy or name.startswith(offline)]
print(json.dumps(found))
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert json.loads(result.stdout) == []


@pytest.mark.parametrize("plan", [{"ranked": 3}, {"quotas": {"popular": 1.0}}])
def test_the_plan_can_be_overridden(bundles: Path, redis_url: str, plan: dict[str, object]) -> None:
    with live_service(bundles=bundles, redis_url=redis_url, redis_prefix="plan", plan=plan) as client:
        body = client.post("/v1/recommend", json={"explain": True, "count": 2}).json()
    if "quotas" in plan:
        assert {source for item in body["items"] for source in item["sources"]} == {"popular"}
    else:
        assert body["funnel"]["prerank"] > 20
