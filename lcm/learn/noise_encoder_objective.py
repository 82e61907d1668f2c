"""What the stage of the noise encoder φ maximises: its likelihood (docs/theory.md section 2)."""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import NamedTuple, final

import torch
from torch import Tensor, nn

from lcm.base.chunks import in_chunks
from lcm.base.component import describe
from lcm.learn.config import NoiseEncoderConfig
from lcm.learn.noise_encoder import ImplicitModel, NoisePairs
from lcm.learn.prepared import Prepared
from lcm.learn.training.objective import Objective, ParameterGroup, Rows
from lcm.model.decoder import Flow
from lcm.model.intervention import TargetDistribution
from lcm.model.likelihood import THICKNESS_FLOOR
from lcm.model.noise import standard_normal_log_density

_CLOSED_FORM_RATE = 0.02
_MOST_LOG_GROWTH = math.log(100.0)
_MOST_ENCODED = 100_000
_BLUR_FROM, _BLUR_TO, _BLUR_SHARE = 0.3, 3e-3, 0.6


class Encoded(NamedTuple):
    """Noise encodings u, ũ (N, n) in the standard-normal gauge and the posterior over target sets (N, K)."""

    normal: Tensor
    normal_tilde: Tensor
    posterior: Tensor


@final
class NoiseEncoderObjective(Objective):
    """Negative mean log p(x, x̃) of the implicit model, with σ and p_𝓘 moved towards their closed forms in every step.

    The thickness used is the larger of the closed form and an annealed floor: a homotopy from a smooth problem to the
    sharp one. Its growth is fitted after that; before, it could explain the pairs in place of the encoder.

    Where there are more coordinates than variables, the width of the sheet is treated like the thickness. The density
    of an exact sheet has no bound, and its likelihood could rise for ever by flattening it. So each observation of a
    batch is blurred by fresh noise, which also lets the encoder see on which side of the sheet a point lies.

    Where Jacobians would be most of its work, a step takes log-determinants of a share of its pairs, divided by that
    share. They do not depend on the target set, so that the gradient stays unbiased.
    """

    closed_form: Tensor
    closed_width: Tensor

    def __init__(
        self, model: ImplicitModel, prepared: Prepared, config: NoiseEncoderConfig, generator: torch.Generator
    ) -> None:
        """`generator` draws the blur."""
        super().__init__()
        self.model, self.config, self._generator = model, config, generator
        self._train, self._validation = prepared.train, prepared.validation
        self._labels = known_labels(prepared, model.target_distribution)
        self._blurred = prepared.n if len(model.width) else 0
        self.register_buffer("closed_form", model.thickness.clone())
        self.register_buffer("closed_width", model.width.clone())
        self.log_growth = nn.Parameter(torch.zeros(1, device=model.thickness.device))
        self._rate, self._annealed = 1.0, False

    def groups(self) -> list[ParameterGroup]:
        solution = [*self.model.solution.parameters(), self.log_growth]
        return [
            *ParameterGroup.by_shape(self.model.noise_decoder.parameters(), self._flow_rate()),
            ParameterGroup(solution, self._rate * self.config.solution_learning_rate),
        ]

    def _flow_rate(self) -> float:
        given = self.config.learning_rate
        return self._rate * (Flow.of_kind(self.config.flow).learning_rate if given is None else given)

    def begin_later_round(self, rate: float) -> None:
        """Continue without annealing, at this share of the step sizes."""
        self._rate, self._annealed = rate, True

    def deepen(self, generator: torch.Generator) -> None:
        """Give the flow more layers, at the identity, drawn by the generator."""
        self.model.noise_decoder = self.model.noise_decoder.deepened(generator)

    def held_out(self) -> float:
        """Mean log p(x, x̃) of the held-out pairs, in nats a pair, at the model's thickness."""
        return mean_log_density(self.model, self._validation)

    @property
    def n_rows(self) -> int:
        return len(self._train[0])

    def structure(self) -> Hashable:
        return str(describe(self.model.noise_decoder)), self.config, self._labels is None, self._annealed

    def batch(self, rows: Tensor) -> tuple[Tensor, ...]:
        size, device = (len(rows), 2, self._blurred), self._generator.device
        blur = torch.randn(size, generator=self._generator, device=device)
        return *(part[rows] for part in self._train), blur, *(part[rows] for part in (self._labels or ())[:1])

    def loss(self, batch: tuple[Tensor, ...], progress: float) -> Tensor:
        x, x_tilde, blur, *labels = batch
        model, annealed = self.model, self._annealed or progress >= self.config.anneal_share
        floor = THICKNESS_FLOOR if annealed else self._annealed_floor(progress)
        changed = (x != x_tilde).any(1)
        model.thickness.copy_(self.closed_form.clamp_min(floor))
        if self._blurred:
            model.width.copy_(self.closed_width.clamp_min(floor))
            x, x_tilde = (part + self._blur(progress) * blur[:, k] for k, part in enumerate((x, x_tilde)))
        pairs = model.encode_pairs(x, x_tilde, math.ceil(model.noise_decoder.measured_share * len(x)))
        growth = self.log_growth.clamp_max(_MOST_LOG_GROWTH).exp() if annealed else 0.0 * self.log_growth
        model.growth.copy_(growth.detach().sum())
        # an unchanged pair fits any thickness at no change, and the thinner the better (docs/theory.md section 2)
        growth = torch.where(changed.unsqueeze(1), growth, growth.detach())
        joint = model.joint(model.terms(pairs, growth=growth), *labels)
        self._update(pairs, joint, changed, annealed)
        return -torch.logsumexp(joint, 1).mean()

    def _annealed_floor(self, progress: float) -> float:
        start = self.config.anneal_from
        return float(start * (THICKNESS_FLOOR / start) ** (progress / self.config.anneal_share))

    def _blur(self, progress: float) -> float:
        """Standard deviation of the fresh noise, in units of that of each coordinate."""
        share = 1.0 if self._annealed else min(1.0, progress / _BLUR_SHARE)
        return float(_BLUR_FROM * (_BLUR_TO / _BLUR_FROM) ** share)

    @torch.no_grad()
    def _update(self, pairs: NoisePairs, joint: Tensor, changed: Tensor, annealed: bool) -> None:
        posterior = torch.softmax(joint, 1)
        variance = self.model.staying_variance(pairs, posterior, changed)
        updated = self.closed_form.square().lerp(variance, _CLOSED_FORM_RATE)
        self.closed_form.copy_(updated.clamp_min(THICKNESS_FLOOR**2).sqrt())
        updated = self.closed_width.square().lerp(pairs.across.square().mean((0, 1)), _CLOSED_FORM_RATE)
        self.closed_width.copy_(updated.clamp_min(THICKNESS_FLOOR**2).sqrt())
        # a thickness far above the data's own blurs the posterior, and p_𝓘 would drift with it
        if annealed:
            probabilities = self.model.target_distribution.probabilities
            probabilities.copy_(probabilities.lerp(posterior.mean(0), _CLOSED_FORM_RATE))

    def validate(self) -> dict[str, float | list[float]]:
        model = self.model
        model.thickness.copy_(self.closed_form)
        model.width.copy_(self.closed_width)
        return {
            "validation_log_likelihood": mean_log_density(model, self._validation),
            "thickness": model.thickness.tolist(),
            "growth": float(model.growth),
            "target_probabilities": model.target_distribution.probabilities.tolist(),
        }


