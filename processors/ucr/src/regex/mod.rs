//! Regular expressions in the dialect of Python.
