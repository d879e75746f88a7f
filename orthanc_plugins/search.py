"""The override of /tools/find: the one place through which every DICOMweb read passes.

The DICOMweb plugin looks up each resource by /tools/find, with its client's headers. Here the
search is narrowed to the tenant: studies and series by label, which the database does; instances
by the owner of their study. The built-in answer is passed on byte for byte.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_plus

from gateway.identity import Principal
from gateway.tenancy import label_of
from orthanc_plugins.sdk import RestOutput

type Find = dict[str, Any]

_UID = re.compile(r"[0-9.]{1,64}", re.ASCII)
_NOTHING = b"[]"
_STUDY, _SERIES, _INSTANCE = "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"
_TAGS = {
    "0020000d": _STUDY,
    "0020000e": _SERIES,
    "00080018": _INSTANCE,
}


@dataclass(frozen=True)
class Searcher:
    """Searches of one tenant, over `run` (the built-in /tools/find) and `owner_of` (a study)."""

    run: Callable[[str], bytes]
    owner_of: Callable[[str], str | None]

    def find(self, request: Find, tenant_id: str) -> bytes:
        """The JSON answer to `request` as far as it is the tenant's."""
        level = str(request.get("Level", "")).capitalize()
        query = request.get("Query")
        if not isinstance(query, dict):
            return _NOTHING
        study = exact_uid(query, _STUDY)
        if study is not None and self.owner_of(study) != tenant_id:
            return _NOTHING
        if level not in ("Study", "Series", "Instance"):
            # A patient may be known to several tenants: there is no patient of one's own.
            return _NOTHING
        if study is not None:
            # The owner is certain; the label would cost a look at all of the tenant's studies.
            return self.run(json.dumps(without_labels(request)))
        if level != "Instance":
            return self.run(json.dumps(labelled(request, tenant_id)))
        studies = self._studies_of(query, tenant_id)
        return json.dumps(self._of_studies(without_labels(request), studies)).encode()

    def _studies_of(self, query: Mapping[str, Any], tenant_id: str) -> Iterable[str]:
        """Orthanc ids of the tenant's studies in which instances of `query` can be."""
        for level, key in (("Instance", _INSTANCE), ("Series", _SERIES)):
            uid = exact_uid(query, key)
            if uid is not None:
                return self._studies_with(level, key, uid, tenant_id)
        found: list[str] = self._json(labelled({"Level": "Study", "Query": {}}, tenant_id))
        return found

    def _studies_with(self, level: str, key: str, uid: str, tenant_id: str) -> list[str]:
        holders = self._json(
            {
                "Level": level,
                "Query": {key: uid},
                "ResponseContent": ["RequestedTags"],
                "RequestedTags": [_STUDY],
            }
        )
        uids = {holder.get("RequestedTags", {}).get(_STUDY, "") for holder in holders}
        owned = sorted(study for study in uids if self.owner_of(study) == tenant_id)
        return [
            found
            for study in owned
            for found in self._json({"Level": "Study", "Query": {_STUDY: study}})
        ]

    def _of_studies(self, request: Find, studies: Iterable[str]) -> list[Any]:
        """The answers of `request` over several studies, with its Since and Limit."""
        since, limit = int(request.pop("Since", 0)), int(request.pop("Limit", 0))
        wanted = since + limit if limit else None
        found: list[Any] = []
        for study in studies:
            step = dict(request, ParentStudy=study)
            if wanted is not None:
                step["Limit"] = wanted - len(found)
            found += self._json(step)
            if wanted is not None and len(found) >= wanted:
                break
        return found[since:wanted]

    def _json(self, request: Find) -> list[Any]:
        answer: list[Any] = json.loads(self.run(json.dumps(request)))
        return answer


def labelled(request: Find, tenant_id: str) -> Find:
    """The request for what carries the tenant's label, whatever labels it asked for."""
    return dict(request, Labels=[label_of(tenant_id)], LabelsConstraint="All")


def without_labels(request: Find) -> Find:
    """The request without its labels: instances carry none."""
    return {k: v for k, v in request.items() if k not in ("Labels", "LabelsConstraint")}


def exact_uid(query: Mapping[str, Any], keyword: str) -> str | None:
    """The one UID that the query asks for by this keyword, or None: several, a pattern, none.

    A key may be written in several ways (`0020,000D`); two different values are no exact one.
    """
    values = {value for name, value in query.items() if _keyword(name) == keyword}
    if len(values) != 1:
        return None
    value = values.pop()
    return value if isinstance(value, str) and _UID.fullmatch(value) else None


def _keyword(name: str) -> str:
    return _TAGS.get(name.replace(",", "").lower(), name)


def decoded(request: Find) -> Find:
    """The request with the percent-encoding taken from its values, as this build leaves it in."""
    query = request.get("Query")
    if not isinstance(query, dict):
        return request
    return dict(
        request,
        Query={k: unquote_plus(v) if isinstance(v, str) else v for k, v in query.items()},
    )


class FindOverride:
    """The REST callback on /tools/find."""

    def __init__(
        self,
        searcher: Searcher,
        principal_of: Callable[[Mapping[str, str]], Principal | None],
        from_dicomweb: Callable[[], bool],
    ) -> None:
        self._searcher = searcher
        self._principal_of = principal_of
        self._from_dicomweb = from_dicomweb
        self.decodes = True

    def __call__(
        self,
        output: RestOutput,
        _uri: str,
        method: str,
        headers: Mapping[str, str],
        body: bytes = b"",
        **_: Any,
    ) -> None:
        """Answer one search; nobody gets an empty list, never an error that tells something."""
        if method != "POST":
            output.SendMethodNotAllowed("POST")
            return
        principal = self._principal_of(headers)
        if principal is None:
            output.AnswerBuffer(_NOTHING, "application/json")
            return
        request = json.loads(body)
        if self.decodes and self._from_dicomweb():
            request = decoded(request)
        if principal.tenant_id is None:
            answer = self._searcher.run(json.dumps(request))
        else:
            answer = self._searcher.find(request, principal.tenant_id)
        output.AnswerBuffer(answer, "application/json")
