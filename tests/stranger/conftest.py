# Async tests in virtual time: the first name for anyio's plugin, the second for pytest-asyncio.
from klaviyo_variant_jobs.sandbox.loops import (  # noqa: F401
    anyio_backend,
    pytest_asyncio_loop_factories,
)

pytest_plugins = ["klaviyo_variant_jobs.sandbox.pytest_plugin"]
