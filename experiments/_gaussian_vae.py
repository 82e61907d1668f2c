"""A variational autoencoder on observations alone (Kingma & Welling 2014): what pairs are compared with.

Without pairs its latent variables are not identified: models of equal likelihood differ in them (docs/theory.md
section 4).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, Literal, final

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from lcm.base.chunks import in_chunks
from lcm.base.rows import writable
from lcm.learn.training.loop import optimise
from lcm.learn.training.objective import Objective, ParameterGroup, Schedule
from lcm.learn.training.tracker import Recorder
from lcm.model.pair_model import MODEL_TYPES, PairModel

_SETTINGS = ("n", "d", "hidden", "layers", "covariance")
_LOG_TWO_PI = math.log(2.0 * math.pi)
_LEAST_VARIANCE = 1e-4
_START_LOG_VARIANCE = -3.0
# The reciprocal of the root mean square of SiLU at a standard normal.
_SILU_GAIN = 1.68
_LEAST_ROWS = 50
_HELD_OUT_SHARE = 0.1
_HELD_OUT_SAMPLES = 16


@final
class GaussianVAE(nn.Module):
    """z ~ N(0, I), x | z ~ N(decoder(z), diag(variance)), and an encoder that makes q(z | x) = N(mean, L Lᵀ).

    x is standardised inside, coordinate by coordinate; there the variance is learned and at least 1e-4, since data near
    a surface of n < d dimensions would make the likelihood unbounded. L is diagonal, as usual, or lower triangular.
    A diagonal one makes the bound prefer some axes among those of equal likelihood: axes of the variational family, not
    of the data's causes (Rolínek et al. 2019).
    """

    kind: ClassVar[str] = "gaussian-vae"
    location: Tensor
    scale: Tensor

    def __init__(
        self, n: int, d: int, hidden: int = 64, layers: int = 2, covariance: Literal["full", "diagonal"] = "diagonal"
    ) -> None:
        """n latent variables, x of d dimensions, networks of `layers` hidden layers (0: linear) of `hidden` units.

        All weights are zero until `draw_weights` draws them, and the variance of x is 1.

        Raises:
            ValueError: n, d or hidden below 1, layers below 0, or an unknown covariance.
        """
        super().__init__()
        for name, value, least in (("n", n, 1), ("d", d, 1), ("hidden", hidden, 1), ("layers", layers, 0)):
            if value < least:
                raise ValueError(f"{name}: Expected at least {least}; got {value}.")
        if covariance not in ("full", "diagonal"):
            raise ValueError(f"covariance: Expected full or diagonal; got {covariance!r}.")
        self.n, self.d, self.hidden, self.layers, self.covariance = n, d, hidden, layers, covariance
        self._below = torch.tril_indices(n, n, -1) if covariance == "full" else torch.zeros(2, 0, dtype=torch.long)
        self.encoder = _network(d, 2 * n + self._below.shape[1], hidden, layers)
        self.decoder = _network(n, d, hidden, layers)
        self.log_variance = nn.Parameter(torch.zeros(d))
        self.register_buffer("location", torch.zeros(d))
        self.register_buffer("scale", torch.ones(d))

    @torch.no_grad()
    def draw_weights(self, generator: torch.Generator) -> None:
        """Draw the weights of both networks, at unit gain, and set a small variance of x; biases stay as they are.

        At a variance as large as that of the data, the encoder would first learn to say nothing.
        """
        self.log_variance.fill_(_START_LOG_VARIANCE)
        for network in (self.encoder, self.decoder):
            for layer in network:
                if isinstance(layer, nn.Linear):
                    gain = 1.0 if layer is network[0] else _SILU_GAIN
                    drawn = torch.randn(layer.weight.shape, generator=generator, device=generator.device)
                    layer.weight.copy_(gain * drawn / math.sqrt(layer.in_features))

    def encode(self, x: ArrayLike | Tensor) -> Tensor:
        """Posterior means (N, n) of observations x (N, d), an array or tensor of any precision.

        Raises:
            ValueError: x is not of shape (N, d).
        """
        return self._posterior(self._standardised(x))[0]

    def decode(self, z: Tensor) -> Tensor:
        """Means (N, d) of x given latent variables z (N, n)."""
        mean: Tensor = self.location + self.scale * self.decoder(z)
        return mean

    def elbo(self, x: ArrayLike | Tensor, generator: torch.Generator, samples: int = 1) -> Tensor:
        """A lower bound (N,) of log p(x) in nats, in the units of x; its expectation is taken over `samples` draws.

        Raises:
            ValueError: x is not of shape (N, d).
        """
        values = self._standardised(x)
        shape = (samples, len(values), self.n)
        normal = torch.randn(shape, generator=generator, device=generator.device, dtype=values.dtype)
        return self.elbo_at(values, normal) - self.scale.log().sum()

    def elbo_at(self, values: Tensor, normal: Tensor) -> Tensor:
        """The bound (N,) for standardised x (N, d), in these units, with given standard-normal draws (S, N, n)."""
        mean, log_diagonal, factor = self._posterior(values)
        variance = self._variance()
        residual = values - self.decoder(mean + (factor @ normal.unsqueeze(-1)).squeeze(-1))
        fit = -0.5 * (residual.square() / variance + variance.log() + _LOG_TWO_PI).sum(-1).mean(0)
        traces = mean.square().sum(-1) + factor.square().sum((-2, -1))
        divergence: Tensor = 0.5 * (traces - self.n) - log_diagonal.sum(-1)
        return fit - divergence

    def _variance(self) -> Tensor:
        return _LEAST_VARIANCE + self.log_variance.exp()

    def _posterior(self, values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Means (N, n), the logarithms (N, n) of the diagonal of L, and the lower triangular L (N, n, n)."""
        parts = self.encoder(values).split([self.n, self.n, self._below.shape[1]], -1)
        factor = torch.diag_embed(parts[1].exp())
        factor[:, self._below[0], self._below[1]] = parts[2]
        return parts[0], parts[1], factor

    def _standardised(self, x: ArrayLike | Tensor) -> Tensor:
        values = torch.as_tensor(writable(x)).to(self.location)
        if values.dim() != 2 or values.shape[1] != self.d:
            raise ValueError(f"x: Expected shape (N, {self.d}); got {tuple(values.shape)}.")
        return (values - self.location) / self.scale

    def description(self) -> dict[str, Any]:
        """JSON description that `GaussianVAE.build` turns back into a model without its tensors."""
        return {"type": self.kind, **{key: getattr(self, key) for key in _SETTINGS}}

    @staticmethod
    def build(description: dict[str, Any]) -> GaussianVAE:
        """Rebuild a model, without its tensors, from `description`."""
        return GaussianVAE(**{key: description[key] for key in _SETTINGS})

    # one file format for all models, also for this one, which knows nothing of pairs
    save = PairModel.save


