"""Data sets."""

from jaxnets.data.digits import DataSet, digits

__all__ = ["DataSet", "digits"]
