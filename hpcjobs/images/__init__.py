"""Container images: what planning needs to see of one. The rest of `hpcjob image` is in the modules beside."""

from hpcjobs.images.facts import inspect

__all__ = ["inspect"]
