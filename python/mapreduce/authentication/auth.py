"""Credentials, and the management of users."""

from __future__ import annotations

from typing import Literal

from mapreduce import _arguments, _native
from mapreduce.errors import AuthenticationError

Role = Literal["admin", "user"]


class Auth:
    """A user's credentials.

    Making one checks nothing; :meth:`is_authenticated` does, and so do masters, on every call. Users are kept in
    SQLite with argon2id. A new store has one user: ``admin`` with the password ``admin``, who can't be deleted.

    Args:
        username: The user's name.
        password: The user's password.
        users: URL of the user store, such as ``sqlite:///home/me/users``; the default is the store in
            ``$MAPREDUCE_HOME`` (``~/.local/share/mapreduce``), which all local clusters of a person share.

    Raises:
        InvalidArgumentError: An argument is not a text, or empty.
    """

    def __init__(self, username: str, password: str, *, users: str | None = None) -> None:
        self.username = _arguments.text("username", username)
        self._password = _arguments.text("password", password)
        self.users = None if users is None else _arguments.text("users", users)

    def __repr__(self) -> str:
        return f"Auth(username={self.username!r})"

    def _login(self) -> tuple[str | None, str, str]:
        return self.users, self.username, self._password

    @property
    def role(self) -> Role:
        """What the user may do: an ``admin`` manages users, a ``user`` runs jobs.

        Raises:
            AuthenticationError: The user is unknown or the password is wrong; the message says which.
        """
        role: Role = "admin" if _native.login(*self._login()) == "admin" else "user"
        return role

    def is_authenticated(self) -> bool:
        """Whether there is such a user with this password."""
        try:
            _native.login(*self._login())
        except AuthenticationError:
            return False
        return True

    def create_user(self, username: str, password: str, role: Role = "user") -> None:
        """Adds a user. Only an admin may.

        Args:
            username: The new user's name.
            password: The new user's password.
            role: ``user`` or ``admin``.

        Raises:
            AuthenticationError: These credentials do not hold.
            PermissionDeniedError: This user is not an admin.
            InvalidArgumentError: The name is taken or empty, the password empty, or there is no such role.
        """
        _arguments.text("username", username)
        _arguments.text("password", password)
        _arguments.one_of("role", role, ("user", "admin"))
        _native.create_user(*self._login(), username, password, role)

    def delete_user(self, username: str) -> None:
        """Removes a user. Only an admin may, and the default admin stays.

        Args:
            username: Whom to remove.

        Raises:
            AuthenticationError: These credentials do not hold.
            PermissionDeniedError: This user is not an admin, or ``username`` is the default admin.
            InvalidArgumentError: There is no such user.
        """
        _arguments.text("username", username)
        _native.delete_user(*self._login(), username)

    def change_password(self, password: str, username: str | None = None) -> None:
        """Sets a new password; after changing one's own, this object goes on with the new one.

        Args:
            password: The new password.
            username: Whose; the default is one's own. Only an admin may change another's.

        Raises:
            AuthenticationError: These credentials do not hold.
            PermissionDeniedError: Another's password, and this user is not an admin.
            InvalidArgumentError: There is no such user, or the password is empty.
        """
        _arguments.text("password", password)
        whose = self.username if username is None else _arguments.text("username", username)
        _native.change_password(*self._login(), whose, password)
        if whose == self.username:
            self._password = password
