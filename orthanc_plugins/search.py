"""The override of /tools/find: the one place through which every DICOMweb read passes.

The DICOMweb plugin looks up each resource by /tools/find, with its client's headers. Here the
search is narrowed to the tenant: studies and series by label, which the database does; instances
by the owner of their study. The built-in answer is passed on byte for byte, unless something is
shared with the tenant: then that comes first, looked for by its StudyInstanceUIDs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import unquote_plus
from uuid import uuid4

from gateway import access
from gateway.identity import Principal
from gateway.tenancy import label_of
from orthanc_plugins.sdk import RestOutput

type Find = dict[str, Any]

_UID = re.compile(r"[0-9.]{1,64}", re.ASCII)
_NOTHING = b"[]"
_LEVELS = ("Study", "Series", "Instance")
_STUDY, _SERIES, _INSTANCE = "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"
_TAGS = {
    "0020000d": _STUDY,
    "0020000e": _SERIES,
    "00080018": _INSTANCE,
}


class Grants(Protocol):
    """Which studies of others a tenant may read at this moment."""

    def studies(self, tenant_id: str) -> Sequence[str]: ...
    def allow(self, tenant_id: str, study_uid: str) -> bool:
        """Asked for each study that a search names and that is not the tenant's own."""
        raise NotImplementedError


class NoGrants:
    """Nothing is shared with anybody."""

    def studies(self, _tenant_id: str) -> Sequence[str]:
        return ()

    def allow(self, _tenant_id: str, _study_uid: str) -> bool:
        return False


NO_GRANTS = NoGrants()


@dataclass(frozen=True)
class Searcher:
    """Searches of one tenant, over `run` (the built-in /tools/find) and `owner_of` (a study)."""

    run: Callable[[str], bytes]
    owner_of: Callable[[str], str | None]
    look_up: Callable[[str], object] = lambda _study: None
    grants: Grants = NO_GRANTS
    # To find costs more than not to find, so whoever is refused waits for one of each: a UID that
    # nobody can know, and by keyword one that was found and was not the asking tenant's.
    absent: str = field(default_factory=lambda: f"2.25.{uuid4().int}")
    present: dict[str, str] = field(default_factory=dict)

    def find(
        self, request: Find, tenant_id: str, refused: Callable[[], object] = lambda: None
    ) -> bytes:
        """The JSON answer to `request` as far as it is the tenant's.

        `refused` is called when it names a study or an instance of which nothing is.
        """
        level = str(request.get("Level", "")).capitalize()
        query = request.get("Query")
        if not isinstance(query, dict):
            return _NOTHING
        query = without_universal(query)
        if query is None:
            return _NOTHING
        request = dict(request, Query=query)
        study = exact_uid(query, _STUDY)
        if study is not None and (owner := self.owner_of(study)) != tenant_id:
            shared = self.grants.allow(tenant_id, study)
            if not shared:
                if owner is not None:
                    # An unknown study costs a look into the database: as long must this take.
                    self.look_up(self.absent)
                refused()
                return _NOTHING
        if level not in _LEVELS:
            # A patient may be known to several tenants: there is no patient of one's own.
            return _NOTHING
        if study is not None:
            # The owner is certain; the label would cost a look at all of the tenant's studies.
            return self.run(json.dumps(without_labels(request)))
        if level != "Instance":
            return self._listed(request, tenant_id)
        studies = self._studies_of(query, tenant_id)
        if not studies:
            refused()
        return json.dumps(self._of_studies(without_labels(request), studies)).encode()

    def find_in(
        self, request: Find, study_uid: str, refused: Callable[[], object] = lambda: None
    ) -> bytes:
        """The JSON answer to `request` within one study, whatever it asks for."""
        query = request.get("Query")
        query = without_universal(query) if isinstance(query, dict) else None
        level = str(request.get("Level", "")).capitalize()
        if query is None or level not in _LEVELS:
            return _NOTHING
        narrowed = of_studies(query, [study_uid])
        if narrowed is None:
            refused()
            return _NOTHING
        return self.run(json.dumps(dict(without_labels(request), Query=narrowed)))

    def _listed(self, request: Find, tenant_id: str) -> bytes:
        """Studies or series by any attributes: what is shared with the tenant, then its own."""
        own = labelled(request, tenant_id)
        shared = self._shared(request, tenant_id)
        if not shared:
            return self.run(json.dumps(own))
        since, limit = int(request.get("Since", 0)), int(request.get("Limit", 0))
        page = shared[since : since + limit if limit else None]
        if limit and len(page) == limit:
            return json.dumps(page).encode()
        own |= {"Since": max(0, since - len(shared)), "Limit": limit - len(page) if limit else 0}
        return json.dumps(page + self._json(own)).encode()

    def _shared(self, request: Find, tenant_id: str) -> list[Any]:
        """The answers of `request` over all studies that are shared with the tenant."""
        studies = self.grants.studies(tenant_id)
        if not studies:
            return []
        narrowed = of_studies(request["Query"], studies)
        if narrowed is None:
            return []
        whole = {k: v for k, v in request.items() if k not in ("Since", "Limit")}
        return self._json(dict(without_labels(whole), Query=narrowed))

    def _studies_of(self, query: Mapping[str, Any], tenant_id: str) -> Sequence[str]:
        """Orthanc ids of the tenant's studies in which instances of `query` can be."""
        for level, key in (("Instance", _INSTANCE), ("Series", _SERIES)):
            uid = exact_uid(query, key)
            if uid is not None:
                return self._studies_with(level, key, uid, tenant_id)
        every: Find = {"Level": "Study", "Query": {}}
        found: list[str] = self._shared(every, tenant_id)
        return found + self._json(labelled(every, tenant_id))

    def _studies_with(self, level: str, key: str, uid: str, tenant_id: str) -> list[str]:
        uids = self._holders(level, key, uid)
        owned = sorted(
            study
            for study in uids
            if self.owner_of(study) == tenant_id or self.grants.allow(tenant_id, study)
        )
        if not owned:
            self._holders(level, key, self.absent if uids else self.present.get(key, self.absent))
            if uids:
                self.present[key] = uid
        return [
            found
            for study in owned
            for found in self._json({"Level": "Study", "Query": {_STUDY: study}})
        ]

    def _holders(self, level: str, key: str, uid: str) -> set[str]:
        """The studies in which something has this UID, whosever they are."""
        holders = self._json(
            {
                "Level": level,
                "Query": {key: uid},
                "ResponseContent": ["RequestedTags"],
                "RequestedTags": [_STUDY],
            }
        )
        return {holder.get("RequestedTags", {}).get(_STUDY, "") for holder in holders}

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


