"""The certificate of a fit: every assumption with what these data say of it, and what they could have said."""

from __future__ import annotations

from lcm.run.certificate.judge import certify

__all__ = ["certify"]
