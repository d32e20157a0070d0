"""Why an item is in an answer, and why not: the verdict on one item of one trace."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from service.auction.listing import DISPLACED
from service.cascade.candidates import Candidates
from service.cascade.query import ItemId
from service.engine import Engine
from service.errors import CallerError, NotFound
from service.explain.counterfactual import counterfactual
from service.explain.facts import Facts, number, weights_fields
from service.explain.funnel import FILTERED, RETURNED
from service.explain.reach import Reach, reaches
from service.explain.replay import Replay
from service.explain.sale import Sale
from service.explain.trace import AnswerTrace
from service.explain.weights import PARTS, ranker_weights
from service.starvation import rule_masks


class Verdict(StrEnum):
    """What became of an item."""

    RETURNED = "returned"
    CUT = "cut"
    FILTERED = "filtered"
    NOT_RETRIEVED = "not_retrieved"


def why(
    trace: AnswerTrace, engine: Engine, item_id: str, counterfactual_s: float | None = None
) -> dict[str, Any]:
    """The body of `service.api.why_schemas.WhyOut`; up to so many seconds are spent on re-runs.

    Raises:
        NotFound: neither the catalogue nor the trace knows the item.
    """
    case = _Case.of(trace, engine, item_id)
    body: dict[str, Any] = {
        "request_id": trace.request_id,
        "item_id": item_id,
        "title": case.title,
        "cascade": trace.request.kind,
        "placement": trace.request.placement,
        "answered_at": trace.now_ms,
        "bundle_version": trace.bundle_version,
        "bundle_in_use": engine.bundle.version == trace.bundle_version,
        "replayed": None if case.replay is None else case.replay.is_exact,
        "degraded": list(trace.degraded),
        "rank": None,
    }
    untold: dict[str, str] = {}
    body |= case.judged(untold)
    if trace.sale is not None:
        body |= _after_sale(trace.sale, trace, case.item_id, body)
    if counterfactual_s is not None:
        body |= case.counterfactual(body, counterfactual_s, untold)
    return body | {"untold": untold}


@dataclass(frozen=True, slots=True)
class _Case:
    """One item beside one trace: `at` its place among the candidates (None = it is none of them), `row` its
    row in the catalogue in use (-1 = it is not there), `replay` None and `blocked` saying why where the
    answer cannot be made again."""

    trace: AnswerTrace
    engine: Engine
    item_id: ItemId
    at: int | None
    row: int
    replay: Replay | None
    blocked: str

    @classmethod
    def of(cls, trace: AnswerTrace, engine: Engine, item_id: str) -> _Case:
        item = ItemId(item_id)
        at, row = trace.position(item_id), int(engine.catalogue.rows_of([item])[0])
        if at is None and (row < 0 or engine.catalogue.is_deleted(row)):
            raise NotFound("item", item_id)
        try:
            replay = Replay.of(trace, engine)
            _ = replay.query
        except ValueError:
            blocked = f"bundle {trace.bundle_version} answered, {engine.bundle.version} is in use now"
            return cls(trace, engine, item, at, row, None, blocked)
        except (CallerError, NotFound) as error:
            return cls(trace, engine, item, at, row, None, f"the call cannot be made again: {error}")
        return cls(trace, engine, item, at, row, replay, "")

    @property
    def title(self) -> str | None:
        record: Mapping[str, Any] = (self.row >= 0 and self.engine.catalogue.record_of(self.row)) or {}
        title = record.get("title")
        return None if title is None else str(title)

    def judged(self, untold: dict[str, str]) -> dict[str, Any]:
        """The verdict and what belongs to it."""
        if self.at is None:
            return self._unproposed(untold)
        funnel = self.trace.funnel
        facts = Facts(funnel, self.trace.interests).of(self.at)
        told = {"explain": facts | self._weights(self.at, untold)}
        stage, reason = funnel.ends[funnel.end[self.at]]
        if stage == RETURNED:
            rank = self.trace.offset + int(funnel.end_place[self.at]) + 1
            sources = ", ".join(one["source"] for one in facts["sources"])
            summary = f"Returned at rank {rank}; proposed by {sources or 'no source'}."
            return told | {"verdict": Verdict.RETURNED, "summary": summary, "rank": rank}
        if stage == FILTERED:
            return told | self._filtered([reason], before_retrieval=False)
        return told | self._cut(self.at, stage, reason)

    def counterfactual(
        self, body: Mapping[str, Any], budget_s: float, untold: dict[str, str]
    ) -> dict[str, Any]:
        """What removing events of the user does."""
        if body["verdict"] is not Verdict.RETURNED:
            untold["counterfactual"] = "the item is not in the list, so no event put it there"
        elif self.replay is None:
            untold["counterfactual"] = self.blocked
        else:
            return {"counterfactual": asdict(counterfactual(self.replay, self.item_id, budget_s))}
        return {}

    def _weights(self, at: int, untold: dict[str, str]) -> dict[str, Any]:
        if self.replay is None or self.row < 0:
            untold |= dict.fromkeys(PARTS, self.blocked or "the item is no longer in the catalogue")
            return {}
        columns = {name: column[at : at + 1] for name, column in self.trace.funnel.columns.items()}
        row = np.array([self.row], np.int32)
        replay = self.replay
        found = ranker_weights(replay.engine, replay.cascade.know(replay.query), row, columns)
        if isinstance(found, str):
            untold |= dict.fromkeys(PARTS, found)
            return {}
        return {} if found[0] is None else weights_fields(found[0])

    def _filtered(self, reasons: list[str], *, before_retrieval: bool) -> dict[str, Any]:
        rules = self._rules()
        named = ", ".join(rules) if rules else reasons[0]
        summary = f"Ruled out by {reasons[0]}" + (f" ({named})." if named != reasons[0] else ".")
        return {
            "verdict": Verdict.FILTERED,
            "summary": summary,
            "filtered": {"by": reasons, "rules": rules, "before_retrieval": before_retrieval},
        }

    def _rules(self) -> list[str]:
        """The rules and parts of rules that the item does not pass, by their paths in the call."""
        if self.replay is None or self.row < 0:
            return []
        masks = rule_masks(self.trace.request, self.replay.query, self.replay.catalogue)
        return [name for name, mask in masks if not mask[self.row]]

    def _cut(self, at: int, stage: str, reason: str) -> dict[str, Any]:
        funnel = self.trace.funnel
        cut: dict[str, Any] = {"stage": stage, "reason": reason, "place": None, "kept": None}
        words = f"Cut by {stage}" + ("" if reason == "cut" else f" ({reason})")
        if stage in [step.name for step in funnel.steps]:
            kept = np.flatnonzero(funnel.kept(stage))
            cut |= {"place": len(kept) + int(funnel.end_place[at]) + 1, "kept": len(kept)}
            words += f" at place {cut['place']}, which kept {len(kept)}"
            cut |= (margin := self._margin(at, kept, funnel.by(stage)))
            if margin:
                words += f": its {margin['by']} is {_short(margin['score'])}, the least that was kept "
                words += f"{_short(margin['last_kept']['score'])}"
        return {"verdict": Verdict.CUT, "summary": f"{words}.", "cut": cut}

    def _margin(self, at: int, kept: Any, by: str | None) -> dict[str, Any]:
        """The item's score beside the least that stayed; nothing where the stage went by places alone."""
        column = None if by is None else self.trace.funnel.columns.get(by)
        if column is None or not np.isfinite(column[at]) or not np.isfinite(column[kept]).any():
            return {}
        last = int(kept[np.nanargmin(column[kept])])
        return {
            "by": by,
            "score": number(column[at]),
            "last_kept": {"item_id": self.trace.item_ids[last], "score": number(column[last])},
            "margin": number(column[at] - column[last]),
            "passed_over": bool(column[at] > column[last]),
        }

    def _unproposed(self, untold: dict[str, str]) -> dict[str, Any]:
        """An item that no source proposed: a filter would have ruled it out anyway, or it was not near."""
        told = {"verdict": Verdict.NOT_RETRIEVED, "summary": "No source proposed it."}
        if self.replay is None:
            untold["retrieval"] = self.blocked
            return told
        if reasons := self._ruled_out(self.replay):
            return self._filtered(reasons, before_retrieval=True)
        if self.engine.catalogue.created[self.row] > self.trace.now_ms:
            return told | {"summary": "No source proposed it: it is newer than the answer."}
        found = reaches(self.replay, self.row)
        return told | {"summary": _nearest(found), "retrieval": [asdict(one) for one in found]}

    def _ruled_out(self, replay: Replay) -> list[str]:
        """The filters that do not let the item through."""
        alone = Candidates.of(np.array([self.row], np.int32), sources=np.zeros(1, np.int32))
        asked = [one for one in replay.cascade.filters if one.applies(replay.query)]
        return [one.name for one in asked if not one.keep(replay.query, alone)[0]]


