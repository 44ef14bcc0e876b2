"""What a system is, in a line and as a table."""

from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Any

from sfumato.errors import InputError
from sfumato.parts import NETWORKS, SAMPLERS, SPACINGS, spell_table
from sfumato.wording import count, few

if TYPE_CHECKING:
    from sfumato.system.system import System


def described(system: "System") -> dict[str, str]:
    """What a system is: its name if it has one, network, parameters, what it reads and draws, and how. No weight is
    read for it."""
    settings, name = system.settings, system.opened.get("model")
    guidance = "" if settings.guidance == 1 else f", guidance {settings.guidance:g}"
    sampler, spacing = SAMPLERS.dump(settings.sampler), SPACINGS.dump(settings.spacing)
    return {
        **({"name": str(name)} if name else {}),
        "network": f"{network_kind(system)}, {_millions(parameters(system))}",
        "reads": _read(system),
        "draws": f"{system.medium.plural} of {system.medium.size_text(settings.size)}",
        "by": f"{spell_table(sampler).split(',')[0]}, {spacing['kind']}, {count(settings.steps, 'step')}{guidance}",
    }


def line(system: "System") -> str:
    """A system on one line."""
    facts = described(system)
    shown = [facts[key] for key in ("name", "network", "draws") if key in facts]
    return f"System({', '.join([*shown, 'reads ' + facts['reads']])})"


def table(facts: Mapping[str, str]) -> str:
    """Facts as a small table of HTML."""
    rows = (f"<tr><th style='text-align:left'>{escape(k)}</th><td>{escape(v)}</td></tr>" for k, v in facts.items())
    return f"<table>{''.join(rows)}</table>"


def network_kind(system: "System") -> str:
    """The kind of the network, within whatever is around it."""
    try:
        spec: Any = NETWORKS.dump(system.network)
    except InputError:  # somebody's own
        return type(system.network).__name__
    while isinstance(spec.get("network"), Mapping):
        spec = spec["network"]
    return spec["kind"]


def parameters(system: "System") -> int:
    """How many numbers were learned, of the network and of the codec."""
    return sum(one.numel() for module in system._modules().values() for one in module.parameters())


def _read(system: "System") -> str:
    reads, classes = system.conditioner.reads, getattr(system.conditioner, "classes", ())
    return f"{reads} ({few([str(one) for one in classes])})" if classes else reads


def _millions(number: int) -> str:
    return f"{number / 1e6:.1f}M parameters" if number >= 1e6 else count(number, "parameter")
