"""The command scripts/demo: lists the fake API's jobs over real HTTP, and meets a 429."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import httpx

from klaviyo_variant_jobs import NEWEST, Client, Clock
from klaviyo_variant_jobs.cli.progress import counted
from klaviyo_variant_jobs.cli.rows import job_layout
from klaviyo_variant_jobs.cli.summary import SUMMARY_LAYOUT, summary_of
from klaviyo_variant_jobs.cli.table import render
from klaviyo_variant_jobs.clock import SYSTEM_CLOCK
from klaviyo_variant_jobs.sandbox import Sandbox

if TYPE_CHECKING:
    from klaviyo_variant_jobs_api.registry import NewestJob

API_KEY = "pk_demo"
JOBS = 350
JOBS_PER_PAGE = 50
_NEWEST_SHOWN = 5


class _Witness(Clock):
    """Counts the responses of a client by status, and its waits."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.answers: Counter[int] = Counter()
        self.waited_s = 0.0
        self._told = 0.0, 0

    def told(self) -> str:
        """The refusals and waits since the last call, for a sentence."""
        waited_s, refused = self.waited_s, self.answers[429]
        before, self._told = self._told, (waited_s, refused)
        if (waited_s, refused) == before:
            return ""
        refusals = counted(refused - before[1], "refusal")
        return f", after {refusals} (429) and {waited_s - before[0]:.1f} s of waiting"

    def responded(self, response: httpx.Response) -> None:
        self.answers[response.status_code] += 1

    def monotonic(self) -> float:
        return self._clock.monotonic()

    def time(self) -> float:
        return self._clock.time()

    def random(self) -> float:
        return self._clock.random()

    def sleep(self, seconds: float) -> None:
        self.waited_s += seconds
        self._clock.sleep(seconds)


def tell(base_url: str, *, clock: Clock, transport: httpx.BaseTransport | None = None) -> None:
    """List all jobs of the API at `base_url`, and print them and what happened."""
    witness = _Witness(clock)
    jobs: list[NewestJob] = []
    begun = clock.monotonic()
    with (
        httpx.Client(transport=transport) as rival,
        httpx.Client(
            transport=transport, event_hooks={"response": [witness.responded]}
        ) as http_client,
        Client(
            API_KEY, revision=NEWEST, base_url=base_url, http_client=http_client, clock=witness
        ) as client,
    ):
        for number, page in enumerate(client.iter_pages(), 1):
            jobs += page.jobs
            print(f"page {number}: {len(page.jobs)} jobs{witness.told()}")
            if not witness.answers[429] and page.next_cursor:
                spent = _use_up_quota(rival, base_url + NEWEST.path)
                print(f"  another program of the same account sends {spent} requests in a burst")
    print(f"\nThe newest {_NEWEST_SHOWN} of {len(jobs)} jobs:\n")
    print(_newest(jobs))
    print(_by_status(jobs))
    print(
        f"{witness.answers[200]} pages, {witness.answers.total()} requests, "
        f"{witness.answers[429]} of them answered 429; "
        f"waited {witness.waited_s:.1f} s of {clock.monotonic() - begun:.1f} s"
    )


def _use_up_quota(http: httpx.Client, url: str) -> int:
    """Send requests until the burst window is full, as a client without a limiter would."""
    headers = {"authorization": f"Klaviyo-API-Key {API_KEY}", "revision": NEWEST.date}
    sent = 1
    # Bounded: on a slow machine the window may never be full.
    while http.get(url, headers=headers).status_code != 429 and sent < 3 * NEWEST.burst:
        sent += 1
    return sent


def _newest(jobs: list[NewestJob]) -> str:
    columns = job_layout(NEWEST, ()).columns
    text, _ = render(columns, [[c.cell(job) for c in columns] for job in jobs[:_NEWEST_SHOWN]])
    return text


def _by_status(jobs: list[NewestJob]) -> str:
    columns = SUMMARY_LAYOUT.columns
    rows = summary_of(jobs, NEWEST.statuses)
    return render(columns, [[column.cell(row) for column in columns] for row in rows])[0]


def main() -> None:
    sandbox = Sandbox(jobs=JOBS, jobs_per_page=JOBS_PER_PAGE)
    with sandbox.serve() as server:
        print(f"A fake API with {JOBS} jobs answers at {server.base_url}\n")
        tell(server.base_url, clock=SYSTEM_CLOCK)


if __name__ == "__main__":
    main()
