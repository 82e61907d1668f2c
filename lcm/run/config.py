"""Settings of a fit; every default is used for every data set, and no default depends on the truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, final

from lcm.base.requirement import fill_sections, require, require_at_least, require_one_of, sections
from lcm.learn.config import FlowConfig, ImageConfig, KnownConfig, MechanismsConfig, NoiseEncoderConfig, ReadoutConfig
from lcm.peer import PEERS
from lcm.peer.search.config import GraphSearchConfig

AUTO = "auto"
_OWN_MODELS = {
    "flow": "the default: noise encoder, mechanisms and tests, by exact likelihood",
    "linear": "flow from its closed forms alone, without a gradient step",
}


def models() -> dict[str, str]:
    """The names that `FitConfig.model` takes, each with one line that says what it is."""
    return {**_OWN_MODELS, **{name: peer.summary for name, peer in PEERS.items()}}


def _peer_sections() -> Mapping[str, type[Any]]:
    return {peer.section: peer.config for peer in PEERS.values()}


@final
@dataclass(frozen=True)
class FitConfig:
    """All settings of a fit.

    Attributes:
        model: the default, `flow`, or one of `models()` (docs/models.md); each reads its own section and the common
            keys.
        n: number of causal variables; None for its estimate from x; "auto" for the likeliest of up to three fits, of
            the numbers that the evidence leaves open (model flow and vectors only).
        targets: the intervention family, "atomic", "atomic-or-empty", "all" or a list of target sets.
        validation_share: share of the pairs held out for early stopping and the ranking of restarts.
        restarts: fits from other starts, of which the likeliest is kept.
        seed: of everything that is drawn.
        known: what is known besides the pairs.
        readout, noise_encoder, mechanisms: of flow and linear; readout also of peers whose graph is searched.
        graph_search: for peers that do not learn a graph.
        peers: settings of the peers by section, such as "explicit", with defaults filled in. In YAML, each section is a
            key beside the others.
        image: for images, whatever the model.

    Example:
        >>> import lcm
        >>> lcm.FitConfig(n=3, restarts=2).model
        'flow'
    """

    model: str = "flow"
    n: int | Literal["auto"] | None = None
    targets: Literal["atomic", "atomic-or-empty", "all"] | tuple[tuple[int, ...], ...] = "atomic-or-empty"
    validation_share: float = 0.1
    restarts: int = 1
    seed: int = 0
    known: KnownConfig = field(default_factory=KnownConfig)
    readout: ReadoutConfig = field(default_factory=ReadoutConfig)
    noise_encoder: NoiseEncoderConfig = field(default_factory=NoiseEncoderConfig)
    mechanisms: MechanismsConfig = field(default_factory=MechanismsConfig)
    graph_search: GraphSearchConfig = field(default_factory=GraphSearchConfig)
    peers: Mapping[str, Any] = sections(_peer_sections)
    image: ImageConfig = field(default_factory=ImageConfig)

    @property
    def unread(self) -> tuple[str, ...]:
        """The sections that the model does not read."""
        peer, unread = PEERS.get(self.model), set(self.peers)
        if peer is None:
            return tuple(sorted(unread | {"graph_search"}))
        unread = (unread | {"noise_encoder", "mechanisms"}) - {peer.section}
        return tuple(sorted(unread | {"graph_search"} if peer.learns_graph else unread))

    @property
    def flow(self) -> FlowConfig:
        """The settings that the stages of the default model read."""
        return FlowConfig(self.noise_encoder, self.mechanisms, self.readout, self.known)

    def __post_init__(self) -> None:
        fill_sections(self)
        require_one_of(self, "model", tuple(models()))
        require_at_least(self, 1, "restarts", *(() if self.n == AUTO else ("n",)))
        if self.n == AUTO and self.model != "flow":
            raise ValueError(f"n: Expected a number, or null, for the model {self.model}; got {AUTO}.")
        require(self, ("validation_share",), lambda value: 0 < value < 1, "a share strictly between 0 and 1")
        require(self, ("seed",), lambda value: value >= 0, "a non-negative seed")