MODEL_TYPES[GaussianVAE.kind] = GaussianVAE.build


def _network(inputs: int, outputs: int, hidden: int, layers: int) -> nn.Sequential:
    widths = [inputs, *[hidden] * layers, outputs]
    parts: list[nn.Module] = []
    for before, after in pairwise(widths):
        # without torch's own draw, which would take from the global generator
        linear = nn.utils.skip_init(nn.Linear, before, after)
        nn.init.zeros_(linear.weight)
        nn.init.zeros_(linear.bias)
        parts += [linear, nn.SiLU()]
    return nn.Sequential(*parts[:-1])


@final
@dataclass(frozen=True)
class VAEConfig:
    """A variational autoencoder of n latent variables, and its optimiser."""

    n: int
    hidden: int = 64
    layers: int = 2
    covariance: Literal["full", "diagonal"] = "diagonal"
    steps: int = 4000
    batch_size: int = 512
    learning_rate: float = 5e-3

    def __post_init__(self) -> None:
        for key in ("n", "hidden", "steps", "batch_size"):
            if getattr(self, key) < 1:
                raise ValueError(f"{key}: Expected at least 1; got {getattr(self, key)}.")
        if self.layers < 0:
            raise ValueError(f"layers: Expected at least 0; got {self.layers}.")
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate: Expected a positive number; got {self.learning_rate}.")


