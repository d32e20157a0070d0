"""THE list of stages, in order. Start here: an answer is these lists, run from top to bottom by
`Cascade.run`.

Each cascade is: hydrators (the user, once) -> sources (candidates) -> filters (what may not be shown) ->
rounds (score all, keep some: to `plan.candidates`, to `plan.ranked`, to the page). `plan.depth` may end the
rounds earlier: after the pre-ranker, or after retrieval, whose order is then the answer's. Pure: nothing is
read from disk, nothing remembered.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil

from models.plan import ONLY_PRERANK, Plan
from ranking.preranker import PreRanker
from ranking.ranker import Ranker
from retrieval.user_tower import UserTower
from service.bundle import Bundle
from service.cascade.cascade import Cascade
from service.cascade.filters.available import Available
from service.cascade.filters.excluded import Excluded, OwnItems
from service.cascade.filters.muted import Muted
from service.cascade.filters.rule import Rule
from service.cascade.filters.seen import Seen, Shown
from service.cascade.hydrators.query_vector import QueryVector
from service.cascade.hydrators.user_factors import UserFactors
from service.cascade.hydrators.user_interests import UserInterests
from service.cascade.hydrators.user_vector import UserVector
from service.cascade.observe import Observer
from service.cascade.query import Kind
from service.cascade.round import Round
from service.cascade.scorers.boost import Boost
from service.cascade.scorers.calibrate import Calibrate
from service.cascade.scorers.cross import FactorProduct, Interest, Popularity, SimilarToRecent, Tower
from service.cascade.scorers.cut import Cut
from service.cascade.scorers.found import Fused, Suiting
from service.cascade.scorers.prerank import PreRank
from service.cascade.scorers.rank import Rank
from service.cascade.scorers.relevance import TERMS, Blend, Related
from service.cascade.selectors.best import AsTheyCame, Best
from service.cascade.selectors.capped import WithCaps
from service.cascade.selectors.diverse import Diverse
from service.cascade.selectors.exploring import WithFresh
from service.cascade.selectors.pinned import WithPinned
from service.cascade.selectors.propensity import Propensity
from service.cascade.selectors.roomy import WithRoom
from service.cascade.selectors.thompson import WithThompson
from service.cascade.sources.anchor import Nearby, TogetherWith
from service.cascade.sources.complements import Asking, GoesWith
from service.cascade.sources.dense import Dense
from service.cascade.sources.factors import FactorSearch
from service.cascade.sources.fresh import Fresh
from service.cascade.sources.interests import InterestSearch
from service.cascade.sources.lexical import Lexical
from service.cascade.sources.popular import Popular
from service.cascade.sources.similar import Personal, Similar
from service.cascade.sources.sponsored import Sponsored
from service.cascade.sources.trending import Trending, TrendsAt
from service.cascade.sources.wider import Wider
from service.cascade.stages import Filter, Hydrator, Scorer, Selector, Source
from service.catalogue import Catalogue
from service.errors import OperatorError
from service.tables import Gathered

SIMILAR_PERSONAL = 0.1
"""Weight of the user's own order in a list of related items; a perfect relation counts 1."""
ADS = 200
"""Ads that are proposed for the auction of a list, beside those that its own sources found."""
ADS_RANKED = 50
"""So many of them are ranked."""
WITHOUT_DUAL: Mapping[str, Mapping[str, float]] = {
    "similar": {"cosine": 1.0, "together": 1.0},
    "complementary": {"together": 1.0},
}
"""Weights of a bundle that has no dual vectors, whatever its plan says."""


def assemble(
    plan: Plan,
    bundle: Bundle,
    catalogue: Catalogue,
    observer: Observer,
    trends_at: TrendsAt | None = None,
) -> Mapping[Kind, Cascade]:
    """The cascades of every kind over one bundle and one snapshot of its catalogue.

    Without `trends_at` nothing trends.

    Raises:
        OperatorError: the plan has a quota for a source, or a weight of a relation, that does not exist.
    """
    parts = _Parts(plan, bundle, catalogue, observer, trends_at)
    return {
        Kind.RECOMMEND: recommend(parts),
        Kind.SEARCH: search(parts),
        Kind.SIMILAR: similar(parts),
        Kind.COMPLEMENTARY: complementary(parts),
        Kind.SPONSORED: sponsored(parts),
    }


