"""Words of the Compare tab, comparing images: key -> (English, Simplified Chinese)."""

from collections.abc import Mapping

COMPARE: Mapping[str, tuple[str, str]] = {
    "section.images": ("Two images", "两张图片"),
    # ---- before there are two images ----
    "pair.first": ("First picture: drop it here or click", "第一张图片：拖到这里或点击选择"),
    "pair.second": ("Second picture: drop it here or click", "第二张图片：拖到这里或点击选择"),
    "pair.empty": ("Drop two photos to see what changed", "放入两张照片，看看有什么变化"),
    "pair.empty.info": (
        "Up to {limit}, of any size. They may be turned, cropped or lit differently.",
        "最多 {limit} 张，尺寸不限；角度、裁剪和光线可以不同。",
    ),
    "pair.one_more": ("One more picture to compare it with", "再放入一张与它比较"),
    "pair.example": ("Or try a pair", "或试试这些"),
    "pair.example.coffee": (
        "Before and after the coffee: turned, smaller, brighter",
        "喝咖啡前后：旋转、缩小、变亮",
    ),
    "pair.example.photographer": (
        "What is missing on the horizon? In grey",
        "地平线上少了什么？（灰度）",
    ),
    # ---- the row above ----
    "pair.images": ("Pictures", "图片"),
    "pair.add": ("Add", "添加"),
    "pair.swap": ("Swap", "交换"),
    "pair.clear": ("Clear", "清空"),
    "pair.align": ("Align", "对齐"),
    "pair.remove": ("Remove picture {number}", "移除图片 {number}"),
    "pair.as_first": ("Left", "左"),
    "pair.as_second": ("Right", "右"),
    "pair.as_first.label": ("Put picture {number} left", "将图片 {number} 放在左侧"),
    "pair.as_second.label": ("Put picture {number} right", "将图片 {number} 放在右侧"),
    # ---- the pictures ----
    "pair.viewer": ("The two pictures", "两张图片"),
    "pair.view": ("View", "查看方式"),
    "pair.view.slider": ("Slider", "滑块"),
    "pair.view.blink": ("Blink", "闪烁"),
    "pair.view.beside": ("Side by side", "并排"),
    "pair.view.heat": ("Heat map", "热图"),
    "pair.view.model": ("As the model sees it", "模型所见"),
    "pair.slider": ("How much of the left picture is shown", "左侧图片显示的比例"),
    "pair.blink.pause": ("Pause", "暂停"),
    "pair.blink.play": ("Blink", "闪烁"),
    "pair.zoom_in": ("Closer", "放大"),
    "pair.zoom_out": ("Farther", "缩小"),
    "pair.zoom_fit": ("Whole", "全图"),
    "pair.boxes": ("Boxes", "方框"),
    "pair.keys": (
        "Keys: ← → move the slider, B blinks, D shows the difference, 1 to 9 go to a region, Esc "
        "goes back, + and − zoom. Drag to move a picture that is zoomed.",
        "按键：← → 移动滑块，B 闪烁，D 显示差异，1 到 9 前往区域，Esc 返回，+ 和 − 缩放。"
        "放大后可拖动图片。",
    ),
    "pair.heat.alt": ("Differences of colour, as a heat map", "颜色差异热图"),
    "pair.model.alt": ("Differences as the model sees them, as a heat map", "模型所见差异热图"),
    "pair.scale.same": ("{value}: the same colour", "{value}：颜色相同"),
    "pair.scale.low": ("alike up to {value}", "{value} 以内算相同"),
    "pair.scale.high": ("{value} and more", "{value} 及以上"),
    "pair.heat.caption": (
        "How far apart the colours are at each pixel: about 2 can just be seen, black and white "
        "are 100 apart.",
        "每个像素颜色相差多少：约 2 刚能看出，黑与白相差 100。",
    ),
    "pair.model.caption": (
        "Cosine distance of what the model's vision tower makes of each position: {floor} is what "
        "recompression alone does, 1 is unrelated. One cell is one position of the tower, about "
        "{width} × {height} px: the map shows nothing finer.",
        "模型的视觉塔在每个位置得出的特征相差多少（余弦距离）："
        "{floor} 相当于仅重新压缩，1 为毫无关联。一格是视觉塔的一个位置，"
        "约 {width} × {height} 像素，更细的差异在图上看不出。",
    ),
    # ---- figures ----
    "pair.figures": ("Figures", "数据"),
    "pair.similarity": ("similar", "相似度"),
    "pair.changed": ("changed", "变化"),
    "pair.regions": ("regions", "区域"),
    "pair.regions.one": ("region", "区域"),
    "pair.why.similarity": (
        "Structural similarity of brightness once aligned and brought to one exposure: 1 is "
        "equal, near 0 unrelated.",
        "对齐并统一曝光后亮度的结构相似度：1 为相同，接近 0 为无关。",
    ),
    "pair.why.changed": (
        "Share of what both pictures show, and is therefore compared, that belongs to a changed "
        "region. The shares in the list add up to it.",
        "在两张图片都有内容、因而可以比较的范围内，属于变化区域的比例；等于列表中各区域之和。",
    ),
    "pair.why.regions": (
        "Parts that changed by more than light, grain or compression explain.",
        "变化超出光线、颗粒或压缩所能解释的部分。",
    ),
    "pair.identical": ("Identical: no pixel differs.", "完全相同：没有像素不同。"),
    "pair.no_change": (
        "No change found: what differs is no more than light, grain or compression would make.",
        "未发现变化：差异不超过光线、颗粒或压缩造成的程度。",
    ),
    "pair.same_frame": ("Both show the same frame.", "两张图片取景相同。"),
    "pair.aligned": ("Aligned: the second is {what}.", "已对齐：第二张{what}。"),
    "pair.turned": ("turned by {degrees}° clockwise", "顺时针旋转 {degrees}°"),
    "pair.turned_back": ("turned by {degrees}° anticlockwise", "逆时针旋转 {degrees}°"),
    "pair.smaller": ("{percent} % smaller", "缩小 {percent} %"),
    "pair.larger": ("{percent} % larger", "放大 {percent} %"),
    "pair.moved": ("moved by {pixels} px", "移动 {pixels} 像素"),
    "pair.listed": ("{one}, {other}", "{one}、{other}"),
    "pair.hardly_moved": ("moved by less than a pixel", "移动不到一个像素"),
    "pair.no_detail": (
        "Could not be aligned: there is too little in one of them to align by. Compared as they "
        "are.",
        "无法对齐：其中一张内容太少。按原样比较。",
    ),
    "pair.failed": (
        "Could not be aligned: they do not seem to show the same. Compared as they are.",
        "无法对齐：两张图片似乎不是同一内容。按原样比较。",
    ),
    "pair.not_asked": (
        "Not aligned, as you chose. Compared as they are.",
        "按您的选择未对齐，按原样比较。",
    ),
    "pair.lighter.slightly": (
        "The second is slightly lighter: {value} in lightness (black is 0, white 100).",
        "第二张略亮：明度 {value}（黑为 0，白为 100）。",
    ),
    "pair.lighter.clearly": (
        "The second is lighter: {value} in lightness (black is 0, white 100).",
        "第二张较亮：明度 {value}（黑为 0，白为 100）。",
    ),
    "pair.lighter.much": (
        "The second is much lighter: {value} in lightness (black is 0, white 100).",
        "第二张亮得多：明度 {value}（黑为 0，白为 100）。",
    ),
    "pair.darker.slightly": (
        "The second is slightly darker: {value} in lightness (black is 0, white 100).",
        "第二张略暗：明度 {value}（黑为 0，白为 100）。",
    ),
    "pair.darker.clearly": (
        "The second is darker: {value} in lightness (black is 0, white 100).",
        "第二张较暗：明度 {value}（黑为 0，白为 100）。",
    ),
    "pair.darker.much": (
        "The second is much darker: {value} in lightness (black is 0, white 100).",
        "第二张暗得多：明度 {value}（黑为 0，白为 100）。",
    ),
    "pair.overlap": (
        "It shows {share} % of the first; the rest is not compared.",
        "它覆盖第一张的 {share} %，其余部分不比较。",
    ),
    "pair.region": ("Region {number}: {place}, {area} %", "区域 {number}：{place}，{area} %"),
    "pair.region.list": ("What changed", "变化之处"),
    "pair.region.area": (
        "Share of what is compared; all regions add up to the share that changed",
        "占比较范围的比例；各区域之和即变化比例",
    ),
    "pair.region.size": ("{width} × {height} px", "{width} × {height} 像素"),
    "pair.share": ("{value} %", "{value} %"),
    "pair.hardly": ("the model can hardly see this", "模型几乎看不出"),
    "pair.place.11": ("upper left", "左上"),
    "pair.place.21": ("top", "上方"),
    "pair.place.31": ("upper right", "右上"),
    "pair.place.12": ("left", "左侧"),
    "pair.place.22": ("middle", "中间"),
    "pair.place.32": ("right", "右侧"),
    "pair.place.13": ("lower left", "左下"),
    "pair.place.23": ("bottom", "下方"),
    "pair.place.33": ("lower right", "右下"),
    "pair.place.which": ("{place} ({which})", "{place}（{which}）"),
    "pair.which.down.1": ("upper", "偏上"),
    "pair.which.down.2": ("lower", "偏下"),
    "pair.which.across.1": ("left", "偏左"),
    "pair.which.across.2": ("right", "偏右"),
    "pair.which.size.1": ("larger", "较大"),
    "pair.which.size.2": ("smaller", "较小"),
    "pair.which.down": ("{number} of {count} from the top", "从上数第 {number}，共 {count}"),
    "pair.which.across": ("{number} of {count} from the left", "从左数第 {number}，共 {count}"),
    "pair.which.size": ("{number} of {count} by size", "按大小第 {number}，共 {count}"),
    # ---- while it works ----
    "pair.reading": ("reading the pictures …", "正在读取图片 …"),
    "pair.aligning": ("aligning …", "正在对齐 …"),
    "pair.comparing": ("comparing …", "正在比较 …"),
    "pair.outlining": ("outlining what changed …", "正在标出变化 …"),
    "pair.drawing": ("drawing …", "正在绘制 …"),
    "pair.looking": ("showing both to the model …", "正在让模型看这两张图片 …"),
    "pair.cancel": ("Cancel", "取消"),
    "pair.cancelled": ("The comparison was stopped.", "比较已停止。"),
    "pair.unseen": (
        "What the model sees of this is not known: {why}",
        "无法得知模型看到了什么：{why}",
    ),
    "pair.again": ("Compare again", "重新比较"),
    # ---- asking ----
    "pair.question": ("Ask about the pictures", "就这些图片提问"),
    "pair.question.first": ("What changed?", "有什么变化？"),
    "pair.ask": ("Ask", "提问"),
    "pair.crops": ("Also send the changed regions as crops", "同时发送变化区域的裁剪图"),
    "pair.answer": ("Answer", "回答"),
    "pair.asked": (
        "All {count} pictures went to the model in one prompt.",
        "{count} 张图片一次性发送给模型。",
    ),
    "pair.asked.crops": (
        "All {count} pictures went to the model in one prompt, with crops of {regions} of {all} "
        "regions.",
        "{count} 张图片一次性发送给模型，并附 {all} 个区域中 {regions} 个的裁剪图。",
    ),
    "pair.one_by_one": (
        "This model takes {limit} picture(s) at a time: it was asked about each by itself, then "
        "what it said was joined by a last question without pictures.",
        "此模型一次最多接受 {limit} 张图片：先逐张提问，再用一个不含图片的问题合并其回答。",
    ),
    "pair.unjoined": (
        "The answers could not be joined, as the model refused a question without a picture "
        "({why}). They stand one by one.",
        "无法合并这些回答：模型拒绝了不含图片的问题（{why}）。以下为逐张回答。",
    ),
    "pair.part": ("Picture {number}", "图片 {number}"),
    "pair.joined": ("All together", "合并"),
    "pair.prompt.crop": (
        "Image {number} shows a part of image {of} from close up.",
        "图片 {number} 是图片 {of} 局部的放大。",
    ),
    "pair.prompt.each": (
        "Describe this image precisely: the objects, people and text in it, their colours, how "
        "many there are and where. The description will be used to answer: {question}",
        "准确描述这张图片：其中的物体、人物和文字，颜色、数量和位置。描述将用于回答：{question}",
    ),
    "pair.prompt.description": ("Image {number}: {text}", "图片 {number}：{text}"),
    "pair.prompt.join": (
        "Here are descriptions of {count} images.\n\n{descriptions}\n\nUsing only these "
        "descriptions, answer: {question}",
        "以下是 {count} 张图片的描述。\n\n{descriptions}\n\n只根据这些描述回答：{question}",
    ),
    # ---- between tabs ----
    "pair.send": ("Compare", "比较"),
    "pair.send.label": ("Compare these pictures", "比较这些图片"),
    "pair.to_chat": ("Ask in Chat", "去聊天中提问"),
    "pair.send.one": ("Take this picture to Compare", "将这张图片送去比较"),
    "pair.too_many": (
        "{got} pictures are too many: at most {limit} are compared. The first {limit} are here.",
        "{got} 张图片太多：最多比较 {limit} 张。已保留前 {limit} 张。",
    ),
}
