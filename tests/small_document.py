"""A small OpenAPI document of this operation, spelled the way the owner spells: 3.0, with names."""

from __future__ import annotations

from typing import Any

PATH = "/api/catalog-variant-bulk-create-jobs"
MEDIA_TYPE = "application/vnd.api+json"


def small_document() -> dict[str, Any]:
    """A fresh copy to edit."""
    return {
        "openapi": "3.0.2",
        "info": {"title": "Small", "version": "2030-01-15"},
        "servers": [{"url": "https://a.klaviyo.com"}],
        "security": [{"Key": []}],
        "paths": {PATH: {"get": _operation()}},
        "components": {
            "securitySchemes": {"Key": {"type": "apiKey", "in": "header", "name": "Authorization"}},
            "responses": {"Refused": _content({"$ref": "#/components/schemas/Errors"})},
            "schemas": _schemas(),
        },
    }


def _operation() -> dict[str, Any]:
    return {
        "operationId": "get_create_variants_jobs",
        "summary": "Jobs",
        "description": "Burst: `75/s`, steady: `750/m`, scope `catalogs:read`.",
        "parameters": [
            {
                "name": "fields[catalog-variant-bulk-create-job]",
                "in": "query",
                "explode": False,
                "schema": {
                    "type": "array",
                    "items": {"type": "string", "enum": ["status", "total_count"]},
                },
            },
            {"name": "filter", "in": "query", "schema": {"type": "string"}},
            {"name": "page[cursor]", "in": "query", "schema": {"type": "string"}},
            {
                "name": "revision",
                "in": "header",
                "required": True,
                "schema": {"type": "string", "default": "2030-01-15"},
            },
        ],
        "responses": {
            "200": _content({"$ref": "#/components/schemas/Collection"}),
            "4XX": {"$ref": "#/components/responses/Refused"},
        },
        "x-klaviyo-filters": {
            "status": {
                "operators": {"single": ["equals"]},
                "value": {"type": "string", "enum": ["queued", "complete"]},
            }
        },
        "x-klaviyo-operation-aliases": ["get_bulk_create_variants_jobs"],
        "x-klaviyo-ratelimit": {"burst": "75/s", "steady": "750/m"},
        "x-klaviyo-scopes": ["catalogs:read"],
    }


def _content(schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": "An answer", "content": {MEDIA_TYPE: {"schema": schema}}}


def _schemas() -> dict[str, Any]:
    text = {"type": "string"}
    return {
        "Collection": {
            "type": "object",
            "required": ["data", "links"],
            "properties": {
                "data": {"type": "array", "items": {"$ref": "#/components/schemas/Resource"}},
                "links": {"$ref": "#/components/schemas/Links"},
            },
        },
        "Resource": {
            "type": "object",
            "required": ["id", "attributes"],
            "properties": {
                "id": text,
                "attributes": {"$ref": "#/components/schemas/Attributes"},
            },
        },
        "Attributes": {
            "type": "object",
            "required": ["status"],
            "properties": {
                "status": {
                    "type": "string",
                    "enum": ["queued", "complete"],
                    "description": "How far it is.",
                },
                "total_count": {"type": "integer"},
                "created_at": {"type": "string", "format": "date-time"},
                "completed_at": {"type": "string", "format": "date-time", "nullable": True},
            },
        },
        "Links": {
            "type": "object",
            "properties": {
                "self": {"type": "string", "format": "uri"},
                "next": {"type": "string", "format": "uri"},
            },
        },
        "Errors": {
            "type": "object",
            "properties": {
                "errors": {
                    "type": "array",
                    "items": {"type": "object", "properties": {"code": text}},
                }
            },
        },
    }