def recommend(parts: _Parts) -> Cascade:
    """What suits this user now? The cheapest source comes first: it answers even when time is up.

    Without a ranker the score is 1 / (1 + place) in the order of the last step, times the boosts (our
    choice): scores of different sources do not compare, and a boost needs something positive.
    """
    plan = parts.plan
    retrieve = Round("retrieve", (), parts.with_room(AsTheyCame(), None), plan.candidates)
    by = "prerank" if plan.depth == "prerank" or plan.cut == ONLY_PRERANK else "cut"
    inner = parts.with_pinned(around(parts.fresh(by, turn=1), Best(by)), by)
    by_prerank = parts.with_room(inner, by)
    cut = () if by == "prerank" else (Cut(plan.cut),)
    early, late = parts.cross(plan.cut)
    steps = {
        "retrieve": (
            Round("retrieve", (Boost(),), parts.best_with_room("score"), min(plan.candidates, plan.ranked)),
        ),
        "prerank": (
            retrieve,
            Round("prerank", (parts.prerank(),), by_prerank, plan.ranked),
            Round("place", (Boost(),), Best("score"), plan.ranked),
        ),
        "rank": (
            retrieve,
            Round("prerank", (*early, parts.prerank(), *cut), by_prerank, plan.ranked),
            Round(
                "rank",
                (*late, parts.rank(), parts.calibrate(), Boost("pctr")),
                Best("score", ("rank",)),
                plan.ranked,
            ),
        ),
    }
    inner, fresh = parts.exploring(), parts.fresh("score")

    def page(inner: Selector, fresh: WithFresh | None) -> Selector:
        return parts.with_caps(parts.with_pinned(around(fresh, inner), "score"))

    chance = Propensity(page, inner, fresh) if parts.explores else None
    return Cascade(
        name=Kind.RECOMMEND,
        hydrators=parts.hydrators(),
        sources=parts.sources(),
        filters=parts.filters(),
        rounds=(*steps[plan.depth], Round("diversity", (), page(inner, fresh), None, chance)),
        shares=plan.quotas,
        observer=parts.observer,
        widen=parts.wider,
    )


def search(parts: _Parts) -> Cascade:
    """Which items match these words, those first that suit this user?"""
    plan = parts.plan
    retrieve = Round("retrieve", (), parts.with_room(AsTheyCame(), None), plan.candidates)
    fused = Fused(plan.fusion, plan.fusion_k)
    match = (fused, Suiting("match", plan.search))
    by_match = parts.best_with_room("match", ("relevance", "prerank"))
    blend = (Suiting("blend", plan.search), Boost("blend"))
    by_rank = parts.with_caps(Best("score", ("rank",)))
    early, late = parts.cross(plan.search)
    steps = {
        "retrieve": (Round("retrieve", (fused, Boost("relevance")), parts.with_caps(Best("score")), None),),
        "prerank": (
            retrieve,
            Round("prerank", (parts.prerank(), *match), by_match, plan.ranked),
            Round("blend", blend, parts.with_caps(Best("score", ("prerank",))), None),
        ),
        "rank": (
            retrieve,
            Round("prerank", (*early, parts.prerank(), *match), by_match, plan.ranked),
            Round("rank", (*late, parts.rank(), parts.calibrate(), *blend), by_rank, None),
        ),
    }
    return Cascade(
        name=Kind.SEARCH,
        hydrators=(*parts.hydrators(), *parts.words()),
        sources=parts.found(),
        filters=parts.filters(),
        rounds=steps[plan.depth],
        shares={"lexical": 1.0, "dense": 1.0},
        observer=parts.observer,
        widen=parts.wider,
    )


def similar(parts: _Parts) -> Cascade:
    """What could be had instead of this item?"""
    weights = parts.plan.similar_weights if parts.bundle.complements else WITHOUT_DUAL["similar"]
    sources = (parts.together(), Nearby(parts.bundle.index, parts.catalogue, parts.plan.ranked))
    return _related(parts, Kind.SIMILAR, weights, sources)


def complementary(parts: _Parts) -> Cascade:
    """What goes with this item?"""
    weights = parts.plan.complementary_weights if parts.bundle.complements else WITHOUT_DUAL["complementary"]
    sources = (parts.together(), GoesWith(parts.asking(), parts.plan.ranked))
    return _related(parts, Kind.COMPLEMENTARY, weights, sources)


