"""Families of classes told apart by a `kind`, each with one table that its subclasses enter by themselves."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from lcm.base.requirement import one_of


class Kinds:
    """Abstract: what a family of classes shares.

    A family is a subclass declared with `family=True`. Every further subclass that sets `kind` enters the family's
    table, so a new kind is one class in one file, and one line that imports it in the `__init__` of its package.

    Attributes:
        kind: the name of the class in files and configs.
        kinds: the table of the family, from a kind to its class.
    """

    kind: str
    kinds: ClassVar[dict[str, Any]]

    def __init_subclass__(cls, family: bool = False, **further: Any) -> None:
        super().__init_subclass__(**further)
        if family:
            cls.kinds = {}
        elif "kind" in vars(cls) and hasattr(cls, "kinds"):
            cls.kinds[cls.kind] = cls

    @classmethod
    def names(cls) -> list[str]:
        """The kinds of this class and its subclasses, sorted."""
        return sorted(kind for kind, found in cls.kinds.items() if issubclass(found, cls))

    @classmethod
    def of_kind(cls, kind: Any) -> type[Self]:
        """The class of a kind, among this class and its subclasses; ValueError where there is none."""
        found: type[Self] = cls.kinds[one_of(kind, cls.names())]
        return found


class KindConfig(Kinds):
    """Abstract: settings of a part that comes in several kinds; a family of frozen dataclasses told apart by `kind`.

    A field of the family's type takes any of them from a config; without a `kind` it is the `default`.
    """

    default: ClassVar[str]
