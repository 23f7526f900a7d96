"""Sites: finding, reading, checking and choosing the YAML files that describe machines."""

from __future__ import annotations

from hpcjobs.site.detect import Machine, Match, choose, explain_detection, settle
from hpcjobs.site.loading import Available, LoadedSite, Setting, available, check, load
from hpcjobs.site.problems import Known, Problem

__all__ = [
    "Available",
    "Known",
    "LoadedSite",
    "Machine",
    "Match",
    "Problem",
    "Setting",
    "available",
    "check",
    "choose",
    "explain_detection",
    "load",
    "settle",
]