def of_studies(query: Mapping[str, Any], studies: Iterable[str]) -> Find | None:
    """The query within these studies; None when it names others alone.

    Several UIDs are separated by a backslash (PS3.4 C.2.2.2.2).
    """
    wanted = set(studies)
    for name, value in query.items():
        if _keyword(name) == _STUDY and value:
            wanted &= set(str(value).split("\\"))
    if not wanted:
        return None
    rest = {name: value for name, value in query.items() if _keyword(name) != _STUDY}
    return rest | {_STUDY: "\\".join(sorted(wanted))}


def without_universal(query: Mapping[str, Any]) -> Find | None:
    """The query without UIDs that may be any (`*`); None when a UID is a pattern, which none is.

    PS3.4 C.2.2.2.4 gives UIDs no wildcards; Orthanc fails on one.
    """
    kept = {}
    for name, value in query.items():
        if isinstance(value, str) and _keyword(name) in _TAGS.values():
            if value and not value.strip("*"):
                continue
            if "*" in value or "?" in value:
                return None
        kept[name] = value
    return kept


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
        noted: Callable[[Principal, Find, bool], object] = lambda _who, _query, _refused: None,
        visitor_of: Callable[[Mapping[str, str]], Principal | None] = lambda _headers: None,
    ) -> None:
        self._searcher = searcher
        self._principal_of = principal_of
        self._from_dicomweb = from_dicomweb
        self._noted = noted
        self._visitor_of = visitor_of
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
        request, refused = json.loads(body), list[bool]()
        from_dicomweb = self._from_dicomweb()
        if self.decodes and from_dicomweb:
            request = decoded(request)
        principal = self._asking(headers, request)
        if principal is None:
            output.AnswerBuffer(_NOTHING, "application/json")
            return
        answer = self._answer(principal, request, lambda: refused.append(True))
        if from_dicomweb:
            query = request.get("Query") or {}
            if principal.study_uid is not None and not refused:
                query = query | {_STUDY: principal.study_uid}
            self._noted(principal, query, bool(refused))
        output.AnswerBuffer(answer, "application/json")

    def _asking(self, headers: Mapping[str, str], request: Find) -> Principal | None:
        """Who asks: somebody signed in who also came by a link is its visitor for its study."""
        who = self._principal_of(headers)
        if who is None or who.study_uid is not None:
            return who
        visitor = self._visitor_of(headers)
        if visitor is None or exact_uid(request.get("Query") or {}, _STUDY) != visitor.study_uid:
            return who
        return visitor

    def _answer(self, who: Principal, request: Find, refused: Callable[[], object]) -> bytes:
        if who.study_uid is not None:
            return self._searcher.find_in(request, who.study_uid, refused)
        if who.tenant_id is not None:
            return self._searcher.find(request, who.tenant_id, refused)
        return self._searcher.run(json.dumps(request)) if access.is_system(who) else _NOTHING
