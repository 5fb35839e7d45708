"""Other forms of layers than those for the backend at hand, for comparisons of both in one process."""

from jaxnets import backend


def switch_off(monkeypatch, names):
    """Trace as in a process that was started with `JAXNETS_PLAIN=names`; functions traced before keep their form."""
    monkeypatch.setattr(backend, "_PLAIN", backend.plain_names(names))


def trace_for(monkeypatch, platform):
    """Trace as in a process that was started with `JAXNETS_PLATFORM=platform`; functions traced before keep theirs."""
    monkeypatch.setattr(backend, "_PLATFORM", backend.platform_name(platform))
