"""Pages decode while a test has frozen the time, and after it, whenever a revision was imported."""

from __future__ import annotations

import subprocess
import sys

import pytest

DECODE = """
import datetime, json, msgspec

def page(registry):
    body = '{"data": [{"id": "01M", "attributes": {"created_at": "2026-09-04T13:41:16+02:00"}}]}'
    for revision in registry.REVISIONS:
        (job,) = msgspec.json.decode(body, type=revision.load().page_model).data
        assert job.attributes.created_at.utcoffset() == datetime.timedelta(hours=2)
        assert job.attributes.created_at.year == 2026
"""
FREEZERS = {
    "freezegun": "import freezegun; frozen = lambda: freezegun.freeze_time('2020-01-01')",
    "time-machine": "import time_machine; frozen = lambda: time_machine.travel(0, tick=False)",
}
ORDERS = {
    "imported while frozen": """
with frozen():
    from klaviyo_variant_jobs_api import registry
    page(registry)
page(registry)
with frozen():
    page(registry)
""",
    "loaded while frozen": """
from klaviyo_variant_jobs_api import registry
with frozen():
    page(registry)
page(registry)
""",
    "loaded before": """
from klaviyo_variant_jobs_api import registry
page(registry)
with frozen():
    page(registry)
page(registry)
""",
}


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
@pytest.mark.parametrize("freezer", FREEZERS.values(), ids=FREEZERS)
def test_a_page_decodes_while_time_is_frozen_and_afterwards(freezer: str, order: str) -> None:
    # A process of its own, since what matters is when modules are imported.
    done = subprocess.run(
        [sys.executable, "-c", DECODE + freezer + order], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
