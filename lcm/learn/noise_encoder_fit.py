"""First stage of a fit: the noise encoder φ, by the exact likelihood of docs/theory.md section 2."""

from __future__ import annotations

from collections.abc import Hashable
from typing import NamedTuple, final

import torch
from torch import Tensor, nn

from lcm.base.chunks import in_chunks
from lcm.base.component import describe
from lcm.learn.config import NoiseEncoderConfig
from lcm.learn.known import assign_components, label_components
from lcm.learn.noise_encoder import ImplicitModel, NoisePairs, SolutionFunctions
from lcm.learn.prepared import Prepared
from lcm.learn.training.objective import Job, Objective, ParameterGroup, Rows, Schedule, Stages
from lcm.model.decoder import ChainDecoder, Decoder, Flow, LinearDecoder, ResidualDecoder
from lcm.model.intervention import TargetDistribution
from lcm.model.likelihood import THICKNESS_FLOOR, PairTerms, stay_log_density
from lcm.model.noise import standard_normal_log_density

_STAGE = "noise encoder"
_CLOSED_FORM_RATE = 0.02
_EXACT_THICKNESS = 2.0 * THICKNESS_FLOOR
_START_THICKNESS = (0.5, 0.02)
_START_UPDATES = 30
_START_ROWS = 20_000
_MOST_ENCODED = 100_000


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
    """

    closed_form: Tensor

    def __init__(self, model: ImplicitModel, prepared: Prepared, config: NoiseEncoderConfig) -> None:
        super().__init__()
        self.model, self.config = model, config
        self._train, self._validation = prepared.train, prepared.validation
        self._labels = known_labels(prepared, model.target_distribution)
        self.register_buffer("closed_form", model.thickness.clone())
        self.log_growth = nn.Parameter(torch.zeros(1, device=model.thickness.device))

    def groups(self) -> list[ParameterGroup]:
        flow = list(self.model.noise_decoder.parameters())
        matrices = [parameter for parameter in flow if parameter.dim() == 3]
        others = [parameter for parameter in flow if parameter.dim() != 3]
        return [
            *([ParameterGroup(matrices, self._flow_rate(), matrices=True)] if matrices else []),
            ParameterGroup(others, self._flow_rate()),
            ParameterGroup([*self.model.solution.parameters(), self.log_growth], self.config.solution_learning_rate),
        ]

    def _flow_rate(self) -> float:
        given = self.config.learning_rate
        return Flow.of_kind(self.config.flow).learning_rate if given is None else given

    @property
    def n_rows(self) -> int:
        return len(self._train[0])

    def structure(self) -> Hashable:
        return str(describe(self.model.noise_decoder)), self.config, self._labels is None

    def batch(self, rows: Tensor) -> tuple[Tensor, ...]:
        return tuple(part[rows] for part in (*self._train, *(self._labels or ())[:1]))

    def loss(self, batch: tuple[Tensor, ...], progress: float) -> Tensor:
        x, x_tilde, *labels = batch
        model, floor, annealed = self.model, self._annealed_floor(progress), progress >= self.config.anneal_share
        pairs = model.encode_pairs(x, x_tilde)
        model.thickness.copy_(self.closed_form.clamp_min(floor))
        growth = self.log_growth.sum().exp() if annealed else 0.0 * self.log_growth.sum()
        model.growth.copy_(growth.detach())
        joint = model.joint(model.terms(pairs, growth=growth), *labels)
        self._update(pairs, joint, (x != x_tilde).any(1), annealed)
        return -torch.logsumexp(joint, 1).mean()

    def _annealed_floor(self, progress: float) -> float:
        share = self.config.anneal_share
        if share == 0 or progress >= share:
            return THICKNESS_FLOOR
        start = self.config.anneal_from
        return float(start * (THICKNESS_FLOOR / start) ** (progress / share))

    @torch.no_grad()
    def _update(self, pairs: NoisePairs, joint: Tensor, changed: Tensor, annealed: bool) -> None:
        posterior = torch.softmax(joint, 1)
        variance = self.model.staying_variance(pairs, posterior, changed)
        updated = self.closed_form.square().lerp(variance, _CLOSED_FORM_RATE)
        self.closed_form.copy_(updated.clamp_min(THICKNESS_FLOOR**2).sqrt())
        # a thickness far above the data's own blurs the posterior, and p_𝓘 would drift with it
        if annealed:
            probabilities = self.model.target_distribution.probabilities
            probabilities.copy_(probabilities.lerp(posterior.mean(0), _CLOSED_FORM_RATE))

    def validate(self) -> dict[str, float | list[float]]:
        model = self.model
        model.thickness.copy_(self.closed_form)
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


def fit_noise_encoder(
    prepared: Prepared,
    targets: TargetDistribution,
    config: NoiseEncoderConfig,
    generator: torch.Generator,
    closed_form: bool = False,
) -> Stages[ImplicitModel]:
    """Fit the implicit model from its linear start, or, with `closed_form`, stay there.

    When the linear start already leaves one-sparse differences, to twice the thickness floor, φ can only differ from it
    by one monotone map per variable (docs/theory.md section 2), and the rest of the flow is left out.
    """
    n, device = prepared.n, generator.device
    unmixing = prepared.unmixing[component_order(prepared, targets)]
    linear = LinearDecoder(n, torch.linalg.inv(unmixing).float().cpu()).to(device)
    mask = ~torch.eye(n, dtype=torch.bool)
    solution = SolutionFunctions(mask, config.solution_hidden, config.bins, torch.Generator().manual_seed(0))
    elementwise = ResidualDecoder(n, blocks=0, bins=config.bins)
    model = ImplicitModel(ChainDecoder([elementwise, linear]), solution, targets).to(device)
    _start_closed_form(model, prepared)
    if closed_form or bool((model.thickness <= _EXACT_THICKNESS).all()):
        model.share_marginal(elementwise.marginal)
        if not closed_form:
            schedule = Schedule(config.marginal_steps, config.batch_size)
            yield Job(_STAGE, MarginalObjective(model, prepared, config), schedule, generator)
            _start_closed_form(model, prepared)
        share = encode_prepared(model, prepared)[0].posterior.mean(0)
        model.target_distribution.probabilities.copy_(share)
        return model
    model.noise_decoder = ChainDecoder([_flow(n, config, generator), linear])
    objective = NoiseEncoderObjective(model, prepared, config)
    steps = config.steps_for(n, objective.n_rows)
    yield Job(_STAGE, objective, Schedule(steps, config.batch_size), generator)
    return model


def _flow(n: int, config: NoiseEncoderConfig, generator: torch.Generator) -> Decoder:
    """The flow that is configured, at the identity, its inner weights drawn by the generator, on its device."""
    flow = Flow.of_kind(config.flow)
    layers = flow.layers if config.layers is None else config.layers
    hidden = flow.hidden if config.hidden is None else config.hidden
    return flow.start(n, layers, hidden, config.bins, generator)


def component_order(prepared: Prepared, targets: TargetDistribution) -> Tensor:
    """Order (n,) of the components of the linear start that suits the target sets, or the targets that are known."""
    x, x_tilde = ((part[:_START_ROWS].double() @ prepared.unmixing.T).cpu().numpy() for part in prepared.train)
    if prepared.targets is not None:
        found = assign_components(x_tilde - x, prepared.targets[0][:_START_ROWS].cpu().numpy())
        return torch.from_numpy(found).to(prepared.unmixing.device)
    order = label_components(x, x_tilde, targets.target_sets.cpu().numpy())
    return torch.from_numpy(order).to(prepared.unmixing.device)


@torch.no_grad()
def _start_closed_form(model: ImplicitModel, prepared: Prepared) -> None:
    """Alternate the posterior and the closed form of σ on some of the pairs, from a wide and from a narrow start.

    The likelier of the two ends is kept; p_𝓘 stays as it is.
    """
    x, x_tilde = (part[:_START_ROWS] for part in prepared.train)
    labels = [part[:_START_ROWS] for part in (known_labels(prepared, model.target_distribution) or ())[:1]]
    changed = (x != x_tilde).any(1)
    pairs = NoisePairs(*in_chunks(model.encode_pairs, x, x_tilde))
    # all that does not depend on the thickness, which is most of the work, is computed once
    base, _, move = in_chunks(lambda *part: model.terms(NoisePairs(*part))[:3], *pairs)
    known = base, move, pairs.normal_tilde - pairs.normal

    def terms(base: Tensor, move: Tensor, difference: Tensor) -> PairTerms:
        return PairTerms(base, stay_log_density(difference, model.thickness), move)

    def posterior(*part: Tensor) -> tuple[Tensor]:
        return (model.posterior(terms(*part[:3]), *part[3:]),)

    ends = []
    for start in _START_THICKNESS:
        model.thickness.fill_(start)
        for _ in range(_START_UPDATES):
            (found,) = in_chunks(posterior, *known, *labels)
            variance = model.staying_variance(pairs, found, changed)
            model.thickness.copy_(variance.clamp_min(THICKNESS_FLOOR**2).sqrt())
        value = float(in_chunks(lambda *part: (model.log_density(terms(*part)),), *known)[0].mean())
        ends.append((value, model.thickness.clone()))
    model.thickness.copy_(max(ends, key=lambda end: end[0])[1])


def mean_log_density(model: ImplicitModel, pairs: tuple[Tensor, Tensor]) -> float:
    """Mean log p(x, x̃) of pairs (N, n) in the coordinates of the fit, in nats a pair, without gradients."""

    def log_density(x: Tensor, x_tilde: Tensor) -> tuple[Tensor]:
        return (model.log_density(model.terms(model.encode_pairs(x, x_tilde))),)

    return float(in_chunks(log_density, *pairs)[0].mean())


def encode_all(model: ImplicitModel, x: Rows, x_tilde: Rows, *labels: Tensor) -> Encoded:
    """Noise encodings and posterior of pairs (N, n), of the first 100,000 where there are more, without gradients.

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
