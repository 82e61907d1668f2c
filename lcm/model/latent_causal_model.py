"""The latent causal model 𝓜 = ⟨C, 𝒳, g, 𝓘, p_𝓘⟩: one type for ground truths and fitted models alike.

Sources: docs/theory.md sections 1-3; Brehmer et al. 2022, sections 2 and 3.
"""

from __future__ import annotations

import copy
import math
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from lcm.base.arrays import as_tensor, in_kind_of
from lcm.base.component import describe
from lcm.base.settings import require_mapping
from lcm.base.text import shown
from lcm.model.decoder import Decoder, NoiseDecoder, SolutionDecoder, build_decoder
from lcm.model.do import Do
from lcm.model.graph import Graph
from lcm.model.intervention import InterventionalMechanism, TargetDistribution
from lcm.model.likelihood import (
    THICKNESS_FLOOR,
    Changes,
    PairParts,
    PairTerms,
    joint_log_density,
    pair_log_density,
    stay_log_density,
    target_posterior,
    variance_ratio,
)
from lcm.model.pair_model import MODEL_TYPES, EncodedPairs, Encoding, PairModel, Pairs
from lcm.model.scm import SCM
from lcm.model.sensor_noise import SensorNoise, Slopes, pair_slopes


@final
class LatentCausalModel(PairModel):
    """An SCM, a decoder, an interventional mechanism, a distribution of target sets, and a thickness.

    `thickness` (n,) is the standard deviation, in the standard-normal gauge of the noise, by which
    coordinates that are not targets still change; 0 for exact counterfactual pairs. `growth` ρ ≥ 0 says how it grows
    with the change m of the targets, as √(1 + ρ² m²); it is `thickness` at m² = 2 (docs/theory.md section 2).
    `sensor_noise`, where a fit found any, sharpens the posterior over targets.

    Example:
        >>> import lcm
        >>> model = lcm.fit("data/sample.safetensors", model="linear", quiet=True).model
        >>> model.sample(5, seed=1).x.shape, model.scm.n
        (torch.Size([5, 3]), 3)
    """

    kind: ClassVar[str] = "latent-causal-model"
    thickness: Tensor
    sensor_noise: SensorNoise | None

    def __init__(
        self,
        scm: SCM,
        decoder: Decoder,
        intervention: InterventionalMechanism,
        target_distribution: TargetDistribution,
        thickness: float | Tensor = 0.0,
        growth: float = 0.0,
    ) -> None:
        """Raises ValueError when the parts differ in n or in their circles, or thickness or growth is negative."""
        super().__init__()
        sizes = {
            "a decoder": decoder.n,
            "interventions": intervention.n,
            "target sets": target_distribution.n,
        }
        for name, n in sizes.items():
            if n != scm.n:
                raise ValueError(f"Expected {name} of {scm.n} variables, as in the SCM; got {n}.")
        circles = scm.circular.int().tolist()
        for name, circular in (("a decoder", decoder.circular), ("interventions", intervention.circular)):
            if circular is not None and circular.int().tolist() != circles:
                found = circular.int().tolist()
                raise ValueError(f"Expected {name} with the circles of the SCM, {circles}; got {found}.")
        self.scm, self.decoder = scm, decoder
        self.intervention, self.target_distribution = intervention, target_distribution
        thickness = torch.as_tensor(thickness, dtype=torch.get_default_dtype()).expand(scm.n).clone()
        self.register_buffer("thickness", thickness)
        self.growth = growth
        self.sensor_noise = None
        self.require_sound()

    @property
    def n(self) -> int:
        """Number of causal variables."""
        return self.scm.n

    @property
    def d(self) -> int:
        """Number of dimensions of an observation."""
        return self.decoder.d

    @property
    def like_observations(self) -> Tensor:
        return self.thickness.new_empty(0, dtype=self.decoder.observation_dtype or self.thickness.dtype)

    @property
    def graph(self) -> Graph:
        """The causal graph."""
        return self.scm.graph

    def sample_pairs(self, n_pairs: int, generator: torch.Generator) -> Pairs:
        """Draw pairs from the weakly supervised distribution p(x, x̃), with their truth."""
        noise = self.scm.sample_noise(n_pairs, generator)
        targets = self.target_distribution.sample(n_pairs, generator)
        fresh, jitter = (
            torch.randn(noise.shape, generator=generator, device=generator.device, dtype=noise.dtype) for _ in range(2)
        )
        return self.pairs_from(noise, fresh, jitter, targets)

    def pairs_from(self, noise: Tensor, fresh: Tensor, jitter: Tensor, targets: Tensor) -> Pairs:
        """The pairs of given draws (N, n): noise of x, standard normals that interventions and the thickness use, and
        masks of targets."""
        kept = noise
        if bool((self.thickness > 0).any()):
            normal, width = self.scm.noise.to_normal(noise)[0], self.thickness
            if self.growth:
                exact = self.scm.abduct(self._intervened(noise, fresh, targets))[0]
                moved = (self.scm.noise.to_normal(exact)[0] - normal).square() * targets
                width = width * variance_ratio(moved.sum(1, keepdim=True), self.growth).sqrt()
            kept = self.scm.noise.from_normal(normal + width * jitter)[0]
        z = self.scm.solve(noise)[0]
        z_tilde = self._intervened(kept, fresh, targets)
        noise_tilde = self.scm.abduct(z_tilde)[0]
        return Pairs(self.decode(z), self.decode(z_tilde), z, z_tilde, noise, noise_tilde, targets)

    def _intervened(self, noise: Tensor, fresh: Tensor, targets: Tensor) -> Tensor:
        """z̃ (N, n) of noise and fresh standard normals (N, n) under masks of targets."""
        return self.scm.solve_intervened(
            noise, targets, lambda z, k: self.intervention.value(fresh[:, k], z, k, self.scm)
        )

    def decode(self, z: Tensor) -> Tensor:
        """x = g(z): (N, n) → (N, d)."""
        return self.decoder.decode(z)

    def encoding(self, x: Tensor) -> Encoding:
        """Causal variables, noise and log|det ∂noise/∂x| of observations x (N, d)."""
        z, log_decoder = self.decoder.inverse(x)
        noise, log_abduction = self.scm.abduct(z)
        return Encoding(z, noise, log_decoder + log_abduction)

    def encode_pairs(self, x: Tensor, x_tilde: Tensor) -> EncodedPairs:
        """Encodings of pairs (N, d); posterior and density at the model's thickness, floored at 1e-3.

        The posterior is that at the sensor noise of the model, if it has any.
        """
        before, after = self.encoding(x), self.encoding(x_tilde)
        parts = self.pair_parts(before, after)
        joint = joint_log_density(self._terms(parts, self.thickness.clamp_min(THICKNESS_FLOOR)), *self._target_sets())
        posterior = self._sharpened(joint.softmax(1), parts, x, x_tilde)
        return EncodedPairs(before.z, after.z, before.noise, after.noise, posterior, joint.logsumexp(1))

    def pair_terms(
        self, x: Tensor, x_tilde: Tensor, thickness: Tensor | float | None = None, growth: float | None = None
    ) -> PairTerms:
        """Terms of the pair likelihood in data space at a thickness and a growth (the model's own by default).

        Raises:
            ValueError: the thickness is not positive, and pairs have no density (docs/theory.md section 2).
        """
        return self._terms(self.pair_parts(self.encoding(x), self.encoding(x_tilde)), thickness, growth)

    def _terms(
        self, parts: PairParts, thickness: Tensor | float | None = None, growth: float | None = None
    ) -> PairTerms:
        sigma = torch.as_tensor(self.thickness if thickness is None else thickness).to(self.thickness).expand(self.n)
        if not bool((sigma > 0).all()):
            raise ValueError(f"Expected a positive thickness, or pairs have no density; got {float(sigma.min())}.")
        growth = self.growth if growth is None else growth
        stay = stay_log_density(parts.difference, sigma) + parts.log_gauge
        return PairTerms(parts.base, stay, parts.move, Changes.of(parts.difference, sigma, growth) if growth else None)

    def slopes(self, x: Tensor, x_tilde: Tensor) -> Slopes:
        """How the noise encodings of pairs (N, d), in the standard-normal gauge, change with each column."""
        return pair_slopes(lambda part: self.scm.noise.to_normal(self.encoding(part).noise)[0], self.n, x, x_tilde)

    def pair_parts(self, before: Encoding, after: Encoding) -> PairParts:
        """What the likelihood of encoded pairs, at any thickness or sensor noise, is made of."""
        (_, noise, log_det), (z_tilde, noise_tilde, log_det_tilde) = before, after
        normal, _ = self.scm.noise.to_normal(noise)
        normal_tilde, log_gauge = self.scm.noise.to_normal(noise_tilde)
        log_slope = -self.scm.mechanism.inverse(z_tilde, z_tilde)[1]
        base = self.scm.noise.log_density(noise).sum(1) + log_det + log_det_tilde
        move = self.intervention.log_density(z_tilde, self.scm) + log_slope
        return PairParts(base, normal_tilde - normal, log_gauge, move)

    def pair_log_density(
        self, x: Tensor, x_tilde: Tensor, thickness: Tensor | float | None = None, growth: float | None = None
    ) -> Tensor:
        """log p(x, x̃) (N,), in nats, at a thickness and a growth (the model's own by default).

        Raises:
            ValueError: the thickness is not positive, so that pairs have no density (docs/theory.md section 2).
        """
        terms = self.pair_terms(x, x_tilde, thickness, growth)
        return pair_log_density(terms, *self._target_sets())

    def pair_log_density_given(
        self, x: Tensor, x_tilde: Tensor, targets: Tensor, thickness: Tensor | float | None = None
    ) -> Tensor:
        """log p(x, x̃ | I) (N,) for given target masks (N, n).

        Raises:
            ValueError: the thickness is not positive, so that pairs have no density (docs/theory.md section 2).
        """
        terms = self.pair_terms(x, x_tilde, thickness)
        return terms.given(targets)

    def joint_log_density(self, x: Tensor, x_tilde: Tensor, thickness: Tensor | float | None = None) -> Tensor:
        """log p(x, x̃, I) (N, K) for the K target sets of the target distribution.

        Raises:
            ValueError: the thickness is not positive, so that pairs have no density (docs/theory.md section 2).
        """
        return joint_log_density(self.pair_terms(x, x_tilde, thickness), *self._target_sets())

    def target_posterior(self, x: Tensor, x_tilde: Tensor, thickness: Tensor | float | None = None) -> Tensor:
        """p(I | x, x̃) (N, K), columns in the order of the target distribution's sets; rows sum to one.

        Without a thickness, coordinates stay up to the sensor noise of the model, if it has any.
        """
        parts = self.pair_parts(self.encoding(x), self.encoding(x_tilde))
        plain = target_posterior(self._terms(parts, thickness), *self._target_sets())
        return plain if thickness is not None else self._sharpened(plain, parts, x, x_tilde)

    def _sharpened(self, plain: Tensor, parts: PairParts, x: Tensor, x_tilde: Tensor) -> Tensor:
        """The posterior (N, K) at the sensor noise; `plain` without any, and for pairs too far from the data for it."""
        if self.sensor_noise is None:
            return plain
        noisy = target_posterior(self.sensor_noise.terms(parts, self.slopes(x, x_tilde)), *self._target_sets())
        return torch.where(torch.isfinite(noisy).all(1, keepdim=True), noisy, plain)

    def counterfactual(self, x: Any, do: Do, generator: torch.Generator | None = None) -> Any:
        """Counterfactual x̃ (N, d) of observations x (N, d) under a chosen intervention."""
        z = self.encoding(as_tensor(x, self.like_observations)).z
        return in_kind_of(x, self.decode(self.scm.counterfactual(z, do, generator)))

    def causal_model(self) -> LatentCausalModel:
        """The model itself."""
        return self

    def _target_sets(self) -> tuple[Tensor, Tensor]:
        return self.target_distribution.target_sets, self.target_distribution.log_probabilities()

    def description(self) -> dict[str, Any]:
        """JSON description that `LatentCausalModel.build` turns back into a model without its tensors."""
        growth = {"growth": self.growth} if self.growth else {}
        noise = {} if self.sensor_noise is None else {"sensor_noise": True}
        return {
            "scm": self.scm.description(),
            "decoder": describe(self.decoder),
            "intervention": describe(self.intervention),
            "target_sets": self.target_distribution.as_lists(),
            **growth,
            **noise,
        }

    @staticmethod
    def build(description: dict[str, Any]) -> LatentCausalModel:
        """Rebuild a model, without its tensors, from `description`."""
        # a thickness that does not grow, as all of earlier versions, is not described
        keys = ("scm", "decoder", "intervention", "target_sets")
        given = require_mapping(description, "a model", keys, optional=("growth", "sensor_noise"))
        scm = SCM.build(given["scm"])
        model = LatentCausalModel(
            scm,
            build_decoder(given["decoder"], scm),
            InterventionalMechanism.build(given["intervention"]),
            TargetDistribution(scm.n, given["target_sets"], None),
            growth=given.get("growth", 0.0),
        )
        if given.get("sensor_noise"):
            model.sensor_noise = SensorNoise(model.thickness.new_ones(model.d), model.thickness.new_ones(model.n))
        return model

    def require_sound(self) -> None:
        """Raise ValueError for a negative thickness or growth, or sensor noise beside several targets at once."""
        if not bool((self.thickness >= 0).all()):
            raise ValueError(f"Expected a non-negative thickness; got {float(self.thickness.min())}.")
        if not (isinstance(self.growth, float | int) and 0.0 <= self.growth < math.inf):
            raise ValueError(f"Expected a growth of the thickness from 0; got {shown(self.growth)}.")
        most = int(self.target_distribution.target_sets.sum(1).max())
        if self.sensor_noise is not None and most > 1:
            raise ValueError(f"Expected at most one target at once beside sensor noise; got a set of {most}.")


def noise_decoder(model: LatentCausalModel) -> Decoder:
    """ψ of any model, a copy that shares no tensors with it."""
    if isinstance(model.decoder, SolutionDecoder):
        return copy.deepcopy(model.decoder.noise_decoder)
    decoder, scm = copy.deepcopy((model.decoder, model.scm))
    return NoiseDecoder(decoder, scm)


MODEL_TYPES[None] = LatentCausalModel.build
