"""Who may use a cluster."""

from mapreduce.authentication.auth import Auth

__all__ = ["Auth"]
