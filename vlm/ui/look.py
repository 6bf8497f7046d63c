"""How the page looks: a Gradio theme in warm grey with one accent, and what stands in its head."""

from pathlib import Path

from gradio import themes

# Answers are written by a model that may have read an address in a picture: nothing outside this
# page is ever fetched for them.
HEAD = """
<meta name="viewport" content="width=device-width, initial-scale=1, viewport-fit=cover">
<meta http-equiv="Content-Security-Policy" content="
    default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:;
    style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; media-src 'self' data: blob:;
    font-src 'self' data:; connect-src 'self' blob: data:; worker-src 'self' blob:;
    object-src 'none'; base-uri 'self'; form-action 'self'">
<meta name="referrer" content="no-referrer">
"""

SCRIPTS = ("page.js", "compare.js", "inspect.js", "places.js", "region.js")
"""Files in assets, in the order in which they run."""


def head(assets: Path) -> str:
    """What stands in the head of the page: its policy, and the scripts of the page itself."""
    scripts = [(assets / name).read_text(encoding="utf-8") for name in SCRIPTS]
    return HEAD + "".join(f"<script>\n{script}</script>\n" for script in scripts)


FONTS = ("system-ui", "-apple-system", "Segoe UI", "Noto Sans CJK SC", "PingFang SC", "sans-serif")
MONOSPACED = ("ui-monospace", "SF Mono", "Consolas", "monospace")


def theme() -> themes.Base:
    """The theme: system fonts, 8 px corners, no shadows, teal where something can be done."""
    base = themes.Base(
        primary_hue=themes.colors.teal,
        secondary_hue=themes.colors.stone,
        neutral_hue=themes.colors.stone,
        spacing_size=themes.sizes.spacing_md,
        radius_size=themes.sizes.radius_md,
        text_size=themes.sizes.text_md,
        font=FONTS,
        font_mono=MONOSPACED,
    )
    return base.set(
        body_background_fill="*neutral_50",
        body_background_fill_dark="*neutral_950",
        block_shadow="none",
        block_shadow_dark="none",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        button_primary_text_color="white",
        border_color_accent_subdued="*neutral_200",
        border_color_accent_subdued_dark="*neutral_700",
        color_accent_soft="*neutral_100",
        color_accent_soft_dark="*neutral_800",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_400",
        input_placeholder_color="*neutral_500",
        input_placeholder_color_dark="*neutral_400",
    )
