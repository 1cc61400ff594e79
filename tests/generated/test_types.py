"""What type checkers know of the generated code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from klaviyo_variant_jobs_api.registry import NEWEST

ROOT = Path(__file__).resolve().parents[2]

# With every known status handled, something is left, and it is text.
SERVICE = f"""
from typing import Generic, assert_type

from klaviyo_variant_jobs_api.registry import AnyJob, JobT, NewestJob, Revision
from {NEWEST.package}.models import JobStatus


def label(job: NewestJob) -> str:
    status = job.attributes.status
    match status:
        case None:
            return "not asked for"
        case JobStatus.QUEUED | JobStatus.PROCESSING:
            return "at work"
        case JobStatus.COMPLETE | JobStatus.CANCELLED:
            return "done"
        case _:
            assert_type(status, str)
            print(status.upper())
    return 5  # an error, so that this line is known to be reached


class Holder(Generic[JobT]):
    def job(self) -> JobT:
        raise NotImplementedError


def bare(holder: Holder, revision: Revision) -> None:
    assert_type(holder.job(), AnyJob)
    assert_type(revision.load().job_model, type[AnyJob])
"""


@pytest.mark.parametrize(
    ("checker", "told"),
    [
        (["mypy", "--strict", "--python-version", "3.11"], '"int", expected "str"'),
        (["basedpyright", "--pythonversion", "3.11"], '"Literal[5]" is not assignable to return type "str"'),
    ],
    ids=["mypy", "pyright"],
)
def test_a_status_stays_open_and_a_bare_generic_means_every_job(
    checker: list[str], told: str, tmp_path: Path
) -> None:
    file = tmp_path / "service.py"
    file.write_text(SERVICE, encoding="utf-8")
    (tmp_path / "pyrightconfig.json").write_text(
        f'{{"typeCheckingMode": "strict", "extraPaths": ["{ROOT}/generated"],'
        ' "reportReturnType": "error", "reportMissingParameterType": "none"}'
    )
    done = subprocess.run(
        [sys.executable, "-m", *checker, str(file)],
        cwd=tmp_path,
        env={"MYPYPATH": str(ROOT / "generated"), "PATH": str(Path(sys.executable).parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    errors = [line for line in done.stdout.splitlines() if " error: " in line or " - error:" in line]
    assert len(errors) == 1, done.stdout + done.stderr
    assert told in errors[0]
    assert "reach" not in done.stdout