def sponsored(parts: _Parts) -> Cascade:
    """Which ads could stand in a list, and how likely is a click on each? The auction follows it.

    It knows the user as the list's own cascade does, keeps the list's filters, and knows nothing of money.
    """
    _, cross = parts.cross({})
    return Cascade(
        name=Kind.SPONSORED,
        hydrators=(),
        sources=(Sponsored(parts.catalogue, ADS),),
        filters=parts.filters(),
        rounds=(
            Round("prerank", (parts.prerank(),), Best("prerank"), ADS_RANKED),
            Round("rank", (*cross, parts.rank(), parts.calibrate()), Best("pctr"), ADS_RANKED),
        ),
        shares={Sponsored.name: 1.0},
        observer=parts.observer,
    )


def _related(parts: _Parts, kind: Kind, weights: Mapping[str, float], sources: tuple[Source, ...]) -> Cascade:
    """A list that starts from one item: by its relation to it, and a little by what suits the user."""
    plan = parts.plan
    if unknown := sorted(set(weights) - set(TERMS)):
        raise OperatorError(f"plan.{kind}_weights: there is no {unknown[0]!r}; known are {', '.join(TERMS)}")
    related = Related(weights, parts.bundle.neighbours, parts.catalogue, parts.asking())
    retrieve = Round("retrieve", (), parts.with_room(AsTheyCame(), None), plan.candidates)
    by_relevance = parts.best_with_room("relevance")
    blend = (Blend(SIMILAR_PERSONAL), Boost("blend"))
    _, cross = parts.cross({})
    steps = {
        "retrieve": (
            Round("retrieve", (related, Boost("relevance")), parts.best_with_room("score"), plan.ranked),
        ),
        "prerank": (
            retrieve,
            Round("prerank", (parts.prerank(), related), by_relevance, plan.ranked),
            Round("blend", blend, Best("score", ("prerank",)), plan.ranked),
        ),
        "rank": (
            retrieve,
            Round("prerank", (parts.prerank(), related), by_relevance, plan.ranked),
            Round(
                "rank",
                (*cross, parts.rank(), parts.calibrate(), *blend),
                Best("score", ("rank",)),
                plan.ranked,
            ),
        ),
    }
    return Cascade(
        name=kind,
        hydrators=parts.hydrators(),
        sources=sources,
        filters=parts.filters(),
        rounds=(
            *steps[plan.depth],
            Round("diversity", (), parts.with_caps(Diverse(catalogue=parts.catalogue, knob=0.0)), None),
        ),
        shares={source.name: 1.0 for source in sources},
        observer=parts.observer,
        widen=parts.wider,
    )


def around(fresh: WithFresh | None, inner: Selector) -> Selector:
    """The inner selector with its share of fresh items."""
    return inner if fresh is None else replace(fresh, inner=inner)