@final
@dataclass(frozen=True, eq=False)
class VAEResult:
    """A fitted model, its mean held-out ELBO in nats an observation in data units, and a record for each validation."""

    model: GaussianVAE
    elbo: float
    records: tuple[dict[str, Any], ...]


@final
class _VAEObjective(Objective):
    """The negative mean ELBO of standardised observations."""

    def __init__(
        self, model: GaussianVAE, train: Tensor, held_out: Tensor, rate: float, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.model, self._rate, self._generator = model, rate, generator
        self._train, self._held_out = train, held_out
        # one set of draws for all validations, or their luck would choose among states
        self._draws = self._normal(_HELD_OUT_SAMPLES, len(held_out))

    def _normal(self, samples: int, rows: int) -> Tensor:
        shape = (samples, rows, self.model.n)
        return torch.randn(shape, generator=self._generator, device=self._generator.device)

    def groups(self) -> list[ParameterGroup]:
        return [ParameterGroup(list(self.model.parameters()), self._rate)]

    @property
    def n_rows(self) -> int:
        return len(self._train)

    def batch(self, rows: Tensor) -> tuple[Tensor, ...]:
        return (self._train[rows],)

    def loss(self, batch: tuple[Tensor, ...], progress: float) -> Tensor:
        return -self.model.elbo_at(batch[0], self._normal(1, len(batch[0]))).mean()

    def validate(self) -> dict[str, float | list[float]]:
        return {"validation_log_likelihood": self.held_out_bound()}

    def held_out_bound(self) -> float:
        """Mean ELBO of the held-out observations, in nats, in the units of the data."""
        (values,) = in_chunks(
            lambda x, draws: (self.model.elbo_at(x, draws.transpose(0, 1)),),
            self._held_out,
            self._draws.transpose(0, 1),
        )
        return float(values.mean() - self.model.scale.log().sum())


def fit_vae(x: ArrayLike | Tensor, config: VAEConfig, seed: int = 0, progress: bool = False) -> VAEResult:
    """Fit a variational autoencoder to observations x (N, d), array or tensor; the seed decides everything random.

    A tenth of x is held out for early stopping and for the ELBO of the result.

    Raises:
        ValueError: x is not of shape (N, d), has fewer than 50 rows, a constant column, NaN or infinite entries.
        FloatingPointError: an ELBO that is not finite.
    """
    observations = _checked(x)
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(observations), generator=generator)
    held_out, train = observations[order].split([count := _held_out_rows(len(order)), len(order) - count])
    # not of all rows: what varies in a held-out row alone has no scale to be divided by
    _require_varying(train)
    model = GaussianVAE(config.n, observations.shape[1], config.hidden, config.layers, config.covariance)
    model.draw_weights(generator)
    model.location.copy_(train.mean(0))
    model.scale.copy_(train.std(0))
    train, held_out = (((part - model.location) / model.scale).float() for part in (train, held_out))
    objective = _VAEObjective(model, train, held_out, config.learning_rate, generator)
    recorder = Recorder(progress=progress)
    optimise(objective, Schedule(config.steps, config.batch_size), generator, recorder.stage(0, "autoencoder"))
    recorder.close()
    return VAEResult(model.requires_grad_(False), objective.held_out_bound(), tuple(recorder.records))


def _held_out_rows(rows: int) -> int:
    return max(1, round(_HELD_OUT_SHARE * rows))


def _checked(x: ArrayLike | Tensor) -> Tensor:
    values = torch.as_tensor(x if isinstance(x, Tensor) else writable(np.asarray(x))).double()
    if values.dim() != 2 or values.shape[1] == 0:
        raise ValueError(f"x: Expected shape (N, d); got {tuple(values.shape)}.")
    if len(values) < _LEAST_ROWS:
        raise ValueError(f"x: Expected at least {_LEAST_ROWS} rows; got {len(values)}.")
    finite = values.isfinite().all(1)
    if not bool(finite.all()):
        raise ValueError(f"x: Expected finite entries; got {int((~finite).sum())} rows with others.")
    return values


def _require_varying(train: Tensor) -> None:
    constant = train.amax(0) == train.amin(0)
    if bool(constant.any()):
        raise ValueError(f"x: Expected columns that vary; got a constant column {int(constant.int().argmax())}.")