@final
class MarginalObjective(Objective):
    """The likelihood of exact pairs whose noise encoding is known up to a monotone map h_i of each coordinate.

    With e = W x already one-sparse in its differences, pairs lie on the submanifolds ẽ_j = e_j (j ∉ I), and their
    density there is p(e) Π_{i ∈ I} p(ẽ_i | e). A thickness at its floor would reward stretching the gauge instead
    (docs/theory.md section 2, caution i).
    """

    def __init__(self, model: ImplicitModel, prepared: Prepared, config: NoiseEncoderConfig) -> None:
        super().__init__()
        self.solution, self.config = model.solution, config
        self._thickness: list[float] = model.thickness.tolist()
        sets = model.target_distribution.target_sets
        self._train, self._validation = (
            (pairs.normal, pairs.normal_tilde, pairs.posterior @ sets.to(pairs.posterior.dtype))
            for pairs in encode_prepared(model, prepared)
        )

    def groups(self) -> list[ParameterGroup]:
        return [ParameterGroup(list(self.solution.parameters()), self.config.solution_learning_rate)]

    @property
    def n_rows(self) -> int:
        return len(self._train[0])

    def _log_density(self, start: Tensor, start_tilde: Tensor, weights: Tensor) -> tuple[Tensor]:
        normal, log_slope = self.solution.noise.to_normal(start)
        normal_tilde, log_slope_tilde = self.solution.noise.to_normal(start_tilde)
        stay = (standard_normal_log_density(normal) + log_slope).sum(1)
        return (stay + (weights * (self.solution.move_log_density(normal_tilde) + log_slope_tilde)).sum(1),)

    def structure(self) -> Hashable:
        return self.config

    def batch(self, rows: Tensor) -> tuple[Tensor, ...]:
        return tuple(part[rows] for part in self._train)

    def loss(self, batch: tuple[Tensor, ...], progress: float) -> Tensor:
        return -self._log_density(*batch)[0].mean()

    def validate(self) -> dict[str, float | list[float]]:
        (values,) = in_chunks(self._log_density, *self._validation)
        return {"validation_log_likelihood": float(values.mean()), "thickness": self._thickness}


def mean_log_density(model: ImplicitModel, pairs: tuple[Tensor, Tensor]) -> float:
    """Mean log p(x, x̃) of pairs (N, r) in the coordinates of the fit, in nats a pair, without gradients."""

    def log_density(x: Tensor, x_tilde: Tensor) -> tuple[Tensor]:
        return (model.log_density(model.terms(model.encode_pairs(x, x_tilde))),)

    return float(in_chunks(log_density, *pairs)[0].mean())


def encode_all(model: ImplicitModel, x: Rows, x_tilde: Rows, *labels: Tensor) -> Encoded:
    """Noise encodings and posterior of pairs (N, r), of the first 100,000 where there are more, without gradients.

    Where the target sets (N,) of the pairs are known, all of the posterior is on them.
    """

    def encode(first: Tensor, second: Tensor, *known: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        pairs = model.encode_pairs(first, second)
        return pairs.normal, pairs.normal_tilde, model.posterior(model.terms(pairs), *known)

    return Encoded(*in_chunks(encode, x, x_tilde, *labels, most=_MOST_ENCODED))


def encode_prepared(model: ImplicitModel, prepared: Prepared) -> tuple[Encoded, Encoded]:
    """The training and the validation pairs of a fit as `encode_all` gives them, with what is known of them."""
    labels = known_labels(prepared, model.target_distribution)
    train, validation = ([], []) if labels is None else ([labels[0]], [labels[1]])
    return encode_all(model, *prepared.train, *train), encode_all(model, *prepared.validation, *validation)


def known_labels(prepared: Prepared, targets: TargetDistribution) -> tuple[Tensor, Tensor] | None:
    """The index (N,) of the target set of each training and validation pair, where targets are known."""
    if prepared.targets is None:
        return None
    sets = targets.target_sets
    train, validation = ((masks.unsqueeze(1) == sets).all(2).int().argmax(1) for masks in prepared.targets)
    return train, validation
