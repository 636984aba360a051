"""Commands that are imported once somebody asks for them: the list of all commands needs their sentences alone."""

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_group


class Late(NamedTuple):
    """A command or a group of them: what `maker` of `module` (without `amana.`) makes of what is `given`."""

    name: str
    told: str
    module: str
    given: tuple[Callable[..., Any], ...]
    maker: str = "group"


class LateCommand(TyperCommand):
    """Stands for it in the list of all commands."""

    def __init__(self, late: Late) -> None:
        super().__init__(late.name, help=late.told)
        self._late = late

    def loaded(self) -> Any:
        """The real one."""
        name, _, module, given, maker = self._late
        made = getattr(import_module(f"amana.{module}"), maker)(*given)
        within = typer.Typer()
        if isinstance(made, typer.Typer):
            within.add_typer(made, name=name)
        else:
            within.command(name)(made)
        return get_group(within).commands[name]

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Of the real one: parsing, help and the work are all its own from here on."""
        return self.loaded().make_context(info_name, args, parent, **extra)


def group_with(more: Sequence[Late]) -> type[TyperGroup]:
    """The kind of an application that has, after its own commands, those of `more`."""

    class Group(TyperGroup):
        def __init__(self, **given: Any) -> None:
            super().__init__(**given)
            for late in more:
                self.add_command(LateCommand(late))

    return Group
