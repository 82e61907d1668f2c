"""A variational autoencoder in the style of the paper, a yardstick on the user's own machine; no part of the package.

Written from the description of the implicit latent causal model in Brehmer et al. 2022 (section 4), not from any code.

The paper's: a Gaussian encoder of each observation into noise encodings; coordinates that an intervention leaves alone
share one encoding, the average of the two; solution functions that map the noise to the causal variables, each given
all other noise; standard-normal noise and imposed values; a posterior over interventions that is a learned function of
how far each encoding moved; the evidence lower bound as a sum over all atomic interventions and the empty one; Adam
on mini-batches of a data loader.

Chosen here: two hidden layers of 64 units in every network, batches of 64 and a learning rate of 10⁻³, in the range of
small experiments; affine solution functions; a fixed variance of x; no schedule, pretraining or regulariser. The loop
over variables skips what an intervention does not touch, so the yardstick errs on the fast side.
"""

from __future__ import annotations

import math
import time
from typing import final

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

BATCH_SIZE = 64
HIDDEN = 64
_LEARNING_RATE = 1e-3
_VARIANCE_X = 0.01
_LOG_TWO_PI = math.log(2.0 * math.pi)


@final
class ReferenceStyleModel(nn.Module):
    """Encoder, decoder, one solution function a variable, and the posterior over interventions."""

    def __init__(self, n: int, hidden: int = HIDDEN) -> None:
        """n variables, observed in n dimensions; the weights are torch's own draw."""
        super().__init__()
        self.n = n
        self.encoder, self.decoder = _network(n, 2 * n, hidden), _network(n, n, hidden)
        self.solution = nn.ModuleList(_network(n - 1, 2, hidden) for _ in range(n))
        self.posterior = nn.Parameter(torch.tensor([0.0, 1.0, 1.0]))

    def elbo(self, x: Tensor, x_tilde: Tensor, draws: tuple[Tensor, Tensor]) -> Tensor:
        """Lower bound (N,) of log p(x, x̃) in nats, at standard-normal draws (N, n) for each observation."""
        before, after = (_moments(self.encoder(part)) for part in (x, x_tilde))
        log_posterior = self._log_posterior(after[0] - before[0])
        total = torch.zeros_like(x[:, 0])
        for index in range(self.n + 1):
            target = index - 1 if index > 0 else None
            bound = self._bound(x, x_tilde, before, after, draws, target)
            log_prior = -math.log(self.n + 1)
            total = total + log_posterior[:, index].exp() * (bound + log_prior - log_posterior[:, index])
        return total

    def _log_posterior(self, moved: Tensor) -> Tensor:
        """log q(I | x, x̃) (N, n + 1), the empty intervention first."""
        offset, linear, square = self.posterior
        scores = offset + linear * moved.abs() + square * moved.square()
        return torch.log_softmax(torch.cat([torch.zeros_like(scores[:, :1]), scores], 1), 1)

    def _bound(
        self,
        x: Tensor,
        x_tilde: Tensor,
        before: tuple[Tensor, Tensor],
        after: tuple[Tensor, Tensor],
        draws: tuple[Tensor, Tensor],
        target: int | None,
    ) -> Tensor:
        """The bound (N,) were `target` the one that was intervened on."""
        divergence = torch.zeros_like(x[:, 0])
        noise, noise_tilde = [], []
        for j in range(self.n):
            mean, spread = before[0][:, j], before[1][:, j]
            if j != target:
                mean = 0.5 * (mean + after[0][:, j])
                spread = 0.5 * (spread.square() + after[1][:, j].square()).sqrt()
            noise.append(mean + spread * draws[0][:, j])
            divergence = divergence + _log_normal(draws[0][:, j]) - spread.log() - _log_normal(noise[j])
            if j == target:
                noise_tilde.append(after[0][:, j] + after[1][:, j] * draws[1][:, j])
                divergence = divergence + _log_normal(draws[1][:, j]) - after[1][:, j].log()
            else:
                noise_tilde.append(noise[j])
        encoded, encoded_tilde = torch.stack(noise, 1), torch.stack(noise_tilde, 1)
        fit = self._fit(x, encoded) + self._fit(x_tilde, encoded_tilde)
        if target is not None:
            fit = fit + self._imposed(encoded_tilde, target)
        return fit - divergence

    def _imposed(self, noise_tilde: Tensor, target: int) -> Tensor:
        """log-density (N,) of the target's noise encoding, through its solution function."""
        others = torch.cat([noise_tilde[:, :target], noise_tilde[:, target + 1 :]], 1)
        shift, log_scale = self.solution[target](others).unbind(1)
        return _log_normal(shift + log_scale.exp() * noise_tilde[:, target]) + log_scale

    def _fit(self, x: Tensor, noise: Tensor) -> Tensor:
        residual = (x - self.decoder(noise)).square() / _VARIANCE_X
        return -0.5 * (residual + math.log(_VARIANCE_X) + _LOG_TWO_PI).sum(1)


def _network(inputs: int, outputs: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, outputs)
    )


def _moments(outputs: Tensor) -> tuple[Tensor, Tensor]:
    mean, log_spread = outputs.chunk(2, 1)
    return mean, log_spread.clamp(-7.0, 3.0).exp()


def _log_normal(values: Tensor) -> Tensor:
    return -0.5 * (values.square() + _LOG_TWO_PI)


@final
class Training:
    """Trains the model on pairs, step after step, as a script would: a data loader, a loss, Adam."""

    def __init__(self, x: np.ndarray, x_tilde: np.ndarray, seed: int, batch_size: int = BATCH_SIZE) -> None:
        """Pairs (N, n), standardised here; the seed decides weights, batches and draws."""
        first, second = (torch.from_numpy((part - x.mean(0)) / x.std(0)).float() for part in (x, x_tilde))
        self._generator = torch.Generator().manual_seed(seed)
        # the layers draw their weights from the global generator
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.model = ReferenceStyleModel(first.shape[1])
        self._optimiser = torch.optim.Adam(self.model.parameters(), lr=_LEARNING_RATE)
        self._loader = DataLoader(
            TensorDataset(first, second), batch_size, shuffle=True, drop_last=True, generator=self._generator
        )

    def run(self, seconds: float, most_steps: int | None = None) -> tuple[list[float], float]:
        """Train for some seconds, or until so many steps; returns the loss of every step, and the seconds spent."""
        losses: list[float] = []
        started = time.perf_counter()
        while True:
            for x, x_tilde in self._loader:
                losses.append(self._step(x, x_tilde))
                spent = time.perf_counter() - started
                if spent >= seconds or len(losses) == most_steps:
                    return losses, spent

    def _step(self, x: Tensor, x_tilde: Tensor) -> float:
        draws = torch.randn(2, *x.shape, generator=self._generator)
        loss = -self.model.elbo(x, x_tilde, (draws[0], draws[1])).mean()
        self._optimiser.zero_grad()
        loss.backward()
        self._optimiser.step()
        return loss.item()
