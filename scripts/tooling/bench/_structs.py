"""A page as msgspec Structs that accept only what `_pages` generates."""

from __future__ import annotations

from datetime import datetime

import msgspec


class Source(msgspec.Struct):
    pointer: str


class Error(msgspec.Struct):
    id: str
    code: str
    title: str
    detail: str
    source: Source


class Attributes(msgspec.Struct):
    status: str
    created_at: datetime
    total_count: int
    completed_count: int
    failed_count: int
    completed_at: datetime
    errors: list[Error]
    expires_at: datetime


class Reference(msgspec.Struct):
    type: str
    id: str


class RelationshipLinks(msgspec.Struct):
    self: str
    related: str


class Variants(msgspec.Struct):
    data: list[Reference]
    links: RelationshipLinks


class Relationships(msgspec.Struct):
    variants: Variants


class JobLinks(msgspec.Struct):
    self: str


class Job(msgspec.Struct):
    type: str
    id: str
    attributes: Attributes
    relationships: Relationships
    links: JobLinks


class PageLinks(msgspec.Struct):
    self: str
    prev: str | None
    next: str | None


class Page(msgspec.Struct):
    data: list[Job]
    links: PageLinks
