"""pendel: interlibrary transport and reservation analytics.

Importing this package imports neither Prefect nor Great Expectations: `flows/` is the only place that knows
Prefect, and `pendel.gates` imports Great Expectations when it checks something.
"""

__version__ = "0.1.0"
