"""Hosts of their own, and networks between them that fall apart: `make hosts`."""
