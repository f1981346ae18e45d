"""``/v1/publications``: what release managers and roster holders send.

What is sent is signed by people, so there is no login: nobody can store what the delegation chain
did not sign.
"""

from __future__ import annotations

from flask import Blueprint, request
from werkzeug.exceptions import LengthRequired, RequestEntityTooLarge
from werkzeug.wrappers import Response

from interlock_core.api import MAX_BODY
from interlock_core.errors import NotFoundError
from interlock_core.names import check_name
from interlock_server.publications import Publications
from interlock_server.web.bodies import answer, is_digest, number, read_json


def blueprint(publications: Publications, *, largest_target_bytes: int) -> Blueprint:
    """The calls of ``docs/interfaces.md``."""
    routes = Blueprint("publications", __name__, url_prefix="/v1/publications")

    @routes.url_value_preprocessor
    def check_ids(_endpoint: str | None, values: dict[str, str] | None) -> None:
        for value in (values or {}).values():
            if not is_digest(value):
                raise NotFoundError(
                    f"{value[:80]!r} is not the id of anything here: ids are SHA-256 in lower-case "
                    "hexadecimal."
                )

    @routes.post("")
    def post() -> Response:
        return answer(publications.post(read_json(MAX_BODY)), 201)

    @routes.get("")
    def list_newest() -> Response:
        role = request.args.get("role")
        version = number("version") if "version" in request.args else None
        return answer(
            publications.newest(check_name(role, "role") if role is not None else None, version)
        )

    @routes.get("/<id_>")
    def get(id_: str) -> Response:
        return answer(publications.get(id_))

    @routes.put("/<id_>/targets/<sha256>")
    def put_target(id_: str, sha256: str) -> Response:
        length = request.content_length
        if length is None:
            raise LengthRequired("Announce the length of the target with Content-Length.")
        if length > largest_target_bytes:
            raise RequestEntityTooLarge(
                f"This server takes targets of at most {largest_target_bytes} bytes."
            )
        # One more: werkzeug's stream objects when its end is asked for at exactly its limit.
        request.max_content_length = length + 1
        publications.put_target(id_, sha256, request.stream, length)
        return Response(status=204)

    @routes.post("/<id_>/commit")
    def commit(id_: str) -> Response:
        return answer(publications.commit(id_))

    return routes
