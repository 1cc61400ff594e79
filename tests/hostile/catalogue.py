"""Every fault of the hostile tests in one place, for those who draw from all of them at random.

None changes which jobs a page has, so that what a client received can be compared with what the
server has, whatever was drawn.
"""

from __future__ import annotations

import json
from typing import Any

from hostile import test_bodies, test_connections, test_links, test_payloads, test_statuses
from hostile.fault_server import (
    PATH,
    End,
    Fault,
    FaultServer,
    Honest,
    Reply,
    always,
    chunked,
    gzipped,
    honest,
    reply,
    unframed,
)


def dripping(answer: Honest) -> Reply:
    return Reply(chunked(answer.body, size=400), pause_s=0.001)


def odd_values(answer: Honest) -> Reply:
    """Values that no schema has, in every job."""
    odd: dict[str, Any] = {
        "status": "paused",
        "total_count": "many",
        "created_at": {},
        "errors": test_payloads.PARTIAL["some"],
        "news": [1],
    }
    data = [entry | {"attributes": odd, "links": 5} for entry in answer.document.get("data", [])]
    return reply(200, answer.but(data=data)) if data else answer.reply


def bare_jobs(answer: Honest) -> Reply:
    """Jobs of an identifier and nothing else."""
    data = [{"id": entry["id"]} for entry in answer.document.get("data", [])]
    return reply(200, answer.but(data=data)) if data else answer.reply


HARMLESS: dict[str, Fault] = {
    "honest": honest,
    "gzip": lambda answer: gzipped(answer.body),
    "chunks": lambda answer: Reply(chunked(answer.body)),
    "no length": lambda answer: unframed(answer, answer.body),
    "closed afterwards": lambda answer: Reply(answer.reply.pieces, End.CLOSE),
    "reset afterwards": lambda answer: Reply(answer.reply.pieces, End.RESET),
    "dripping": dripping,
    "odd values": odd_values,
    "bare jobs": bare_jobs,
    **{
        f"limits {limit[:20]!r}": test_statuses.limits(limit, "0", "0")
        for limit in ("75, 75;w=1, 750;w=60", "0, 0;w=0, 0;w=1", "9" * 400, ";;;,,,===", "nan")
    },
}
"""What an honest server may do as well."""

STATUSES: dict[str, Fault] = {
    **{
        f"{status} {kind}": always(status, body, content_type="text/html")
        for status in (204, 302, 400, 401, 403, 404, 410, 418, 500, 502, 503, 520, 524, 599)
        for kind, body in (("HTML", test_statuses.HTML), ("nothing", ""))
    },
    **{f"400 {name}": always(400, body) for name, body in test_statuses.ERROR_DOCUMENTS.items()},
    **{
        f"{status} after {after!r}": test_statuses.throttled(after, status)
        for status in (429, 503)
        for after in (None, "0", "1", "0.6", "-5", "soon", "86400", "Fri, 31 Dec 9999 23:59:59 GMT")
    },
}

SLOW: dict[str, Fault] = {
    **{f"silence {where}": fault for where, fault in test_connections.SILENT.items()},
    "a gzip bomb": always(200, test_bodies.bomb(200), test_bodies.GZIP),
    "a gzip bomb with 503": always(503, test_bodies.bomb(200), test_bodies.GZIP),
    "endless headers": test_connections.BROKEN["endless headers"],
    "a deep nest": test_bodies.NO_PAGES["a deep nest"],
    "over 16 MiB": always(200, b" " * (16 * 2**20 + 1)),
}
"""What takes a client a tenth of a second and more."""

FAST: dict[str, Fault] = {
    **HARMLESS,
    **STATUSES,
    **{name: fault for name, fault in test_connections.BROKEN.items() if name not in SLOW},
    **test_bodies.PASSING,
    **test_bodies.CUT,
    **{name: fault for name, fault in test_bodies.NO_PAGES.items() if name not in SLOW},
    **{
        f"links {links!r}": test_links.with_links(links)
        for links in ([], "x", 5, False, [{"next": "x"}])
    },
}


def leading_away(here: FaultServer, elsewhere: FaultServer) -> dict[str, Fault]:
    """Links and redirects that lead astray, most of them to another host."""
    return {
        **{
            f"link with {name}": test_links.leading_by(make, here, elsewhere)
            for name, make in test_links.REWRITTEN.items()
        },
        **{
            f"link with {name}": test_links.with_links({"next": make(here)})
            for name, make in test_links.UNUSABLE.items()
        },
        **{
            f"redirect {status}": always(status, headers={"Location": elsewhere.link("next")})
            for status in (301, 302, 307, 308)
        },
        "link in an error": always(
            400, json.dumps({"errors": [], "links": {"next": elsewhere.url + PATH}})
        ),
    }
