"""What the table of peers says about each of them. Imports no torch until a model is fitted or loaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from operator import attrgetter
from typing import TYPE_CHECKING, Any, final

if TYPE_CHECKING:
    from lcm.model.pair_model import PairModel


@final
@dataclass(frozen=True)
class Peer:
    """A model beside `flow` and `linear`, which `lcm fit --model NAME` fits.

    Attributes:
        summary: what it is, in one line.
        section: key of its settings in a fit's config; peers with the same settings share a section.
        config: frozen dataclass of these settings, with a default for every field.
        fit: (prepared pairs, target distribution, settings, generator, known) → the stages of a fit, which return the
            model; `known` is the side information as `lcm.learn.config.KnownConfig`.
        load: rebuilds a model without its tensors from its description; None for a peer that gives a
            `LatentCausalModel`.
        knows: the side information that it can use, of "targets", "graph" and "order".
        needs_targets: whether it can be fitted with known targets only.
        learns_graph: whether its fit decides the graph; otherwise the graph search of the config does, and a
            `VariationalModel` keeps the result.
    """

    summary: str
    section: str
    config: type[Any]
    fit: Callable[..., Any]
    load: Callable[[dict[str, Any]], PairModel] | None = None
    knows: frozenset[str] = frozenset()
    needs_targets: bool = False
    learns_graph: bool = False


def later(module: str, name: str) -> Callable[..., Any]:
    """A function, dotted inside its module, that is imported when it is first called."""

    def call(*arguments: Any, **options: Any) -> Any:
        return attrgetter(name)(import_module(module))(*arguments, **options)

    return call