def _after_sale(sale: Sale, trace: AnswerTrace, item_id: ItemId, body: Mapping[str, Any]) -> dict[str, Any]:
    """What the auction, which comes after the list, made of the verdict."""
    told: dict[str, Any] = {}
    ad = sale.of(item_id)
    listed = list(sale.listed)
    rank = trace.offset + listed.index(item_id) + 1 if item_id in listed else None
    if item_id in sale.sold:
        words = f"Sold to {sale.sold[item_id]} and returned at rank {rank}. Without the auction: "
        told |= {"verdict": Verdict.RETURNED, "rank": rank}
        told["summary"] = words + body["summary"][0].lower() + body["summary"][1:]
    elif body["verdict"] is Verdict.RETURNED and rank is None:
        words = f"It was at rank {body['rank']} of the list and made way for ads."
        cut = {"stage": DISPLACED, "reason": "cut", "place": body["rank"], "kept": len(listed)}
        told |= {"verdict": Verdict.CUT, "rank": None, "summary": words, "cut": cut}
    elif rank is not None:
        told |= {"rank": rank, "summary": f"{body['summary']} With ads it is at rank {rank}."}
    if ad is not None:
        told["ad"] = ad
        if item_id not in sale.sold:
            told["summary"] = told.get("summary", body["summary"]) + f" As an ad: {_lost(ad)}."
    return told


def _lost(ad: Mapping[str, Any]) -> str:
    """What stopped an ad, and who had the slots."""
    bid, winners = ad["bid"], [one["item_id"] for one in ad["winners"]]
    words = str(ad["ended"] or "not sold")
    if bid is not None:
        words += f", its bid of {bid['bid_micros']} would have had to be {bid['to_win_micros']}"
    return words + (f"; the slots went to {', '.join(winners)}" if winners else "")


def _nearest(found: list[Reach]) -> str:
    """The source that the item came nearest to, by its rank beside what the source took."""
    ranked = [one for one in found if one.rank is not None and one.taken]
    if not ranked:
        return "No source proposed it, and it is in none of their lists."
    best = min(ranked, key=lambda one: (one.rank or 0) / one.taken)
    return (
        f"No source proposed it. Nearest was {best.source}: rank {best.rank} where {best.taken} were taken, "
        f"score {_short(best.score)} where the worst taken had {_short(best.worst_taken)}."
    )


def _short(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4g}"
