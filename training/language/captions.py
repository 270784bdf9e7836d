"""Captions of whole scenes: all that there is, from left to right, and what is behind it.

A grounded caption says all that can be said of each thing, in one of many ways: what the picture shows decides what is
told, and only how it is told is drawn. So two captions of one picture differ as two people's would who were asked for
everything, and not by what one of them left out.
"""

from numpy.random import Generator

from training.language import plans, relations
from training.language.draw import chance, in_turn, pick
from training.language.grounded import GroundedCaption, Named, Part, compose
from training.language.mentions import brief_mentions, mentions
from training.language.plans import Plan, Told
from training.language.usage import Usage
from training.scenes.scene import Scene

_SAY_BACKGROUND = 0.8
"""In a short caption."""
_PREFER = 0.7
_AFTER = ("in front of", "in front of", "against")


def gcg(scene: Scene, usage: Usage, rng: Generator) -> GroundedCaption:
    """A caption that names every thing of the scene once, with a mask a phrase; things that are alike share one."""
    options = plans.ALL
    if relations.preferred(scene, usage) and chance(_PREFER, rng):
        options = {**plans.RELATED, **{plan: 1e-9 for plan in plans.ALL if plan not in plans.RELATED}}
    return _tell(Told(scene, mentions(scene), True, usage, rng), options)


def caption(scene: Scene, usage: Usage, rng: Generator) -> str:
    """A short caption without markup: the things and what is behind them."""
    told = Told(scene, brief_mentions(scene, rng), False, usage, rng)
    return _tell(told, plans.BARE, chance(_SAY_BACKGROUND, rng)).text


def _tell(told: Told, options: dict[Plan, float], background: bool = True) -> GroundedCaption:
    rng = told.rng
    for plan in in_turn(options, rng):
        parts = plan.tell(told)
        if parts is not None:
            break
    else:
        raise AssertionError("a bare list tells every scene")
    if not background:
        return compose([*parts, "."])
    return compose(_before_background(told, plan, parts) if chance(0.6, rng) else _behind_background(told, plan, parts))


def _before_background(told: Told, plan: Plan, parts: list[Part]) -> list[Part]:
    """The background comes last."""
    background = _background(told.scene)
    if not plan.closes:
        return [*parts, ".", *pick(_closings(background), told.rng), "."]
    if _may_be_in_front(told):
        return [*parts, ",", pick(_AFTER, told.rng), background, "."]
    return [*parts, ", with", background, "in the background."]


def _behind_background(told: Told, plan: Plan, parts: list[Part]) -> list[Part]:
    """The background comes first."""
    background = _background(told.scene)
    if plan.opens and _may_be_in_front(told):
        return [pick(_AFTER, told.rng), background, ",", *parts, "."]
    return ["the background is", background, ".", *parts, "."]


def _closings(background: Named) -> tuple[list[Part], ...]:
    return ["the background is", background], ["in the background is", background]


def _background(scene: Scene) -> Named:
    return Named(scene.background, scene.background_mask)


def _may_be_in_front(told: Told) -> bool:
    return all(told.usage.allowed(thing.category, "front") for thing in told.scene.objects)
