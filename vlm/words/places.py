"""Words of boxes, points and regions: key -> (English, Simplified Chinese). See `vlm.strings`."""

from collections.abc import Mapping

PLACES: Mapping[str, tuple[str, str]] = {
    "places.on": ("Places on {name}", "{name} 上的位置"),
    "places.image": ("Image {number}: {name}.", "第 {number} 张：{name}。"),
    "places.unsaid": (
        "The answer does not say which image it means; it may be another one.",
        "回答没有说明指哪张图片，也可能是另一张。",
    ),
    "places.copy": ("Copy as JSON", "复制为 JSON"),
    "places.save": ("Save JSON", "保存 JSON"),
    # ---- a region marked by hand ----
    "region.mark": ("Mark a region", "框选区域"),
    "region.end": ("Leave it", "取消框选"),
    "region.ask": ("Ask about this region", "就此区域提问"),
    "region.how": (
        "Draw a rectangle on the photo. By keys: arrows move it, Shift with arrows sizes it, Enter "
        "takes it, Esc leaves it.",
        "在照片上拖出一个矩形。用键盘：方向键移动，Shift 加方向键改变大小，Enter 确定，Esc 取消。",
    ),
    "region.frame": (
        "Region: {left} % from the left, {top} % from the top, {width} % wide, {height} % high",
        "区域：距左 {left}%，距上 {top}%，宽 {width}%，高 {height}%",
    ),
}
