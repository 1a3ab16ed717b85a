"""Clusters whose processes others start: on other machines, by hand or by another program."""

from __future__ import annotations

from mapreduce import _arguments, _native
from mapreduce.authentication.auth import Auth
from mapreduce.cluster.cluster import Cluster
from mapreduce.errors import ClusterError


class ConnectedCluster(Cluster):
    """A cluster that runs whether or not this process does. Made by :func:`connect`.

    Attributes:
        url: Where its coordination is.
    """

    def __init__(self, native: _native.Connection, url: str, *, verbose: bool) -> None:
        super().__init__(native, owned=False, verbose=verbose)
        self.url = url
        self._say(f"connected to the cluster at {url}")

    def __repr__(self) -> str:
        state = "" if self._finish.alive else " (closed)"
        return f"<ConnectedCluster at {self.url}{state}>"

    def close(self) -> None:
        """Ends the connection; the cluster and its jobs go on. Calling it again does nothing."""
        self._client.check_process()
        self._finish()

    def scale(self, n_workers: int | None = None, n_masters: int | None = None) -> None:
        """Can't be done from here.

        Raises:
            ClusterError: Always; it says who can.
        """
        raise self._started_elsewhere("start more of them, or end some")

    def kill(self, *ids: str) -> None:
        """Can't be done from here.

        Raises:
            ClusterError: Always; it says who can.
        """
        raise self._started_elsewhere("kill them")

    def shutdown_cluster(self, cleanup: bool = False) -> None:
        """Can't be done from here; :meth:`close` ends the connection.

        Raises:
            ClusterError: Always; it says who can.
        """
        raise self._started_elsewhere("end them, and call close() to end this connection")

    def _started_elsewhere(self, what: str) -> ClusterError:
        return ClusterError(
            f"the masters and workers of the cluster at {self.url} were not started by this object, but by hand or by "
            f"another LocalCluster: {what} where that was done"
        )


def connect(url: str, auth: Auth, *, verbose: bool = False) -> ConnectedCluster:
    """Connects to a cluster that runs, on this machine or others.

    Use the result in a ``with`` block, or call its ``close``; neither ends the cluster.

    Args:
        url: Where the masters and workers meet: what they were given as ``--coordination``, or
            ``sqlite:///absolute/directory`` for the cluster in a directory of this machine. The rest is found there.
        auth: Who submits jobs; the masters check it. Its ``users`` are not used: masters know where theirs are.
        verbose: Whether to print a line when something happens.

    Raises:
        InvalidArgumentError: An argument can't work; the message names it.
        AuthenticationError: There is no such user, or the password is wrong; the message says which.
        NoMasterError: No master answered; the message says for how long one was looked for.
        ClusterError: There is no cluster, or it can't be reached; the message says what and where.
    """
    _arguments.text("url", url)
    _arguments.auth(auth)
    _arguments.flag("verbose", verbose)
    _, username, password = auth._login()
    return ConnectedCluster(_native.Connection.open(url, username, password), url, verbose=verbose)
