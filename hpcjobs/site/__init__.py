"""Sites: finding, reading, checking and choosing the YAML files that describe machines."""

from __future__ import annotations

from hpcjobs.site.detect import HERE, Machine, Match, choose, explain_detection, is_here, settle
from hpcjobs.site.loading import Available, LoadedSite, Setting, available, check, is_name, load
from hpcjobs.site.problems import Known, Problem

__all__ = [
    "HERE",
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
    "is_here",
    "is_name",
    "load",
    "settle",
]
