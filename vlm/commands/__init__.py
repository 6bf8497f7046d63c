"""The subcommands of `python -m vlm`, one file each, imported when they are asked for.

Each module has `add_arguments(parser)` and `run(arguments, settings) -> exit status`.
"""

NAMES = (
    *("chat", "describe", "compare", "trace", "explain", "embed", "models", "info"),
    *("fit", "quantize", "compare-precision", "bench"),
)