@dataclass(frozen=True, slots=True)
class _Parts:
    """What the lists have in common."""

    plan: Plan
    bundle: Bundle
    catalogue: Catalogue
    observer: Observer
    trends_at: TrendsAt | None = None

    def hydrators(self) -> tuple[Hydrator, ...]:
        tower = UserTower(self.bundle.user_tower, self.catalogue.items)
        model = self.bundle.interest_model(self.plan)
        return (
            UserVector(tower),
            UserInterests.of(model, self.bundle.schema, self.plan),
            *(() if self.bundle.factors is None else (UserFactors(self.bundle.factors, self.plan),)),
        )

    def words(self) -> tuple[Hydrator, ...]:
        """None where the bundle knows no meanings."""
        tower = self.bundle.query_tower
        return () if tower is None else (QueryVector(tower),)

    def sources(self) -> tuple[Source, ...]:
        near = self.bundle.neighbours
        every: tuple[Source, ...] = (
            Popular(self.catalogue, self._size("popular")),
            *self._trending(),
            Fresh(self.catalogue, self._size("fresh"), self.plan.fresh_days),
            Similar(near, self.plan, self.catalogue, self._size("similar"), self._personal()),
            *self._factors(),
            InterestSearch(self.bundle.index, self.catalogue, self._size("interests")),
        )
        known = {FactorSearch.name, Trending.name, *(source.name for source in every)}
        if unknown := sorted(set(self.plan.quotas) - known):
            raise OperatorError(f"plan.quotas: there is no source {unknown[0]!r}")
        return tuple(source for source in every if self._size(source.name) > 0)

    def found(self) -> tuple[Source, ...]:
        """What a search asks: words, and their meaning where the bundle knows it."""
        plan, bundle = self.plan, self.bundle
        lexical = Lexical(bundle.lexical, self.catalogue, plan.candidates, plan.search_fields)
        if bundle.query_tower is None:
            return (lexical,)
        return (lexical, Dense(bundle.index, self.catalogue, plan.candidates))

    def _trending(self) -> tuple[Source, ...]:
        if self.trends_at is None:
            return ()
        placements = self.bundle.schema.placements
        return (Trending(self.trends_at, self.catalogue, placements, self._size("trending")),)

    def _personal(self) -> Personal | None:
        bundle = self.bundle
        if bundle.pairs is None:
            return None
        return Personal(bundle.pairs, bundle.popularity, bundle.item_vectors)

    def _factors(self) -> tuple[Source, ...]:
        """None where the bundle has none, whatever its plan says."""
        if self.bundle.factors is None:
            return ()
        return (FactorSearch(self.bundle.factors, self.catalogue, self._size("factors")),)

    def together(self) -> Source:
        return TogetherWith(self.bundle.neighbours, self.catalogue)

    def asking(self) -> Asking | None:
        """None where the bundle has no dual vectors."""
        if self.bundle.complements is None:
            return None
        new = self.catalogue.overlay.vectors
        dual = self.bundle.complements.with_late(new.inward.values, new.outward.values)
        return Asking(dual, self.bundle.index, self.catalogue)

    def filters(self) -> tuple[Filter, ...]:
        """What the caller rules out by name is told apart from what his rule does not match."""
        available, muted = Available(self.catalogue), Muted(self.catalogue)
        return (available, Excluded(), OwnItems(), Shown(), Seen(), muted, Rule())

    def cross(self, weighed: Mapping[str, float]) -> tuple[tuple[Scorer, ...], tuple[Scorer, ...]]:
        """The columns of `models.encode.CROSS`, but for `prerank` and, as the merge brings it, `fused`.

        First those that the cut before the ranker is `weighed` by, which every candidate needs; then those
        that only the ranker reads.
        """
        items = Gathered(self.catalogue.items)
        every: tuple[Scorer, ...] = (
            Tower(items),
            Interest(items),
            SimilarToRecent(self.bundle.neighbours, self.plan),
            Popularity(self.catalogue),
            FactorProduct(self.bundle.factors),
        )
        early = {name for name, weight in weighed.items() if weight}
        return (
            tuple(one for one in every if one.name in early),
            tuple(one for one in every if one.name not in early),
        )

    def fresh(self, by: str, turn: int = 0) -> WithFresh | None:
        plan = self.plan
        if plan.explore == 0.0:
            return None
        return WithFresh(AsTheyCame(), by, self.catalogue, plan.explore, plan.fresh_days, turn)

    @property
    def explores(self) -> bool:
        """Whether anything of a list is left to chance."""
        return self.plan.explore > 0.0 or self.plan.thompson > 0.0

    def exploring(self) -> Selector:
        """What orders the page before anything makes room in it."""
        plan, posterior = self.plan, self.bundle.posterior
        diverse = Diverse(self.catalogue, plan.diversity, plan.diversity_method)
        if plan.thompson == 0.0:
            return diverse
        if plan.thompson < 0.0:
            raise OperatorError(f"plan.thompson: {plan.thompson} is no width; it is 0 (off) or more")
        if plan.depth != "rank":
            raise OperatorError(
                f"plan.thompson: depth {plan.depth!r} has no click probabilities; set it to 0"
            )
        if posterior is None:
            raise OperatorError("plan.thompson: the bundle has no posterior; train it anew, or set it to 0")
        return WithThompson(diverse, self.catalogue, posterior, plan.thompson)

    def with_caps(self, inner: Selector) -> Selector:
        return WithCaps(inner, "score", self.catalogue)

    def wider(self, source: Source) -> Source:
        """Asked for more where caps leave too little of it."""
        return Wider(source, self.catalogue)

    def with_room(self, inner: Selector, by: str | None) -> Selector:
        return WithRoom(inner, by, self.catalogue)

    def best_with_room(self, by: str, then: tuple[str, ...] = ()) -> Selector:
        return self.with_room(Best(by, then), by)

    def with_pinned(self, inner: Selector, by: str) -> Selector:
        return WithPinned(inner, by, self.catalogue)

    def prerank(self) -> Scorer:
        return PreRank(PreRanker(self.bundle.preranker, self.catalogue.prerank))

    def rank(self) -> Scorer:
        return Rank(Ranker(self.bundle.ranker, self.catalogue.rank))

    def calibrate(self) -> Scorer:
        return Calibrate(self.bundle.calibrator)

    def _size(self, source: str) -> int:
        """Candidates that a source may propose."""
        return ceil(self.plan.candidates * self.plan.quotas.get(source, 0.0))
